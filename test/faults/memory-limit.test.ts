// A child process that the system ends because it takes too much memory: this process sees a signal, goes on, and may try again.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { childSetup, embedNow, modelFile, open, sameVectors } from "../lifetime/native-model";
import { writeWideModel } from "./wide-model";

const megabyte = 2 ** 20;
const script = join(__dirname, "children", "embed-for-ever.cjs");
const most = 200 * megabyte;

function start(model: string): ChildProcess {
  const { addon, loadParams, embedParams } = JSON.parse(childSetup(0));
  const { mmproj, ...alone } = loadParams;
  const setup = JSON.stringify({ addon, model, loadParams: { ...alone, mmap: false }, embedParams });
  return spawn(process.execPath, [script, setup], { env: { ...process.env, NODE_OPTIONS: "" }, stdio: "ignore" });
}

/** A memory cgroup of this test's, or undefined where none may be made. */
function memoryGroup(): { add(pid: number): void; kills(): number; remove(): void } | undefined {
  const folder = `/sys/fs/cgroup/memory/gme-test-${process.pid}`;
  try {
    mkdirSync(folder);
    writeFileSync(join(folder, "memory.limit_in_bytes"), String(most));
  } catch {
    return undefined;
  }
  const events = () => readFileSync(join(folder, "memory.oom_control"), "latin1");
  return {
    add: (pid) => writeFileSync(join(folder, "cgroup.procs"), String(pid)),
    kills: () => Number(/oom_kill (\d+)/.exec(events())?.[1] ?? 0),
    remove: () => rmdirSync(folder),
  };
}

/** Ends the child once it is larger than `most`, as a supervisor does; answers how large it was. */
async function watch(child: ChildProcess): Promise<number> {
  while (child.exitCode === null && child.signalCode === null) {
    const pages = Number(readFileSync(`/proc/${child.pid}/statm`, "latin1").split(" ")[1]);
    if (pages * 4096 > most) {
      child.kill("SIGKILL");
      return pages * 4096;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return 0;
}

const skip = process.platform === "linux" ? false : "/proc and cgroups are Linux's";

t.test(
  "L19 a child that the kernel ends at its memory limit leaves this process and its model as they were",
  { skip },
  async (t) => {
    const wide = join(t.testdir(), "wide.gguf");
    await writeWideModel(modelFile, wide, 400 * megabyte);
    const model = await open();
    const golden = await embedNow(model, [{ text: "a cat" }]);
    for (const way of ["cgroup", "supervisor"]) {
      const group = way === "cgroup" ? memoryGroup() : undefined;
      if (way === "cgroup" && group === undefined) {
        t.comment("L19: no memory cgroup may be made here; the supervisor alone was tried");
        continue;
      }
      const began = performance.now();
      const child = start(wide);
      const closed = once(child, "close");
      group?.add(child.pid as number);
      const size = group ? 0 : await watch(child);
      const meanwhile = embedNow(model, [{ text: "a cat" }]);
      const [code, signal] = await closed;
      t.strictSame([code, signal], [null, "SIGKILL"], `${way}: the child is ended`);
      if (group) t.equal(group.kills(), 1, "by the kernel");
      else t.ok(size > most, "by its size");
      t.ok(sameVectors(await meanwhile, golden), `${way}: a call that was running here gives the same bits`);
      group?.remove();
      t.comment(
        `L19: ${way}, ${most / megabyte} MB for a model of 400 MB: SIGKILL after ${(performance.now() - began).toFixed(0)} ms, this process goes on`,
      );
    }
    const next = start(modelFile);
    await new Promise((resolve) => setTimeout(resolve, 500));
    t.equal(next.exitCode ?? next.signalCode, null, "a child with a smaller model works");
    next.kill("SIGKILL");
    await once(next, "close");
    await model.close();
  },
);
