// The engine in a child process beside the model in this one.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import t from "tap";
import type { EmbedOutcome, EmbedTask } from "../../lib/embed-tasks/embed-task";
import { TaskRunner } from "../../lib/embed-tasks/task-runner";
import { load } from "../../lib/index";
import { IsolatedEngine } from "../../lib/isolated/engine-client";
import { rejectsWith } from "../helpers/rejects";
import {
  distance,
  folder,
  hashed,
  model,
  pictures,
  poison,
  samplePaths,
  sameVectors,
  startEngine,
  texts,
  withPoison,
} from "./engine-setup";

const longText: EmbedTask = { text: "word ".repeat(20_000) };

/** Whether it still computes: a process that ended may wait long for somebody to ask how. */
function isRunning(pid: number): boolean {
  try {
    if (process.platform === "linux") return !/State:\s+[ZX]/.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

t.test("vectors, tokens, sizes and thumbnails are those of a model in this process", async (t) => {
  const { engine } = await startEngine(t);
  const loaded = await load(model, { threads: 1 });
  const runner = new TaskRunner(loaded, { closeModel: true });
  t.teardown(() => runner.close());
  const tasks: EmbedTask[] = [
    ...pictures(3),
    { text: "a cat" },
    { text: "a cat", image: hashed(samplePaths[7]) },
    { text: "a cat", query: { instruction: "Find a picture." } },
    { image: { source: samplePaths[8] }, query: {} },
    { image: { source: pathToFileURL(samplePaths[9]) } },
    { image: { source: readFileSync(samplePaths[9]) } },
    { image: { source: { data: new Uint8Array(48 * 48 * 3).fill(9), width: 48, height: 48 } } },
  ];
  for (const task of tasks) {
    const [here] = await runner.embed([task]);
    const [there] = await engine.embed([task]);
    t.equal(distance(here, there), 0, "bit for bit when computed alone");
    t.strictSame(there, here);
  }
  t.equal(engine.info.fingerprint, loaded.info.fingerprint);
  const direct = await loaded.embed({ text: "a cat", prompt: "Find a picture." });
  const [query] = await engine.embed([tasks[5]]);
  t.strictSame(query.error ?? query.embedding, direct);
});

t.test("calls that overlap end in their order, each with its own outcomes", async (t) => {
  const { engine } = await startEngine(t);
  const all = pictures(40);
  const expected = await engine.embed(all);
  const order: number[] = [];
  const calls = Array.from({ length: 10 }, async (_, i) => {
    const outcomes = await engine.embed(all.slice(i * 4, i * 4 + 4));
    order.push(i);
    return outcomes;
  });
  sameVectors(t, (await Promise.all(calls)).flat(), expected, "ten calls");
  t.strictSame(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  t.strictSame(await engine.embed([]), []);
});

t.test("an error keeps its code and fields", async (t) => {
  const { engine } = await startEngine(t);
  const path = join(folder, "changed.png");
  writeFileSync(path, readFileSync(samplePaths[0]));
  const file = hashed(path);
  writeFileSync(path, readFileSync(samplePaths[1]));
  const [changed, missing, tooLong, odd] = await engine.embed([
    { image: file },
    { image: { path: join(folder, "missing.png"), sha256: "" } },
    { text: "word ".repeat(40_000) },
    { image: { source: (() => 1) as unknown as string } },
  ]);
  t.match(changed.error, { code: "GME_CHANGED_WHILE_OPEN", file: path, expected: file.sha256 });
  t.match(missing.error, { code: "GME_IO_ERROR", errno: "ENOENT", file: join(folder, "missing.png") });
  t.match(tooLong.error, { code: "GME_TEXT_TOO_LONG", field: "text", expected: /at most 32768 tokens/ });
  t.match(odd.error, { code: "GME_INPUT_INVALID" });
  await rejectsWith(t, () => engine.countPages({ path: samplePaths[0], sha256: "0" }), "GME_CHANGED_WHILE_OPEN");
  await rejectsWith(t, () => engine.countPages(hashed(samplePaths[0])), "GME_PDF_CORRUPT");
});

t.test("an aborted call rejects at once, its computation stops, and the others go on", async (t) => {
  const { engine, messages } = await startEngine(t);
  const expected = await engine.embed(pictures(8));
  const controller = new AbortController();
  const dropped = engine.embed(
    Array.from({ length: 64 }, () => longText),
    controller.signal,
  );
  const beside = engine.embed(pictures(8));
  await sleep(500);
  const start = performance.now();
  controller.abort();
  await rejectsWith(t, () => dropped, "GME_ABORTED");
  t.ok(performance.now() - start < 500);
  sameVectors(t, await beside, expected, "beside");
  t.ok(
    performance.now() - start < 10_000,
    `the next call is answered ${Math.round(performance.now() - start)} ms later`,
  );
  await rejectsWith(t, () => engine.embed(texts(1), AbortSignal.abort()), "GME_ABORTED");
  await rejectsWith(t, () => engine.countPages(hashed(samplePaths[0]), AbortSignal.abort()), "GME_ABORTED");
  t.strictSame(messages, []);
});

t.test("close() during work rejects the calls and ends the process within two seconds and a little", async (t) => {
  const { engine } = await startEngine(t);
  const pid = engine.pid as number;
  const calls = [engine.embed([longText, longText]), engine.embed(pictures(8))];
  await sleep(300);
  const rejected = Promise.all(calls.map((call) => rejectsWith(t, () => call, "GME_MODEL_CLOSED")));
  const start = performance.now();
  await Promise.all([engine.close(), engine.close()]);
  t.ok(performance.now() - start < 3_000, `${Math.round(performance.now() - start)} ms`);
  t.notOk(isRunning(pid));
  await rejected;
  await rejectsWith(t, () => engine.embed(texts(1)), "GME_MODEL_CLOSED");
});

t.test("a broken or missing model rejects with its own code, an aborted start with GME_ABORTED", async (t) => {
  const broken = join(folder, "broken.gguf");
  writeFileSync(broken, "GGUX and more bytes than a header has, none of them a model's");
  const error = await rejectsWith(t, () => IsolatedEngine.start(broken, {}), "GME_GGUF_BAD_MAGIC");
  t.equal(error.file, broken);
  await rejectsWith(t, () => IsolatedEngine.start(join(folder, "none.gguf"), {}), "GME_IO_ERROR");
  await rejectsWith(t, () => IsolatedEngine.start(model, {}, { signal: AbortSignal.abort() }), "GME_ABORTED");
  const signal = AbortSignal.timeout(50);
  await rejectsWith(t, () => IsolatedEngine.start(model, {}, { signal }), "GME_ABORTED");
  await rejectsWith(t, () => IsolatedEngine.start(model, { threads: 0 }), "GME_OPTION_INVALID");
});

t.test(
  "a process whose parent is killed while it starts is gone as well",
  { skip: process.platform !== "linux" },
  async (t) => {
    for (const delay of [0, 50, 200, 400, 800]) {
      const args = [...process.execArgv, join(__dirname, "children", "parent.ts"), model];
      const env = { ...process.env, NODE_OPTIONS: withPoison() };
      const child = spawn(process.execPath, args, { stdio: "ignore", env });
      let children = "";
      while (children === "") {
        await sleep(5);
        children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
      }
      await sleep(delay);
      child.kill("SIGKILL");
      await once(child, "close");
      const start = performance.now();
      const pids = children.split(" ").map(Number);
      while (pids.some(isRunning) && performance.now() - start < 20_000) await sleep(20);
      t.notOk(
        pids.some(isRunning),
        `killed ${delay} ms after the fork, gone ${Math.round(performance.now() - start)} ms later`,
      );
    }
  },
);

for (const [what, picture] of [
  ["a graph runs", undefined],
  ["it hangs", poison("hang").path],
] as const) {
  const title = `while ${what}, the process is gone within three seconds after its parent was killed`;
  t.test(title, { skip: process.platform === "win32" }, async (t) => {
    const args = [...process.execArgv, join(__dirname, "children", "parent.ts"), model, ...(picture ? [picture] : [])];
    const child = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, NODE_OPTIONS: withPoison() },
    });
    const [data] = await once(child.stdout, "data");
    const pid = Number(String(data));
    t.ok(pid > 0 && isRunning(pid), "runs");
    child.kill("SIGKILL");
    const start = performance.now();
    while (isRunning(pid) && performance.now() - start < 10_000) await sleep(20);
    t.ok(performance.now() - start < 3_000, `gone after ${Math.round(performance.now() - start)} ms`);
  });
}

t.test(
  "SIGINT, SIGTERM and SIGHUP leave the process to its parent",
  { skip: process.platform === "win32" },
  async (t) => {
    const { engine, messages } = await startEngine(t);
    const pid = engine.pid as number;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.kill(pid, signal);
    t.match(await engine.embed(texts(1)), [{ tokens: Number }] as unknown as EmbedOutcome[]);
    t.equal(engine.pid, pid);
    t.strictSame(messages, []);
  },
);

t.test("the model's idle share is measured", async (t) => {
  const { engine } = await startEngine(t);
  await engine.embed(pictures(2));
  const before = engine.use();
  await Promise.all([engine.embed(pictures(51)), engine.embed(pictures(51))]);
  const { busySeconds, spanSeconds } = engine.use();
  const [busy, span] = [busySeconds - before.busySeconds, spanSeconds - before.spanSeconds];
  t.ok(busy > 0 && span >= busy - 1e-6);
  t.comment(
    `twice 51 pictures: ${(busy * 1000).toFixed(0)} of ${(span * 1000).toFixed(0)} ms, idle ${(100 * (1 - busy / span)).toFixed(1)} %`,
  );
});
