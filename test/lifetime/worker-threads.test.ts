import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import t from "tap";
import { childSetup, embedNow, itemsFor, makeItems, open, randomNumbers, sameVectors, wait } from "./native-model";
import { countOpenFiles, countThreads } from "./process-state";

const script = join(__dirname, "children", "worker.cjs");

const start = (how: string, items: number): Worker =>
  new Worker(script, { workerData: how, execArgv: [], env: { ...process.env, GME_CHILD_SETUP: childSetup(items) } });

t.test("L06 terminate() at random moments inside native code leaves the process and its models alone", async (t) => {
  const random = randomNumbers(6);
  const model = await open();
  const items = (await itemsFor(model, 40)).length;
  const probe = makeItems(4);
  const expected = await embedNow(model, probe);
  const files = countOpenFiles();
  let threads = 0;
  for (let round = 0; round < 30; round++) {
    const worker = start(round % 3 === 0 ? "load" : "embed", items);
    await once(worker, "message");
    await wait(random() * 30);
    t.equal(await worker.terminate(), 1);
    if (round === 4) threads = countThreads();
  }
  t.ok(countThreads() <= threads, `${countThreads()} threads, ${threads} after the fifth worker`);
  t.ok(countOpenFiles() <= files + 2, `${countOpenFiles()} open files, ${files} before`);
  t.ok(sameVectors(await embedNow(model, probe), expected), "the main thread's model is untouched");
  await model.close();
});

t.test("L06 four workers and the main thread embed at the same time with equal vectors", async (t) => {
  const workers = Array.from({ length: 4 }, () => start("once", 8));
  const model = await open();
  const here = await embedNow(
    model,
    Array.from({ length: 8 }, (_, i) => ({ text: `a short caption, number ${i}` })),
  );
  const there = await Promise.all(workers.map((worker) => once(worker, "message")));
  for (const [vectors] of there) t.ok(sameVectors(vectors as Float32Array, here));
  await Promise.all(workers.map((worker) => worker.terminate()));
  await model.close();
});

t.test("L10 a worker that throws with an open model ends with code 1", async (t) => {
  for (let round = 0; round < 3; round++) {
    const worker = start("throw", 32);
    const exit = new Promise((resolve) => worker.once("exit", resolve));
    const [error] = (await once(worker, "error")) as [Error];
    t.match(error.message, "thrown on purpose");
    t.equal(await exit, 1);
  }
});
