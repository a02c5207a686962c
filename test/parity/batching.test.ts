import t from "tap";
import type { GmeInput, GmeModel } from "../../lib/index";
import { imageFixture } from "../helpers/fixtures";
import { converted, loadReference, maxDelta, pairPath, Worst } from "../helpers/parity";

const inputs: GmeInput[] = [
  "a red square",
  { image: imageFixture("tiny-28x28.png") },
  "",
  { text: "a photo", image: imageFixture("odd-500x300.png") },
  "The Tesla Cybertruck is a battery electric pickup truck built by Tesla, Inc. since 2023.",
  { image: imageFixture("one-pixel.png"), prompt: "Find a caption." },
  { text: "Alibaba office.", prompt: "Find an image that matches the given text." },
  { text: "x ".repeat(300) },
];

async function alone(gme: GmeModel): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  for (const input of inputs) vectors.push(await gme.embed(input));
  return vectors;
}

const files = [
  { type: "f32", path: async () => pairPath("tiny-a"), cosine: 0.999999, delta: 1e-5 },
  { type: "f16", path: () => converted("checkpoints/tiny-a", "f16"), cosine: 0.99999, delta: 1 },
];

for (const { type, path, cosine, delta } of files) {
  t.test(`an ${type} file: alone, in a batch of 8, with 1 and 2 threads an item has the same vector`, async (t) => {
    const file = await path();
    const one = await loadReference(file, { threads: 1 });
    const golden = await alone(one);
    const worst = new Worst(`${type}: alone against batches and threads`);
    const compare = (vectors: Float32Array[], title: string) => {
      for (const [i, vector] of vectors.entries()) {
        t.ok(worst.add(vector, golden[i], cosine, delta), `${title}: item ${i}`);
      }
    };
    const batch = await one.embedBatch(inputs, { batchSize: 8 });
    compare(batch, "a batch of 8");
    compare(await one.embedBatch(inputs, { batchSize: 3 }), "batches of 3");
    const again = await one.embedBatch(inputs, { batchSize: 8 });
    t.ok(
      again.every((vector, i) => maxDelta(vector, batch[i]) === 0),
      "bit-equal at the same threads and batch",
    );
    t.ok(
      (await alone(one)).every((vector, i) => maxDelta(vector, golden[i]) === 0),
      "bit-equal alone",
    );
    await one.close();
    const two = await loadReference(file, { threads: 2 });
    compare(await alone(two), "2 threads");
    compare(await two.embedBatch(inputs, { batchSize: 8 }), "2 threads, a batch of 8");
    await two.close();
    worst.report(t);
  });
}

t.test("shuffled and overlapping calls do not change a vector", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  const golden = await alone(gme);
  const shuffled = inputs.map((_, i) => (i * 5 + 3) % inputs.length);
  const worst = new Worst("shuffled and overlapping");
  const vectors = await gme.embedBatch(shuffled.map((i) => inputs[i]));
  for (const [i, vector] of vectors.entries()) {
    t.ok(worst.add(vector, golden[shuffled[i]], 0.999999, 1e-5), `shuffled ${i}`);
  }
  const overlapping = await Promise.all(inputs.map((input) => gme.embed(input)));
  t.ok(
    overlapping.every((vector, i) => maxDelta(vector, golden[i]) === 0),
    "overlapping calls are bit-equal",
  );
  await gme.close();
  worst.report(t);
});
