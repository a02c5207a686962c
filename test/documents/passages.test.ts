import t from "tap";
import { cutPassages } from "../../lib/documents/passages";
import { cutSentences } from "../../lib/documents/sentences";
import { rejectsWith } from "../helpers/rejects";

function sentencesOf(text: string): string[] {
  return [...cutSentences(text)].map(({ start, end }) => text.slice(start, end));
}

t.test("sentences end at stops and empty lines, not at abbreviations, initials and numbers", async (t) => {
  t.strictSame(
    sentencesOf('Dr. Smith of the U.S.A. paid 3.14 € to J. Doe. He said: "Why?" "No!" (Or so.) Then…  End'),
    ["Dr. Smith of the U.S.A. paid 3.14 € to J. Doe.", 'He said: "Why?"', '"No!"', "(Or so.)", "Then…", "End"],
  );
  t.strictSame(sentencesOf("A title\n\nA line\nof a paragraph, e.g. this one. approx. here\n \t\nLast"), [
    "A title",
    "A line\nof a paragraph, e.g. this one. approx. here",
    "Last",
  ]);
  t.strictSame(sentencesOf("今日は晴れ。「明日も？」はい！終わり"), [
    "今日は晴れ。",
    "「明日も？」",
    "はい！",
    "終わり",
  ]);
  t.strictSame(sentencesOf("z.B. Äpfel, vgl. Seite 3. Zweiter Satz."), ["z.B. Äpfel, vgl. Seite 3.", "Zweiter Satz."]);
});

t.test("passages are whole sentences and begin with the last sentences of the one before", async (t) => {
  const text = ["One one one one.", "Two two two two.", "Three three.", "Four four four."].join(" ");
  const passages = cutPassages(text, { length: 50, overlap: 20 });
  t.strictSame(
    passages.map(({ text }) => text),
    ["One one one one. Two two two two. Three three.", "Three three. Four four four."],
  );
  t.strictSame(
    passages.map(({ number, start, end }) => [number, start, end]),
    [
      [1, 0, 46],
      [2, 34, 62],
    ],
  );
  t.strictSame(cutPassages(text, { length: 50, overlap: 0 })[1].text, "Four four four.", "without overlap");
});

t.test("a sentence longer than a passage is cut at line ends, at spaces, else anywhere", async (t) => {
  t.strictSame(
    cutPassages("aaaa bbbb cccc dddd eeee", { length: 16, overlap: 8 }).map(({ text }) => text),
    ["aaaa bbbb cccc", "dddd eeee"],
  );
  t.strictSame(
    cutPassages("aaaa bbbb cc\ndd eeee", { length: 16, overlap: 0 }).map(({ text }) => text),
    ["aaaa bbbb cc", "dd eeee"],
  );
  t.strictSame(
    cutPassages("x".repeat(40), { length: 16, overlap: 8 }).map(({ text }) => text.length),
    [16, 16, 8],
  );
  const emoji = cutPassages(`x${"😀".repeat(20)}`, { length: 16, overlap: 0 });
  t.strictSame(
    emoji.map(({ text }) => text),
    [`x${"😀".repeat(7)}`, "😀".repeat(8), "😀".repeat(5)],
    "never within a surrogate pair",
  );
});

t.test("text without a character has no passages", async (t) => {
  for (const text of ["", " \n\t\r\n\u00a0\u3000\u2029\f"])
    t.strictSame(cutPassages(text, { length: 100, overlap: 10 }), []);
});

t.test("lengths that make no sense are refused", async (t) => {
  for (const [length, overlap] of [
    [15, 0],
    [Number.NaN, 0],
    [100, 51],
    [100, -1],
    [100.5, 0],
  ]) {
    await rejectsWith(t, () => cutPassages("a", { length, overlap }), "GME_OPTION_INVALID", `${length}, ${overlap}`);
  }
});

t.test("random texts lose no character and keep to the limits", async (t) => {
  const bits = [
    "a",
    "Bc",
    ".",
    "!",
    "…",
    "。",
    " ",
    "  ",
    "\n",
    "\n\n",
    "😀",
    "word ",
    "Mr. ",
    "3.5",
    '"',
    "字",
    "\u00a0",
    "long".repeat(9),
  ];
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * below);
  };
  const problems: string[] = [];
  for (let i = 0; i < 1500; i++) {
    const text = Array.from({ length: random(200) }, () => bits[random(bits.length)]).join("");
    const length = 16 + random(80);
    const overlap = random(Math.floor(length / 2) + 1);
    const problem = problemOf(text, length, overlap);
    if (problem !== undefined) problems.push(`${problem}: ${JSON.stringify({ text, length, overlap })}`);
  }
  t.strictSame(problems, []);
});

function problemOf(text: string, length: number, overlap: number): string | undefined {
  const passages = cutPassages(text, { length, overlap });
  if (JSON.stringify(passages) !== JSON.stringify(cutPassages(text, { length, overlap }))) return "not deterministic";
  let covered = 0;
  for (const [i, { number, start, end, text: part }] of passages.entries()) {
    if (number !== i + 1 || part !== text.slice(start, end)) return "wrong number or text";
    if (part.length > length || part.trim() !== part || part === "") return "wrong length or spaces";
    if (text.slice(covered, start).trim() !== "") return "lost characters";
    if (i > 0 && (covered - start > overlap || end <= covered || start <= passages[i - 1].start))
      return "wrong overlap";
    if (/^[\udc00-\udfff]|[\ud800-\udbff]$/.test(part)) return "cut pair";
    covered = end;
  }
  return text.slice(covered).trim() === "" ? undefined : "lost the end";
}

t.test("megabytes of hostile text take linear time", async (t) => {
  const size = 5_000_000;
  const texts = {
    "one word": "x".repeat(size),
    "only line ends": "\n".repeat(size),
    "only emoji": "😀".repeat(size / 2),
    "only stops": ".".repeat(size),
    "stops and spaces": ". ".repeat(size / 2),
    "one word a line": "a\n".repeat(size / 2),
    "stops before many spaces": `a.${" ".repeat(4998)}`.repeat(size / 5000),
  };
  for (const [title, text] of Object.entries(texts)) {
    const start = performance.now();
    const passages = cutPassages(text, { length: 1200, overlap: 200 });
    const milliseconds = performance.now() - start;
    t.ok(milliseconds < 5000, `${title}: ${passages.length} passages in ${Math.round(milliseconds)} ms`);
  }
});
