import t from "tap";
import { pathOf } from "../../lib/crawl/path-bytes";
import { globToRegex, sqlText } from "../../lib/crawl/path-glob";
import { temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";

/** Paths of all sorts: no two alike. */
const paths = [
  "/home/a/cat.jpg",
  "/home/a/cat.jpeg",
  "/home/a/b/cat.jpg",
  "/home/a/b/c/Cat.JPG",
  "/home/a/b.c/dog.png",
  "/cat.jpg",
  "/home/x'; DROP TABLE entries; --/cat.jpg",
  '/home/"double"/cat.jpg',
  "/home/back\\slash/c*t.jpg",
  "/home/new\nline/a\nb.jpg",
  "/home/(a+b)^$|{c}/[x].jpg",
  "/home/猫/ネコ.png",
  "/home/emoji/🦁.png",
  "/home/cafe\u0301/e\u0301.txt",
  "/home/café/é.txt",
  "/home/a,b/c,d.txt",
  "/home/a-b/]x.txt",
  `/home/raw/${pathOf(Buffer.from([0x61, 0xff]))}.jpg`,
  "/home/catXjpg",
  "manual-item-7",
];

/** Globs and the paths that they match, by their place above. */
const cases: [string, number[]][] = [
  ["*.jpg", [0, 2, 5, 6, 7, 8, 9, 10, 17]],
  ["cat.jpg", [0, 2, 5, 6, 7]],
  ["cat.*", [0, 1, 2, 5, 6, 7]],
  ["cat.jp?g", [1]],
  ["?at.JPG", [3]],
  ["[!a-z]at.*", [3]],
  ["[^a-z]at.*", [3]],
  ["[Cc]at.[jJ][pP][gG]", [0, 2, 3, 5, 6, 7]],
  ["a/*.jpg", [0]],
  ["a/**/*.jpg", [0, 2]],
  ["a/**", [0, 1, 2, 3, 4]],
  ["a/", [0, 1, 2, 3, 4]],
  ["a/b/", [2, 3]],
  ["/a/**", []],
  ["/home/a/*", [0, 1]],
  ["/*", [5]],
  ["/**/cat.jpg", [0, 2, 5, 6, 7]],
  ["./a/cat.*", [0, 1]],
  ["**", paths.map((_, i) => i)],
  ["**/b/**/*.JPG", [3]],
  ["*.{jpeg,png}", [1, 4, 11, 12]],
  ["{cat,dog}.{jpg,pn{g,x}}", [0, 2, 4, 5, 6, 7]],
  ["a/{b,b/c}/*", [2, 3]],
  ["home/{a,猫}/*.{jpg,png}", [0, 11]],
  ["*'*/*", [6]],
  ['"double"/*', [7]],
  ["c\\*t.jpg", [8]],
  ["back\\\\slash/*", [8]],
  ["a\nb.jpg", [9]],
  ["a?b.jpg", [9]],
  ["\\[x\\].jpg", [10]],
  ["(a+b)^$|{c}/*", [10]],
  ["?.png", [12]],
  ["[🦂-🦄].png", []],
  ["[🦀-🦿].png", [12]],
  ["ネコ.*", [11]],
  ["é.txt", [14]],
  ["c,d.txt", [15]],
  ["[]]x.txt", [16]],
  ["[a-]x.txt", []],
  ["a[-x]b/*", [16]],
  ["a[+-9]b/*", [15, 16]],
  ["home[/]a/cat.jpg", []],
  ["home[!x]a/cat.jpg", []],
  ["a?.jpg", [17]],
  ["manual-*", [19]],
  ["cat.jpg\n", []],
  ["[z-a].png", []],
  ["{cat.jpg", []],
  ["cat.jpg}", []],
  ["{cat}.jpg", []],
  ["[", []],
  ["\\", []],
  ["{".repeat(4_000), []],
  ["}".repeat(4_000), []],
  ["[".repeat(4_000), []],
  ["*".repeat(4_000), paths.map((_, i) => i)],
  [`${"?".repeat(4_000)}.jpg`, []],
  ["[&&[a--b~~c]at.jpg", [0, 2, 5, 6, 7]],
];

t.test("a glob matches the same paths in JavaScript and in LanceDB", async (t) => {
  const lancedb = await import("@lancedb/lancedb");
  const connection = await lancedb.connect(temporaryFolder());
  const table = await connection.createTable(
    "paths",
    paths.map((path, i) => ({ i, path })),
  );
  for (const [glob, expected] of cases) {
    const title = JSON.stringify(glob.slice(0, 40));
    const regex = globToRegex(glob);
    const pattern = new RegExp(regex, "u");
    t.same(
      paths.flatMap((path, i) => (pattern.test(path) ? [i] : [])),
      expected,
      `${title} in JavaScript`,
    );
    const rows = await table
      .query()
      .where(`regexp_like(path, ${sqlText(regex)})`)
      .limit(100)
      .toArray();
    t.same(
      rows.map(({ i }) => Number(i)).sort((a, b) => a - b),
      expected,
      `${title} in LanceDB`,
    );
  }
  for (const [i, path] of paths.entries()) {
    const rows = await table
      .query()
      .where(`path = ${sqlText(path)}`)
      .limit(100)
      .toArray();
    t.same(
      rows.map((row) => Number(row.i)),
      [i],
      `${JSON.stringify(path)} as an SQL text`,
    );
  }
  table.close();
  connection.close();
});

t.test("a glob that is none is refused", async (t) => {
  const nested = (depth: number) => `${"{a,".repeat(depth)}b${"}".repeat(depth)}`;
  t.match(globToRegex(nested(16)), /^\^/);
  const bad = ["", "a\0b", "\ud800", "*".repeat(10_000), nested(17), nested(1_000), 7, undefined];
  for (const glob of bad) {
    await rejectsWith(t, () => globToRegex(glob as string), "GME_OPTION_INVALID", String(glob).slice(0, 20));
  }
});

t.test("2,000 random globs of special characters are read by both engines or refused", async (t) => {
  const signs = [
    "*",
    "**",
    "?",
    "[",
    "]",
    "!",
    "^",
    "-",
    "{",
    "}",
    ",",
    "\\",
    "/",
    "a",
    "b",
    "&&",
    "~~",
    "'",
    "猫",
    "$",
    ".",
  ];
  let state = 11;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const lancedb = await import("@lancedb/lancedb");
  const connection = await lancedb.connect(temporaryFolder());
  const texts = ["/a/b", "/a/a/b.a", "a", "/猫/b'a", "/[a]{b}/-", "/&&/~~/$.\\"];
  const table = await connection.createTable(
    "paths",
    texts.map((path, i) => ({ i, path })),
  );
  let matches = 0;
  const different: string[] = [];
  for (let round = 0; round < 2_000; round += 20) {
    const globs = Array.from({ length: 20 }, () =>
      Array.from({ length: 1 + random(9) }, () => signs[random(signs.length)]).join(""),
    );
    for (const glob of globs) {
      const regex = globToRegex(glob);
      const expected = texts.flatMap((path, i) => (new RegExp(regex, "u").test(path) ? [i] : []));
      const rows = await table
        .query()
        .where(`regexp_like(path, ${sqlText(regex)})`)
        .limit(100)
        .toArray();
      const found = rows.map(({ i }) => Number(i)).sort((a, b) => a - b);
      matches += found.length;
      if (found.join() !== expected.join()) different.push(glob);
    }
  }
  t.same(different, []);
  t.ok(matches > 200, `${matches} matches`);
  table.close();
  connection.close();
});
