// L33: the same input gives the same bits, and other numbers of threads or items nearly the same numbers.
import t from "tap";
import { binding, type NativeItem } from "../../lib/binding";
import { load } from "../../lib/index";
import { imageFixture } from "../helpers/fixtures";
import { maxDelta } from "../helpers/parity";
import { embedParams, loadParams, makeItems, modelFile, sameVectors } from "./native-model";

const rounds = 100;
const dimensions = 64;
const probe: NativeItem[] = makeItems(8); // seven texts and a picture

t.test("L33 100 runs give the same bits per number of threads and of items, and 1e-5 across", async (t) => {
  const firsts: { title: string; vectors: Float32Array }[] = [];
  let [runs, different] = [0, 0];
  for (const threads of [1, 2]) {
    for (const batch of [1, 8]) {
      const model = await binding().load(modelFile, { ...loadParams, threads }).promise;
      let first: Float32Array | undefined;
      for (let round = 0; round < rounds; round++) {
        const vectors = new Float32Array(probe.length * dimensions);
        for (let at = 0; at < probe.length; at += batch)
          vectors.set(await model.embed(probe.slice(at, at + batch), embedParams).promise, at * dimensions);
        first ??= vectors;
        if (!sameVectors(vectors, first)) different++;
        runs++;
      }
      firsts.push({ title: `${threads} threads, ${batch} at a time`, vectors: first as Float32Array });
      await model.close();
    }
  }
  t.equal(different, 0, "bit for bit");
  const worst = Math.max(...firsts.map(({ vectors }) => maxDelta(vectors, firsts[0].vectors)));
  for (const { title, vectors } of firsts) t.ok(maxDelta(vectors, firsts[0].vectors) <= 1e-5, title);
  t.comment(
    `L33: ${runs} runs of 8 items, ${different} differ in a bit; across threads and batches worst |Δ| ${worst.toExponential(1)}`,
  );
});

t.test("L33 a model loaded again, mapped or read, gives the same bits", async (t) => {
  const input = { text: "a photo", image: imageFixture("tiny-28x28.png") };
  const vectors: Float32Array[] = [];
  for (const mmap of [true, false, true]) {
    const model = await load(modelFile, { threads: 1, mmap });
    vectors.push(await model.embed("a text"), await model.embed(input));
    await model.close();
  }
  const worst = Math.max(...vectors.map((vector, i) => maxDelta(vector, vectors[i % 2])));
  t.equal(worst, 0);
  t.comment(`L33: 3 loads, 2 inputs each, worst |Δ| ${worst}`);
});
