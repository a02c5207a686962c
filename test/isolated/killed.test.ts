// The engine's process under fire from outside, and over a long run. GME_TEST_KILLS sets how often it is killed.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { EmbedTask } from "../../lib/embed-tasks/embed-task";
import { pictures, sameVectors, startEngine, texts } from "./engine-setup";

const kills = Number(process.env.GME_TEST_KILLS ?? 20);
const callSize = 16;

t.test(`after ${kills} kills in the middle of work every outcome is right`, async (t) => {
  const { engine } = await startEngine(t);
  const tasks: EmbedTask[] = [...pictures(callSize * 3), ...texts(callSize * 2)];
  const expected = await engine.embed(tasks);
  const calls = tasks.length / callSize;
  let wanted = true;
  let done = 0;
  const worker = async (first: number) => {
    for (let i = first; wanted; i++) {
      const from = (i % calls) * callSize;
      const found = await engine.embed(tasks.slice(from, from + callSize));
      sameVectors(t, found, expected.slice(from, from + callSize), `call ${i}`);
      done++;
    }
  };
  const workers = [0, 1, 2, 3, 4].map(worker);
  for (let kill = 0; kill < kills; kill++) {
    // Twice over the same task would rightly set it aside: the next kill comes when others have been done.
    for (const target = done + 8; done < target; ) await sleep(5);
    await sleep(Math.random() * 200);
    const { pid } = engine;
    if (pid !== undefined) process.kill(pid, "SIGKILL");
  }
  wanted = false;
  await Promise.all(workers);
  t.ok(engine.use().restarts >= kills, `${engine.use().restarts} restarts`);
});

t.test("a process that is killed while it starts again is started once more", async (t) => {
  const { engine } = await startEngine(t);
  const tasks = pictures(32);
  const expected = await engine.embed(tasks);
  const work = engine.embed(tasks);
  for (let killed = 0, last = 0; killed < 3; ) {
    const { pid } = engine;
    if (pid !== undefined && pid !== last) {
      process.kill(pid, "SIGKILL");
      last = pid;
      killed++;
    }
    await sleep(5);
  }
  sameVectors(t, await work, expected, "afterwards");
  t.equal(engine.use().restarts, 3);
});

t.test("the process's memory is flat over 2,000 tasks", { skip: process.platform !== "linux" }, async (t) => {
  const { engine } = await startEngine(t);
  const tasks = [...pictures(51), ...texts(49)];
  const memory = () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${engine.pid}/status`, "utf8"))?.[1]) / 1024;
  const measured: number[] = [];
  for (let i = 0; i < 10; i++) {
    await Promise.all([engine.embed(tasks), engine.embed(tasks)]);
    measured.push(memory());
  }
  t.ok(Math.max(...measured.slice(5)) - Math.max(...measured.slice(0, 5)) < 16, "no more than 16 MiB");
  t.comment(`MiB after each 200 tasks: ${measured.map((mib) => mib.toFixed(0)).join(" ")}`);
});
