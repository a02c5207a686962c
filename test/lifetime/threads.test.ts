// How many threads compute, and how small a stack may call: L20, L31.
import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import t from "tap";
import { binding } from "../../lib/binding";
import { physicalCores, usableCpus } from "../../lib/cpus";
import { load } from "../../lib/index";
import { rejectsWith } from "../helpers/rejects";
import { childSetup, embedNow, loadParams, makeItems, modelFile, open, sameVectors } from "./native-model";

t.test("L20 a number of threads outside 1…512 is refused by load and by the addon", async (t) => {
  const bad = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 513, 1e6, 2 ** 32 + 1, "2", null, [2], 2n];
  for (const value of bad) {
    const threads = value as number;
    const error = await rejectsWith(t, () => load(modelFile, { threads }), "GME_OPTION_INVALID", String(value));
    t.equal(error.field, "options.threads");
    const native = await binding()
      .load(modelFile, { ...loadParams, threads })
      .promise.then(
        () => ({ code: "loaded", field: "" }),
        (reason) => reason as { code: string; field: string },
      );
    t.strictSame([native.code, native.field], ["GME_OPTION_INVALID", "threads"], `${String(value)} in the addon`);
  }
  t.comment(`L20: ${bad.length} numbers of threads refused with GME_OPTION_INVALID, in TypeScript and in the addon`);
});

t.test("L20 one thread, three or 512: load limits them to the CPUs and the vectors are the same", async (t) => {
  const items = makeItems(12);
  const vectors: Float32Array[] = [];
  const counts = [1, 2, 3, 8, 64];
  for (const threads of counts) {
    const model = await binding().load(modelFile, { ...loadParams, threads }).promise;
    vectors.push(await embedNow(model, items));
    t.equal((JSON.parse(model.info) as { threads: number }).threads, threads);
    await model.close();
  }
  const different = vectors.filter((each) => !sameVectors(each, vectors[0])).length;
  t.equal(different, 0, "equal to the bit");
  for (const threads of [undefined, 1, usableCpus(), 64, 512]) {
    const model = await load(modelFile, threads === undefined ? {} : { threads });
    t.equal(model.info.threads, Math.min(threads ?? physicalCores(), usableCpus()), `${threads} threads`);
    t.equal((await model.embed("a")).length, 64);
    await model.close();
  }
  t.comment(
    `L20: 12 items with ${counts.join(", ")} threads, ${different} differ in a bit; 512 become ${usableCpus()}, the CPUs`,
  );
});

async function inWorker(stackSizeMb: number): Promise<{ depth: number; refused: number; vectors: Float32Array[] }> {
  const env = { ...process.env, NODE_OPTIONS: "", GME_CHILD_SETUP: childSetup(4) };
  const worker = new Worker(join(__dirname, "children", "deep-stack.cjs"), {
    env,
    execArgv: [],
    resourceLimits: { stackSizeMb },
  });
  const failed = once(worker, "error").then(([error]) => {
    throw error;
  });
  const exited = once(worker, "exit"); // may come in the same turn as the message
  const [message] = await Promise.race([once(worker, "message"), failed]);
  const [code] = await Promise.race([exited, failed]);
  t.equal(code, 0, `the worker with ${stackSizeMb} MB of stack ends by itself`);
  return message;
}

t.test("L31 calls from the end of a small stack work or throw RangeError, and nothing overflows", async (t) => {
  const model = await open();
  const expected = await embedNow(
    model,
    Array.from({ length: 4 }, (_, i) => ({ text: `a short caption, number ${i}` })),
  );
  await model.close();
  // Node keeps 192 KiB of a worker's stack in reserve, which is all that native code has in the deepest frame
  for (const stackSizeMb of [4, 1, 0.375]) {
    const { depth, refused, vectors } = await inWorker(stackSizeMb);
    t.equal(vectors.length, 20);
    t.ok(
      vectors.every((each) => sameVectors(each, expected)),
      `${stackSizeMb} MB: the vectors are right`,
    );
    t.ok(depth > 100 && refused > 0, `the stack was full: ${depth} frames, ${refused} calls had no room`);
    t.comment(
      `L31: ${stackSizeMb} MB of stack, ${depth} frames deep: ${vectors.length} calls right, ${refused} without room threw RangeError`,
    );
  }
});
