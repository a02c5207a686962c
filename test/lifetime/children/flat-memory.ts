// What a model takes, that it does not grow with the number of calls, and that close() gives it back.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t, { type Test } from "tap";
import { bundledModelPath, type GmeModel, load } from "../../../lib/index";
import { modelFile, wait } from "../native-model";
import { residentBytes } from "../process-state";
import { isSanitized, rounds } from "../rounds";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const zeros = { mappedBytes: 0, ownedBytes: 0, computeBytes: 0, keptBytes: 0 };
/** Noise of JavaScript's own heap. */
const mostGrowth = 6 << 20;

async function residentNow(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collect();
    await wait(5);
  }
  return residentBytes();
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MB`;

async function grows(t: Test, from: number, title: string): Promise<void> {
  const growth = (await residentNow()) - from;
  t.comment(`${title}: ${megabytes(growth)}`);
  t.ok(growth <= mostGrowth || isSanitized, `${title}: grows by ${megabytes(growth)}`);
}

t.test("L13 info.memory tells the parts as they are now, and nothing after close()", async (t) => {
  const gme = await load(bundledModelPath, { threads: 1 });
  const { memory } = gme.info;
  const loaded = { ...memory };
  t.ok(loaded.mappedBytes > gme.info.fileBytes * 0.5, "weights are mapped");
  t.ok(loaded.ownedBytes < loaded.mappedBytes / 10, "little beside them is computed at load");
  t.ok(loaded.computeBytes > 0, "threads have working memory");
  t.equal(loaded.keptBytes, 0, "no instruction was used yet");
  await gme.embed("a cat");
  const { keptBytes } = memory;
  t.ok(keptBytes > 0, "the default instruction is kept");
  await gme.embed("a dog");
  t.equal(memory.keptBytes, keptBytes, "once");
  const running = gme.embedBatch(
    Array.from({ length: 64 }, (_, i) => `text ${i}`),
    { instruction: "Another." },
  );
  t.equal(memory.keptBytes, keptBytes, "a look while the engine computes shows the last call's");
  await running;
  t.ok(memory.keptBytes > keptBytes, "another instruction is kept beside it");
  t.throws(() => Object.assign(memory, { mappedBytes: 1 }), "frozen");
  t.match(JSON.parse(JSON.stringify(gme.info)), { memory: { mappedBytes: loaded.mappedBytes } }, "plain as JSON");
  t.strictSame(structuredClone(gme.info).memory, { ...memory }, "and as a clone");
  await gme.close();
  t.strictSame({ ...memory }, zeros, "closed");
});

t.test("L13 without mmap the weights are owned", async (t) => {
  const gme = await load(bundledModelPath, { threads: 1, mmap: false });
  t.equal(gme.info.memory.mappedBytes, 0);
  t.ok(gme.info.memory.ownedBytes > gme.info.fileBytes * 0.5);
  await gme.close();
});

const works: { title: string; call: (gme: GmeModel, i: number) => Promise<unknown> }[] = [
  { title: "texts one by one", call: (gme, i) => gme.embed(`a short text of number ${i}`) },
  { title: "texts with 1,000 instructions", call: (gme, i) => gme.embed("a text", { instruction: `Number ${i}.` }) },
  { title: "calls of 10 texts", call: (gme, i) => gme.embedBatch(Array.from({ length: 10 }, (_, j) => `${i} ${j}`)) },
];

for (const { title, call } of works) {
  t.test(`L13 memory is flat from 100 to 1,000 ${title}`, async (t) => {
    const gme = await load(bundledModelPath, { threads: 1 });
    for (let i = 0; i < 100; i++) await call(gme, i);
    const from = await residentNow();
    const before = { ...gme.info.memory };
    for (let i = 100; i < (isSanitized ? 150 : 1_000); i++) await call(gme, i);
    await grows(t, from, title);
    const now = gme.info.memory;
    // Higher numbers have more digits, and so a few tokens more.
    t.ok(now.computeBytes <= before.computeBytes * 1.1, "the graphs' memory stays");
    t.ok(now.keptBytes <= before.keptBytes * 1.1, "the openings' too");
    await gme.close();
  });
}

t.test("L11 loading, embedding and closing 50 times leaves memory flat", async (t) => {
  const round = async () => {
    for (const file of [bundledModelPath, modelFile]) {
      const gme = await load(file, { threads: 1 });
      await gme.embedBatch(Array.from({ length: 16 }, (_, i) => `text ${i}`));
      await gme.close();
    }
  };
  for (let i = 0; i < 10; i++) await round();
  const from = await residentNow();
  for (let i = 0; i < rounds(50, 50); i++) await round();
  await grows(t, from, "50 times two models");
});
