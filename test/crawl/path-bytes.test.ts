import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { fsPath, pathJson, pathOf, shownPath } from "../../lib/crawl/path-bytes";
import { temporaryFolder } from "../helpers/fixtures";

/** A generator of the same numbers in every run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const toBytes = (path: string): Buffer => Buffer.from(fsPath(path) as Buffer);

t.test("plain UTF-8 stays as it is, in any script, with any control character", (t) => {
  for (const path of [
    "",
    "a/b.jpg",
    "ein Löwe",
    "cafe\u0301",
    "猫/ネコ.png",
    "🦁.webp",
    "a\nb",
    "\ufeffbom",
    "\u{10ff7f}",
  ]) {
    t.equal(pathOf(Buffer.from(path)), path);
    t.equal(fsPath(path), path);
    t.same(pathJson(path), { path });
  }
  t.end();
});

t.test("a byte that is not part of valid UTF-8 becomes U+10FF00 + byte", (t) => {
  const cases: [string, number[], string][] = [
    ["\\xff", [0xff], "\u{10ffff}"],
    ["\\x80 in a name", [0x61, 0x80, 0x62], "a\u{10ff80}b"],
    ["a sequence cut short", [0x61, 0xe7, 0x8c], "a\u{10ffe7}\u{10ff8c}"],
    ["an overlong slash", [0xc0, 0xaf], "\u{10ffc0}\u{10ffaf}"],
    ["a surrogate", [0xed, 0xa0, 0x80], "\u{10ffed}\u{10ffa0}\u{10ff80}"],
    ["beyond Unicode", [0xf4, 0x90, 0x80, 0x80], "\u{10fff4}\u{10ff90}\u{10ff80}\u{10ff80}"],
    ["valid after invalid", [0xff, 0xe7, 0x8c, 0xab, 0x2f, 0x61], "\u{10ffff}猫/a"],
    ["a genuine U+10FFFF", [0xf4, 0x8f, 0xbf, 0xbf], "\u{10fff4}\u{10ff8f}\u{10ffbf}\u{10ffbf}"],
    [
      "a genuine U+10FF80 after \\xfe",
      [0xfe, 0xf4, 0x8f, 0xbe, 0x80],
      "\u{10fffe}\u{10fff4}\u{10ff8f}\u{10ffbe}\u{10ff80}",
    ],
  ];
  for (const [title, bytes, path] of cases) {
    t.equal(pathOf(Buffer.from(bytes)), path, title);
    t.same(toBytes(path), Buffer.from(bytes), `${title}, back`);
    t.equal(pathJson(path).pathBase64, Buffer.from(bytes).toString("base64"), `${title}, as JSON`);
  }
  t.end();
});

t.test("20,000 random byte strings come back as they were, and no two have the same form", (t) => {
  const random = randomNumbers(7);
  const pieces = ["a", "/", "é", "猫", "🦁", "\u{10ffff}", "\u{10ff7f}", "\u{10ff80}"].map((piece) =>
    Buffer.from(piece),
  );
  const forms = new Map<string, string>();
  let wrong = 0;
  for (let i = 0; i < 20_000; i++) {
    const parts = Array.from({ length: random(12) }, () => {
      const whole = pieces[random(pieces.length)];
      return random(3) > 0
        ? Buffer.of(random(256))
        : random(2) > 0
          ? whole
          : whole.subarray(0, 1 + random(whole.length));
    });
    const bytes = Buffer.concat(parts);
    const path = pathOf(bytes);
    const other = forms.get(path);
    if (!toBytes(path).equals(bytes) || (other !== undefined && other !== bytes.toString("hex"))) wrong++;
    forms.set(path, bytes.toString("hex"));
    const cut = bytes.indexOf(0x2f);
    if (cut >= 0 && path !== `${pathOf(bytes.subarray(0, cut))}/${pathOf(bytes.subarray(cut + 1))}`) wrong++;
  }
  t.equal(wrong, 0);
  t.ok(forms.size > 10_000);
  t.end();
});

t.test("a shown path is one line without raw bytes, controls or bidirectional marks, however long", (t) => {
  t.equal(shownPath("a\nb\tc\r\u0007"), "a\\nb\\tc\\r\\u{7}");
  t.equal(shownPath("a\u202egpj.exe\u200f"), "a\\u{202e}gpj.exe\\u{200f}");
  t.equal(shownPath(pathOf(Buffer.from([0x61, 0xff, 0x80]))), "a\\xff\\x80");
  t.equal(shownPath("ein Löwe/猫 🦁"), "ein Löwe/猫 🦁");
  t.equal(shownPath("x".repeat(5_000)).length, 5_000);
  t.end();
});

t.test(
  "a file whose name is not UTF-8 is found and read through its form",
  { skip: process.platform !== "linux" },
  (t) => {
    const folder = temporaryFolder();
    const names = [[0xff], [0x61, 0x0a, 0xfe], [0xf4, 0x8f, 0xbf, 0xbf]].map((bytes) => Buffer.from(bytes));
    mkdirSync(join(folder, "in"));
    for (const name of names) writeFileSync(Buffer.concat([Buffer.from(`${folder}/in/`), name]), name);
    const found = readdirSync(join(folder, "in"), { encoding: "buffer" });
    t.equal(found.length, 3);
    for (const name of found) t.same(readFileSync(fsPath(`${folder}/in/${pathOf(name)}`)), name);
    t.end();
  },
);
