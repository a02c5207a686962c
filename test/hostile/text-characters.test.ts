// Texts of strange characters through the public API: the reference's ids, the reference's vectors, nothing lost on the way.
import { readFileSync } from "node:fs";
import t from "tap";
import { printable } from "../../lib/errors";
import type { GmeModel } from "../../lib/index";
import { fixture, goldenCases, readJson, readTensors } from "../helpers/fixtures";
import { inputOf, largestDelta, loadReference, maxDelta, pairPath } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";

interface TextCase {
  row: string;
  title: string;
  text: string;
  tiny: number[];
}

const cases = readJson<TextCase[]>("more", "text-hostile-cases.json");
const isUnit = (vector: Float32Array) => vector.every(Number.isFinite) && Math.abs(Math.hypot(...vector) - 1) < 1e-5;

let gme: GmeModel;
t.before(async () => {
  gme = await loadReference(pairPath("tiny-a"));
});
t.after(() => gme.close());

/** Beyond the rows that have tests of their own. */
const rowTitles: Record<string, string> = {
  T07: "T07 ligatures, compatibility and full-width characters keep their own ids",
  T08: "T08 emoji families, flags, skin tones and a chain of 1,000 joiners have the reference's ids",
};

for (const row of [...new Set(cases.map((each) => each.row))]) {
  const mine = cases.filter((each) => each.row === row);
  const titles = [...new Set(mine.map((each) => each.title))].join("; ");
  t.test(rowTitles[row] ?? `${row} the reference's ids and a unit vector: ${titles}`, async (t) => {
    const vectors = await gme.embedBatch(mine.map(({ text }) => text));
    const different = [];
    for (const [i, { title, text, tiny }] of mine.entries()) {
      const ids = [...(await gme.tokenize(text))];
      if (ids.join() !== tiny.join() || !isUnit(vectors[i])) different.push(`${title}: ${printable(text)}`);
    }
    t.strictSame(different, []);
    t.comment(`${row}: ids of ${mine.length} texts equal to tokenizers 0.23.3, ${vectors.length} unit vectors`);
  });
}

t.test("T01 the empty text has the reference's vector, and blank texts have finite ones", async (t) => {
  let worst = 0;
  let compared = 0;
  for (const model of ["tiny-a", "tiny-b"]) {
    const vectors = readTensors(fixture(model, "vectors.safetensors"));
    const own = await loadReference(pairPath(model));
    for (const each of goldenCases(model).filter(({ text, image }) => text === "" && image === null)) {
      const vector = await own.embed(inputOf(each));
      worst = Math.max(worst, maxDelta(vector, vectors.get(each.id)?.data as Float32Array));
      compared++;
    }
    await own.close();
  }
  t.equal(compared, 4, "with two instructions, of two models");
  t.ok(worst <= largestDelta, `worst |Δ| ${worst}`);
  const blank = ["", " ", "\n", "\n".repeat(2_000), " ".repeat(2_000), "\u3000".repeat(1_000)];
  t.ok((await gme.embedBatch(blank)).every(isUnit));
  const short = await loadReference(pairPath("tiny-a"), { maxTokens: 100 });
  await rejectsWith(t, () => short.embed("\n".repeat(1_000_000)), "GME_TEXT_TOO_LONG");
  t.ok(isUnit(await short.embed("\n".repeat(1_000_000), { overflow: "truncate" })), "a million newlines, cut");
  await short.close();
  t.comment(`T01: 4 golden vectors of the empty text, worst |Δ| ${worst.toExponential(1)}; 7 blank texts finite`);
});

t.test("T02 a lone surrogate has the ids of U+FFFD, wherever it stands", async (t) => {
  const texts = [
    "\ud800",
    "\udfff",
    "a\ud83d",
    "\ude00b",
    "\ude00\ud83d",
    "\ud800\ud800\udc00",
    `${"x".repeat(9)}\udbff`,
  ];
  texts.push("\ud800".repeat(10_000), "\udc00\ud800".repeat(5_000));
  let equal = 0;
  for (const text of texts) {
    const replaced = new TextDecoder().decode(new TextEncoder().encode(text));
    t.not(replaced, text, "the text has one");
    const [ids, expected] = [await gme.tokenize(text), await gme.tokenize(replaced)];
    if (Buffer.compare(Buffer.from(ids.buffer), Buffer.from(expected.buffer)) === 0) equal++;
  }
  t.equal(equal, texts.length);
  const [lone, replaced] = await gme.embedBatch(["a\ud800b", "a\ufffdb"]);
  t.equal(maxDelta(lone, replaced), 0);
  const instructed = await gme.embed("a", { instruction: "x\ud800" });
  t.equal(maxDelta(instructed, await gme.embed("a", { instruction: "x\ufffd" })), 0, "in an instruction too");
  t.comment(`T02: ${equal} of ${texts.length} texts with up to 10,000 lone surrogates as TextEncoder has them`);
});

t.test("T03 NUL is kept: the vector is not that of the text before it", async (t) => {
  let smallest = Number.POSITIVE_INFINITY;
  for (const [whole, ...parts] of [
    ["\0tail", "", "tail"],
    ["head\0tail", "head", "headtail"],
    ["head\0", "head"],
    ["\0", ""],
    ["a\0\0b", "a\0b"],
  ]) {
    const vector = await gme.embed(whole);
    for (const part of parts) smallest = Math.min(smallest, maxDelta(vector, await gme.embed(part)));
  }
  t.ok(smallest > 1e-3, `smallest |Δ| ${smallest}`);
  t.not(maxDelta(await gme.embed("a", { instruction: "x\0y" }), await gme.embed("a", { instruction: "x" })), 0);
  t.comment(`T03: 7 pairs of texts with and without NUL, smallest |Δ| ${smallest.toFixed(3)}`);
});

t.test("T06 composed and decomposed forms of a text have one vector", async (t) => {
  const texts = ["déjà vu", "한국어 텍스트", "Ångström ṩ", "Việt Nam", "Ελληνικά ᾧ"];
  let worst = 0;
  for (const text of texts) {
    const [nfc, nfd] = await Promise.all([text.normalize("NFC"), text.normalize("NFD")].map((form) => gme.embed(form)));
    t.not(text.normalize("NFD"), text.normalize("NFC"));
    worst = Math.max(worst, maxDelta(nfc, nfd));
  }
  t.equal(worst, 0);
  t.comment(`T06: ${texts.length} texts in both forms, worst |Δ| ${worst}`);
});

t.test("T10 a letter with 100,000 marks is tokenised within a second", async (t) => {
  const start = performance.now();
  const ids = await gme.tokenize(`a${"\u0301\u0323\u0345".repeat(33_334)}`);
  const milliseconds = performance.now() - start;
  t.ok(ids.length > 1_000);
  t.ok(milliseconds <= 1_000, `${milliseconds} ms`);
  t.comment(`T10: 100,002 marks on one letter in ${milliseconds.toFixed(0)} ms through the public API`);
});

t.test("T22 the ids of any text decode to its bytes", async (t) => {
  const { model } = JSON.parse(readFileSync(fixture("checkpoints", "tiny-a", "tokenizer.json"), "utf8")) as {
    model: { vocab: Record<string, number> };
  };
  const visible = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  const byteOf = new Map<string, number>();
  for (let byte = 0, next = 256; byte < 256; byte++)
    byteOf.set(String.fromCodePoint(visible(byte) ? byte : next++), byte);
  const tokens = new Map(Object.entries(model.vocab).map(([token, id]) => [id, token]));
  const decode = (ids: Int32Array) =>
    Buffer.from([...ids].flatMap((id) => [...(tokens.get(id) as string)].map((c) => byteOf.get(c) as number)));
  let bytes = 0;
  const different: string[] = [];
  for (const { title, text } of cases) {
    // the tokenizer composes as of Unicode 9.0, and nothing that these texts hold has changed since
    const normal = Buffer.from(text.normalize("NFC"));
    if (!decode(await gme.tokenize(text)).equals(normal)) different.push(`${title}: ${printable(text)}`);
    bytes += normal.length;
  }
  t.strictSame(different, []);
  t.comment(`T22: ${cases.length} texts, ${bytes} bytes, decoded byte for byte from the public API's ids`);
});
