// What the engine leaves out or does together must not be seen in the vectors: common beginnings, openings kept from earlier
// calls, many texts in one pass, items that come twice.
import t from "tap";
import {
  bundledModelPath,
  cosine,
  type EmbedProfile,
  type GmeInput,
  type GmeModel,
  type RawImage,
} from "../../lib/index";
import { gme as runGme } from "../helpers/cli";
import { imageFixture } from "../helpers/fixtures";
import { converted, loadReference, maxDelta, pairPath, Worst } from "../helpers/parity";

const unlike = Array.from(
  { length: 32 },
  (_, i) => `${"word ".repeat(i % 7)}${String.fromCharCode(97 + (i % 26))}${i}`,
);
const alike = Array.from(
  { length: 32 },
  (_, i) => `The lighthouse keeper's diary, page ${i >> 2}, line ${i % 4}: storm.`,
);
const texts = unlike.flatMap((text, i) => [text, alike[i]]);
const instruction = "Find the page of a diary that the text is about.";

const files = [
  { name: "tiny-a, f32", path: async () => pairPath("tiny-a"), isF32: true },
  { name: "tiny-b, f32", path: async () => pairPath("tiny-b"), isF32: true },
  { name: "the demonstration model, f32", path: () => converted("checkpoints/emoji-tiny"), isF32: true },
  { name: "tiny-a, f16", path: () => converted("checkpoints/tiny-a", "f16"), isF32: false },
  { name: "the demonstration model, f16", path: async () => bundledModelPath, isF32: false },
];

for (const { name, path, isF32 } of files) {
  const [cosineGate, deltaGate] = isF32 ? [0.999999, 1e-5] : [1 - 1e-5, 1];
  const equal = (a: Float32Array[], b: Float32Array[]) => a.every((vector, i) => maxDelta(vector, b[i]) === 0);

  t.test(
    `${name}: 64 texts in one call, with common beginnings or none, have the vectors that they have alone`,
    async (t) => {
      const file = await path();
      const worst = new Worst(`${name}: alone against packed`);
      const compare = (vectors: Float32Array[], golden: Float32Array[], title: string) =>
        t.ok(
          vectors.every((vector, i) => worst.add(vector, golden[i], cosineGate, deltaGate)),
          title,
        );
      const [one, other] = [await loadReference(file), await loadReference(file)];
      const alone: Float32Array[] = [];
      for (const text of texts) alone.push(await one.embed(text));
      const first = await other.embedBatch(texts);
      compare(first, alone, "in the first call of a model");
      t.ok(equal(await other.embedBatch(texts), first), "the second call, with the opening kept, is equal to the bit");
      compare(
        await other.embedBatch(alike),
        alone.filter((_, i) => i % 2 === 1),
        "those with common beginnings",
      );
      compare(
        await other.embedBatch(unlike),
        alone.filter((_, i) => i % 2 === 0),
        "those without",
      );
      const queries: Float32Array[] = [];
      for (const text of texts) queries.push(await one.embed(text, { instruction }));
      compare(await other.embedBatch(texts, { instruction }), queries, "with an instruction");
      const mixed = texts.map((text, i) => (i % 3 === 0 ? { text, prompt: instruction } : text));
      compare(
        await other.embedBatch(mixed),
        alone.map((vector, i) => (i % 3 === 0 ? queries[i] : vector)),
        "with two instructions in one call",
      );
      await one.close();
      await other.close();
      worst.report(t);
    },
  );

  t.test(`${name}: the same text has the same bits, in a model's first call and in later ones`, async (t) => {
    const gme = await loadReference(await path());
    for (const options of [{}, { instruction }]) {
      const first = await gme.embed(texts[1], options);
      await gme.embed(texts[2], options);
      t.equal(maxDelta(await gme.embed(texts[1], options), first), 0);
    }
    await gme.close();
  });
}

t.test("the first call of a new process gives the bits of a later one", async (t) => {
  const gme = await loadReference(bundledModelPath);
  await gme.embed("something else");
  const vector = await gme.embed(alike[0]);
  await gme.close();
  const { code, stdout, stderr } = await runGme([
    ...["embed", "--text", alike[0], "--model", bundledModelPath, "--orientation", "ignore"],
  ]);
  t.equal(code, 0, stderr);
  const { embedding } = JSON.parse(stdout.toString("utf8")) as { embedding: number[] };
  t.equal(maxDelta(Float32Array.from(embedding), vector), 0);
});

const flopOf = ({ stages }: EmbedProfile): Record<string, number> =>
  Object.fromEntries(stages.filter(({ flop }) => flop > 0).map(({ name, flop }) => [name, flop]));

/** The work of a call when the instruction's opening is kept already. */
async function work(gme: GmeModel, inputs: readonly GmeInput[]): Promise<Record<string, number>> {
  await gme.embed("");
  return flopOf(await gme.profile(inputs));
}

t.test("equal items of a call are computed once and have equal vectors in memory of their own", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  const pixels = Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * 7919) % 251);
  const picture = (): { image: RawImage } => ({
    image: { data: Uint8Array.from(pixels), width: 64, height: 48, channels: 3 },
  });
  const kinds: { title: string; count: number; make: () => GmeInput }[] = [
    { title: "texts", count: 64, make: () => ({ text: alike[0] }) },
    { title: "pictures", count: 3, make: picture },
    { title: "pictures with a text", count: 3, make: () => ({ ...picture(), text: alike[0] }) },
  ];
  for (const { title, count, make } of kinds) {
    const copies = Array.from({ length: count }, make);
    t.strictSame(await work(gme, copies), await work(gme, [make()]), `${count} ${title}: the work of one`);
    const vectors = await gme.embedBatch(copies);
    const expected = await gme.embed(make());
    t.ok(vectors.every((vector) => maxDelta(vector, expected) === 0), "equal vectors"); // biome-ignore format: one line says it
    t.equal(new Set(vectors.map(({ buffer }) => buffer)).size, count, "each in a buffer of its own");
    vectors[0].fill(7);
    t.equal(maxDelta(vectors[1], expected), 0, "writing to one leaves the others alone");
  }
  await gme.close();
});

t.test("pictures of the same size that differ in one pixel are two pictures", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  const size = { width: 56, height: 56, channels: 3 as const };
  const gray = { image: { ...size, data: new Uint8Array(56 * 56 * 3).fill(128) } };
  const dotted = { image: { ...size, data: Uint8Array.from(gray.image.data) } };
  dotted.image.data[56 * 56 * 3 - 1] = 255;
  const vectors = await gme.embedBatch([gray, dotted, gray, dotted]);
  const alone = [await gme.embed(gray), await gme.embed(dotted)];
  t.ok(maxDelta(alone[0], alone[1]) > 0, "they have different vectors");
  for (const [i, vector] of vectors.entries()) t.ok(maxDelta(vector, alone[i % 2]) <= 1e-5, `item ${i}`);
  t.equal(maxDelta(vectors[0], vectors[2]), 0);
  await gme.close();
});

t.test("pictures and texts mixed in one call come back in their order", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  const names = ["photo-640x480.png", "one-pixel.png", "web-512x384.webp", "odd-500x300.png"];
  const inputs = names.flatMap((name, i): GmeInput[] => [
    texts[i],
    { image: imageFixture(name) },
    { image: imageFixture(name), text: alike[i] },
    texts[i],
  ]);
  const vectors = await gme.embedBatch(inputs);
  for (const [i, input] of inputs.entries()) {
    t.ok(maxDelta(vectors[i], await gme.embed(input)) <= 1e-5, `item ${i}`);
  }
  for (const [i, vector] of vectors.entries()) {
    const nearest = vectors.findIndex((other) => cosine(other, vector) > 0.999999);
    t.equal(nearest % 4 === 0 ? 0 : nearest, i % 4 === 3 || i % 4 === 0 ? 0 : i, `item ${i} is itself`);
  }
  await gme.close();
});

t.test("progress counts up to the call's total", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  const twice = [...texts, ...texts.slice(0, 20), ...Array.from({ length: 60 }, () => "the same")];
  const pictures = ["one-pixel.png", "tiny-28x28.png"].map((name) => ({ image: imageFixture(name) }));
  for (const [title, inputs] of [
    ["different texts", texts],
    ["texts that come again", twice],
    ["one text 64 times", Array.from({ length: 64 }, () => "a cat")],
    ["texts and pictures", [...texts.slice(0, 5), ...pictures, ...texts.slice(5, 9), pictures[0]]],
  ] as const) {
    const seen: number[] = [];
    await gme.embedBatch(inputs, {
      onProgress: ({ done, total }) => {
        t.equal(total, inputs.length);
        seen.push(done);
      },
    });
    t.ok(seen.every((done, i) => i === 0 || done >= seen[i - 1]), `${title}: upwards`); // biome-ignore format: one line says it
    t.equal(seen.at(-1), inputs.length, `${title}: to the end`);
  }
  await gme.close();
});
