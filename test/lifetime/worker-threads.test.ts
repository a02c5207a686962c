import { once } from "node:events";
import { Worker } from "node:worker_threads";
import t from "tap";
import { binding } from "../../lib/binding";
import { bundledModelPath } from "../../lib/index";
import {
  childSetup,
  embedNow,
  loadParams,
  itemsFor,
  makeItems,
  open,
  randomNumbers,
  modelFile,
  sameVectors,
  turnFor,
} from "./native-model";
import { childScript } from "./child";
import { countMappings, countOpenFiles, countThreads, residentBytes, sharedResidentBytes } from "./process-state";
import { isSanitized, rounds, slope } from "./rounds";

const { mmproj: _tower, ...bundledParams } = loadParams;
const texts = Array.from({ length: 8 }, (_, i) => ({ text: `a short caption, number ${i}` }));

const start = (how: string, items: number, more: Record<string, unknown> = {}): Worker =>
  new Worker(childScript("worker.cjs"), {
    workerData: how,
    execArgv: [],
    env: { ...process.env, GME_CHILD_SETUP: childSetup(items, more) },
  });

t.test("L06 terminate() at random moments inside native code leaves the process and its models alone", async (t) => {
  const random = randomNumbers(6);
  const model = await open();
  const items = (await itemsFor(model, 40)).length;
  const probe = makeItems(4);
  const expected = await embedNow(model, probe);
  const files = countOpenFiles();
  let threads = 0;
  const count = rounds(40, 500);
  const resident: [number, number][] = [];
  let ended = 0;
  for (let round = 0; round < count; round++) {
    const worker = start(round % 3 === 0 ? "load" : "embed", items);
    await once(worker, "message");
    await turnFor(random() * 30);
    if ((await worker.terminate()) === 1) ended++;
    if (round === Math.min(4, count - 1)) threads = countThreads();
    resident.push([round, residentBytes() / 1024]);
  }
  t.equal(ended, count, "every worker ends with its code");
  t.ok(countThreads() <= threads, `${countThreads()} threads, ${threads} after the fifth worker`);
  t.ok(countOpenFiles() <= files + 2, `${countOpenFiles()} open files, ${files} before`);
  t.equal(countMappings(modelFile), 1, "only the main thread's model is mapped");
  const growth = slope(resident.slice(Math.floor(count / 4)));
  // A worker's heap is some 4 MiB; the models here take 1 MiB.
  if (count >= 200) t.ok(isSanitized || growth < 64, `${growth.toFixed(1)} KiB per worker`);
  t.comment(
    `L06: ${ended} workers terminated while loading or embedding; ${growth.toFixed(1)} KiB per worker, threads ${threads} → ${countThreads()}`,
  );
  t.ok(sameVectors(await embedNow(model, probe), expected), "the main thread's model is untouched");
  await model.close();
});

t.test("L06 four workers and the main thread embed at the same time with equal vectors", async (t) => {
  const workers = Array.from({ length: 4 }, () => start("once", 8));
  const model = await open();
  const here = await embedNow(model, texts);
  const there = await Promise.all(workers.map((worker) => once(worker, "message")));
  for (const [vectors] of there) t.ok(sameVectors(vectors as Float32Array, here));
  await Promise.all(workers.map((worker) => worker.terminate()));
  await model.close();
});

t.test("L10 a worker that throws with an open model ends with code 1", async (t) => {
  const count = rounds(5, 100);
  for (let round = 0; round < count; round++) {
    const worker = start("throw", 32);
    const exit = new Promise((resolve) => worker.once("exit", resolve));
    const [error] = (await once(worker, "error")) as [Error];
    t.match(error.message, "thrown on purpose");
    t.equal(await exit, 1);
  }
  t.comment(`L10: ${count} workers threw with an open model on Node ${process.version}: exit code 1 each time`);
});

// Every load maps the file anew: the system counts such pages once per mapping as resident, but they are one copy in memory. Pss
// (pages divided by the number of mappings) tells the copies.
t.test(
  "L07 four workers and the main thread share one copy of the weights",
  { skip: process.platform !== "linux" },
  async (t) => {
    const model = await binding().load(bundledModelPath, bundledParams).promise;
    await embedNow(model, texts);
    const alone = sharedResidentBytes(bundledModelPath);
    const workers = Array.from({ length: 4 }, () =>
      start("stay", 8, { model: bundledModelPath, loadParams: bundledParams }),
    );
    await Promise.all(workers.map((worker) => once(worker, "message")));
    t.equal(countMappings(bundledModelPath), 5, "five models");
    const together = sharedResidentBytes(bundledModelPath);
    t.ok(alone > 2 ** 20, `${alone} bytes of weights are in memory`);
    t.ok(together <= alone * 1.1, `${together} bytes for five models, ${alone} for one`);
    t.comment(
      `L07: weights in memory of one model ${(alone / 2 ** 20).toFixed(2)} MiB, of five models ${(together / 2 ** 20).toFixed(2)} MiB (Pss of the file's mappings)`,
    );
    await Promise.all(workers.map((worker) => worker.terminate()));
    await model.close();
  },
);
