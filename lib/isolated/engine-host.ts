// The engine's process: loads one model and computes what it is sent, until its parent says so or is gone.
import { Worker } from "node:worker_threads";
import type { EmbedOutcome, EmbedTask, HashedFile } from "../embed-tasks/embed-task";
import { TaskRunner } from "../embed-tasks/task-runner";
import { GmeError } from "../errors";
import { loadSharp } from "../image-decode";
import type { LocalWork } from "../local-work";
import { load, workKey } from "../model";
import type { LoadOptions } from "../options";
import { remotePolicy } from "../remote-image";
import { CallDesk } from "./call-desk";
import type { FromEngine, Job, ToEngine, WireOutcome, WireUse } from "./messages";
import { toWire } from "./wire-error";

const heartbeatMs = 1_000;
const batches = new Map<number, AbortController>();
let runner: TaskRunner | undefined;
let calls: CallDesk | undefined;

/** The other end of the channel in an Electron utility process; undefined in a forked one. */
const { parentPort } = process as NodeJS.Process & {
  parentPort?: {
    postMessage(message: FromEngine): void;
    on(event: "message", listener: (event: { data: ToEngine }) => void): void;
  };
};

function send(message: FromEngine): void {
  if (parentPort !== undefined) parentPort.postMessage(message);
  else if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

function useNow(): WireUse {
  const { busySeconds, spanSeconds } = (runner as TaskRunner).use();
  return { busySeconds, spanSeconds };
}

async function start(model: string, options: LoadOptions): Promise<void> {
  try {
    const loaded = await load(model, { ...options, onProgress: (fraction) => send({ type: "progress", fraction }) });
    if (loaded.info.vision) await forgetPictures();
    calls = new CallDesk(loaded[workKey] as LocalWork, send);
    runner = new TaskRunner(loaded, { remote: remotePolicy(options.remoteImages), closeModel: true });
    send({ type: "loaded", info: loaded.info });
  } catch (error) {
    send({ type: "failed", error: toWire(GmeError.from(error)) });
  }
}

/** Each file is decoded once, so sharp's cache only takes memory. Without sharp each picture says what is missing. */
async function forgetPictures(): Promise<void> {
  try {
    (await loadSharp()).cache(false);
  } catch {}
}

async function run(batch: number, jobs: readonly Job[]): Promise<void> {
  const abort = new AbortController();
  batches.set(batch, abort);
  const outcome = (index: number, result: EmbedOutcome | { pages: number }) => {
    const error = "error" in result ? result.error : undefined;
    const outcome = error === undefined ? (result as WireOutcome) : { error: toWire(error) };
    send({ type: "outcome", batch, index, outcome, use: useNow() });
  };
  const indices: number[] = [];
  const tasks: EmbedTask[] = [];
  const counts: Promise<void>[] = [];
  jobs.forEach((job, index) => {
    if ("count" in job) counts.push(count(job.count, batch, index, abort.signal, outcome));
    else {
      indices.push(index);
      tasks.push(job);
    }
  });
  const vectors = (runner as TaskRunner).embed(tasks, abort.signal, {
    stage: (i, stage) => send({ type: "stage", batch, index: indices[i], stage }),
    outcome: (i, result) => outcome(indices[i], result),
  });
  await Promise.allSettled([vectors, ...counts]); // only an abort rejects, and then nobody waits
  batches.delete(batch);
}

async function count(
  file: HashedFile,
  batch: number,
  index: number,
  signal: AbortSignal,
  outcome: (index: number, result: EmbedOutcome | { pages: number }) => void,
): Promise<void> {
  send({ type: "stage", batch, index, stage: "preparing" });
  try {
    outcome(index, { pages: await (runner as TaskRunner).countPages(file, signal) });
  } catch (error) {
    outcome(index, { error: GmeError.from(error) });
  }
}

function end(): void {
  process.kill(process.pid, "SIGKILL");
}

async function close(): Promise<never> {
  await runner?.close();
  process.exit(0);
}

function receive(message: ToEngine): void {
  if (message.type === "load") void start(message.model, message.options);
  else if (message.type === "run") void run(message.batch, message.jobs);
  else if (message.type === "drop") batches.get(message.batch)?.abort();
  else if (message.type === "call") void calls?.answer(message.call, message.request);
  else if (message.type === "cancel") calls?.cancel(message.call);
  else void close();
}

if (parentPort !== undefined) parentPort.on("message", ({ data }) => receive(data));
else process.on("message", receive);

// At a terminal Ctrl-C goes to both processes; what becomes of this one, the parent decides.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);
// The parent is gone. A running graph, and a library that does not return, must not outlive it.
if (parentPort === undefined) {
  process.on("disconnect", end);
  if (!process.connected) end();
}
const parentWatch = `
  const { workerData } = require("node:worker_threads");
  setInterval(() => process.ppid === workerData || process.kill(process.pid, "SIGKILL"), ${heartbeatMs});
`;
new Worker(parentWatch, { eval: true, workerData: process.ppid, execArgv: [], env: {} }).unref();
setInterval(() => send({ type: "alive", ...(runner && { use: useNow() }) }), heartbeatMs);
send({ type: "listening" });
