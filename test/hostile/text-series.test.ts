// Thousands of seeded hostile strings and single characters through the public API; with GME_TEST_LONG=1 every code point there is:
//   GME_TEST_LONG=1 npx tap --timeout=3600 test/hostile/text-series.test.ts
import t from "tap";
import type { GmeInput, GmeModel } from "../../lib/index";
import { imageFixture } from "../helpers/fixtures";
import { loadReference, maxDelta, pairPath } from "../helpers/parity";
import { randomNumbers } from "../lifetime/native-model";
import { hostileStrings } from "./text-random";

const long = process.env.GME_TEST_LONG === "1";
const isUnit = (vector: Float32Array) => vector.every(Number.isFinite) && Math.abs(Math.hypot(...vector) - 1) < 1e-5;

let gme: GmeModel;
let golden: Float32Array;
let firstSpecial = 0;
t.before(async () => {
  gme = await loadReference(pairPath("tiny-a"));
  golden = await gme.embed("hello");
  firstSpecial = (await gme.tokenize("<|endoftext|>", { specialTokens: "parse" }))[0];
});
t.after(() => gme.close());

t.test(`T28 a text of a single character embeds, ${long ? "every code point" : "50,000 of them"}`, async (t) => {
  const random = randomNumbers(28);
  const codePoints = long
    ? Array.from({ length: 0x110000 }, (_, i) => i)
    : Array.from({ length: 50_000 }, () => Math.floor(random() * 0x110000));
  const start = process.cpuUsage(); // not the clock: other work on the machine does not fail the bound
  const batch = 8_192;
  let [vectors, bad, replaced] = [0, 0, 0];
  const lone = await gme.embed("\ufffd");
  for (let at = 0; at < codePoints.length; at += batch) {
    const some = codePoints.slice(at, at + batch);
    const results = await gme.embedBatch(
      some.map((value) => String.fromCodePoint(value)),
      { batchSize: 1_024 },
    );
    for (const [i, vector] of results.entries()) {
      vectors++;
      if (!isUnit(vector)) bad++;
      const isSurrogate = some[i] >= 0xd800 && some[i] <= 0xdfff;
      if (isSurrogate && maxDelta(vector, lone) > 1e-5) replaced++;
    }
  }
  const { user, system } = process.cpuUsage(start);
  const seconds = (user + system) / 1e6;
  t.equal(vectors, codePoints.length);
  t.equal(bad, 0, "unit vectors");
  t.equal(replaced, 0, "lone surrogates are U+FFFD");
  t.ok(seconds <= 600, `${seconds} s of CPU`);
  t.equal(maxDelta(await gme.embed("hello"), golden), 0);
  t.comment(`T28: ${vectors} texts of one character, ${bad} not a unit vector, ${seconds.toFixed(0)} s of CPU`);
});

t.test("T15, T19, T21 seeded hostile strings tokenise, count and embed", async (t) => {
  const total = long ? 40_000 : 2_048;
  const next = hostileStrings(1921, 200);
  let [ids, special, negative, unequal, bad] = [0, 0, 0, 0, 0];
  for (let done = 0; done < total; done += 64) {
    const texts = Array.from({ length: 64 }, next);
    const inputs: GmeInput[] = texts.map((text, i) => (i % 3 === 0 ? { text, prompt: texts[63 - i] } : text));
    const vectors = await gme.embedBatch(inputs);
    for (const [i, text] of texts.entries()) {
      const found = await gme.tokenize(text);
      ids += found.length;
      special += found.filter((id) => id >= firstSpecial).length;
      negative += found.filter((id) => id < 0).length;
      const count = await gme.countTokens(text);
      // a text may join the template's line end before it, never more
      if (count.total !== 27 + count.text || Math.abs(count.text - found.length) > 2 || count.text < 0) unequal++;
      if (!isUnit(vectors[i])) bad++;
    }
  }
  t.strictSame({ special, negative, unequal, bad }, { special: 0, negative: 0, unequal: 0, bad: 0 });
  t.ok(ids > total * 10);
  t.equal(maxDelta(await gme.embed("hello"), golden), 0, "the model is as before");
  t.comment(`T21: ${total} seeded hostile strings, ${ids} ids, none special, none negative, ${bad} vectors not finite`);
});

t.test("T16, T25 seeded hostile strings beside a picture and as parsed texts", async (t) => {
  const next = hostileStrings(1625, 40);
  const image = imageFixture("tiny-28x28.png");
  const total = long ? 400 : 40;
  let [bad, misplaced] = [0, 0];
  for (let i = 0; i < total; i++) {
    const [text, prompt] = [next(), next()];
    const count = await gme.countTokens({ text, image, prompt });
    if (count.image !== 256 || count.total <= 256) misplaced++;
    if (!isUnit(await gme.embed({ text, image, prompt }))) bad++;
    const parsed = await gme.embed({ text, image, prompt }, { specialTokens: "parse" });
    if (!isUnit(parsed)) bad++;
    for (const overflow of ["truncate", "reference"] as const)
      if (!isUnit(await gme.embed({ text, prompt }, { specialTokens: "parse", overflow }))) bad++;
  }
  t.strictSame({ bad, misplaced }, { bad: 0, misplaced: 0 });
  t.comment(`T16: ${total} hostile texts beside a picture, 256 image tokens each, in both modes of special tokens`);
});
