// JSONL and CSV files: each row a text, a picture, or a picture with its caption.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { EmbedTask } from "../../lib/embed-tasks/embed-task";
import { openIndex } from "../../lib/index-store/index";
import { checkOf, CountingEmbedder, failuresOf, freshPlace, runOnce, touch } from "./fault-setup";

const sound = { missing: 0, duplicates: 0, bad: 0, stale: 0 };
const jsonl = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

interface ShownRow {
  readonly row?: number;
  readonly kind: string;
  readonly name: string;
  readonly text?: string;
}

/** Every row of the index, ordered by its place in the table. */
async function shownRows(db: string): Promise<ShownRow[]> {
  const index = await openIndex(db, { readOnly: true });
  try {
    const rows: ShownRow[] = [];
    for await (const entries of index.entries())
      for (const { row, kind, path, snippet } of entries)
        rows.push({ row, kind, name: path.slice(path.lastIndexOf("/") + 1), text: snippet });
    return rows.sort((a, b) => (a.row ?? 0) - (b.row ?? 0));
  } finally {
    await index.close();
  }
}

/** Pictures in a folder beside the tables. */
function writePictures(folder: string, names: readonly string[]): void {
  mkdirSync(join(folder, "pictures"), { recursive: true });
  for (const name of names) writeFileSync(join(folder, "pictures", `${name}.png`), `picture ${name}`);
}

/** What the engine was given, as "text|picture". */
function watch(embedder: CountingEmbedder): string[] {
  const seen: string[] = [];
  embedder.before = (tasks: readonly EmbedTask[]) => {
    for (const { text, image } of tasks)
      seen.push(`${text ?? ""}|${image !== undefined && "path" in image ? image.path.split("/").at(-1) : ""}`);
  };
  return seen;
}

const kinds: { [name: string]: (rows: readonly (readonly [string | undefined, string | undefined])[]) => string } = {
  "rows.jsonl": (rows) => jsonl(rows.map(([text, image]) => ({ text, image, unused: 1 }))),
  "rows.csv": (rows) =>
    `unused,text,image\r\n${rows.map(([text = "", image = ""]) => `1,"${text.replaceAll('"', '""')}",${image}\r\n`).join("")}`,
};

for (const [name, write] of Object.entries(kinds)) {
  t.test(`${name}: texts, pictures, and pictures with their captions, relative to the table`, async (t) => {
    const { folder, db } = freshPlace();
    writePictures(folder, ["a", "b"]);
    const long = `A "quoted" text, with a comma\nand a second line`;
    const rows = [
      ["only a text", undefined],
      ["the caption of a", "pictures/a.png"],
      [undefined, "pictures/b.png"],
      [long, undefined],
    ] as const;
    const table = join(folder, name);
    writeFileSync(table, write(rows));
    const embedder = new CountingEmbedder();
    const seen = watch(embedder);
    t.match(await runOnce(t, db, table, embedder), { embedded: 4, rows: 4, failed: 0 });
    t.strictSame(seen.sort(), ["only a text|", "the caption of a|a.png", "|b.png", `${long}|`].sort());
    t.match(await shownRows(db), [
      { row: 1, kind: "text", name, text: "only a text" },
      { row: 2, kind: "image", name: "a.png", text: "the caption of a" },
      { row: 3, kind: "image", name: "b.png" },
      { row: 4, kind: "text", name },
    ]); // biome-ignore format: a table
    t.match(await checkOf(db), { ...sound, rows: 4, sources: 4 });
    const again = new CountingEmbedder();
    t.match(await runOnce(t, db, table, again), { embedded: 0, unchanged: 4, rows: 4 });
    t.match(await runOnce(t, db, folder), { embedded: 1, rows: 5 }, "a.png alone is another row, b.png is not");
  });

  t.test(`${name}: of changed, inserted and removed rows only the new ones are embedded`, async (t) => {
    const { folder, db } = freshPlace();
    writePictures(folder, ["a", "b", "c"]);
    const table = join(folder, name);
    const run = async (rows: readonly (readonly [string | undefined, string | undefined])[]) => {
      writeFileSync(table, write(rows));
      const embedder = new CountingEmbedder();
      const seen = watch(embedder);
      const { rows: count, failed } = await runOnce(t, db, table, embedder);
      t.strictSame({ count, failed }, { count: rows.length, failed: 0 });
      const shown = (await shownRows(db)).map(({ row, text }) => [row, text]);
      t.strictSame(shown, rows.map(([text], i) => [i + 1, text])); // biome-ignore format: short
      t.match(await checkOf(db), { ...sound, rows: rows.length, sources: rows.length });
      return seen;
    };
    await run([["one", undefined], ["two", "pictures/a.png"], ["three", "pictures/b.png"]]); // biome-ignore format: a table
    const changed = await run([["one", undefined], ["two, changed", "pictures/a.png"], ["three", "pictures/c.png"]]); // biome-ignore format: a table
    t.strictSame(changed.sort(), ["three|c.png", "two, changed|a.png"]);
    const inserted = await run([["zero", undefined], ["one", undefined], ["two, changed", "pictures/a.png"], ["three", "pictures/c.png"]]); // biome-ignore format: a table
    t.strictSame(inserted, ["zero|"]);
    t.strictSame(await run([["zero", undefined], ["three", "pictures/c.png"]]), []); // biome-ignore format: a table
    t.strictSame(await run([["three", "pictures/c.png"], ["zero", undefined]]), [], "rows that changed places"); // biome-ignore format: a table
  });
}

t.test("columns by name, in both kinds, and the columns that are taken without one", async (t) => {
  const { folder, db } = freshPlace();
  writePictures(folder, ["a", "b", "c"]);
  writeFileSync(join(folder, "1.jsonl"), jsonl([{ title: "a title", text: "not this", photo: "pictures/a.png" }]));
  writeFileSync(join(folder, "2.csv"), "title,photo\na second title,pictures/b.png\n");
  const options = { textColumn: "title", imageColumn: "photo" };
  const tables = ["1.jsonl", "2.csv"].map((name) => join(folder, name));
  const embedder = new CountingEmbedder();
  const seen = watch(embedder);
  t.match(await runOnce(t, db, tables, embedder, options), { rows: 2, failed: 0 });
  t.strictSame(seen.sort(), ["a second title|b.png", "a title|a.png"]);
  t.match(await checkOf(db), { ...sound, rows: 2 }, "a check knows the columns");
  for (const [i, row] of [{ caption: "by caption", file_name: "pictures/c.png" }, { content: "by content" }].entries())
    writeFileSync(join(folder, `default-${i}.jsonl`), jsonl([row]));
  const other = new CountingEmbedder();
  const names = watch(other);
  await runOnce(t, `${db}-2`, [0, 1].map((i) => join(folder, `default-${i}.jsonl`)), other); // biome-ignore format: short
  t.strictSame(names.sort(), ["by caption|c.png", "by content|"]);
  const missing = await runOnce(t, `${db}-3`, tables, new CountingEmbedder(), { textColumn: "nope" });
  t.match(missing, { rows: 0, failed: 2 });
  for (const { error } of missing.failures) t.equal(error.code, "GME_DOCUMENT_UNREADABLE", error.message);
});

t.test("a row that cannot be read is a failure with its number, and the others are indexed", async (t) => {
  const { folder, db } = freshPlace();
  writePictures(folder, ["a"]);
  const table = join(folder, "rows.jsonl");
  const good = { text: "a good row" };
  const picture = { text: "another good row", image: "pictures/a.png" };
  const lines = [
    JSON.stringify(good),
    "{ not JSON",
    JSON.stringify({ text: { an: "object" } }),
    JSON.stringify({ other: "column" }),
    JSON.stringify({ image: "pictures/missing.png" }),
    JSON.stringify({ image: "https://example.org/a.png" }),
    JSON.stringify({ image: "pictures" }),
    JSON.stringify(picture),
  ];
  writeFileSync(table, `${lines.join("\n")}\n`);
  const first = await runOnce(t, db, table);
  t.match(first, { rows: 2, failed: 6 });
  t.strictSame(
    first.failures.map(({ path, part, error }) => [path, part, error.code]),
    [
      [table, 2, "GME_DOCUMENT_UNREADABLE"],
      [table, 3, "GME_DOCUMENT_UNREADABLE"],
      [table, 4, "GME_DOCUMENT_UNREADABLE"],
      [table, 5, "GME_IO_ERROR"],
      [table, 6, "GME_URL_FETCH_DISABLED"],
      [table, 7, "GME_IO_ERROR"],
    ],
  );
  t.match(first.failures[3].error.message, /missing\.png/);
  t.match(
    failuresOf(db).map(({ path, part }) => [path, part]),
    [2, 3, 4, 5, 6, 7].map((part) => [table, part]),
  );
  t.match(await checkOf(db), { ...sound, rows: 2 });
  t.match(await runOnce(t, db, table), { embedded: 0, failed: 0, failedBefore: 6, rows: 2 }, "not tried again");
  writePictures(folder, ["missing"]);
  t.match(await runOnce(t, db, table), { embedded: 0, failedBefore: 6 }, "the table is as it was");
  t.match(await runOnce(t, db, table, new CountingEmbedder(), { retryFailed: true }), {
    embedded: 1,
    failed: 5,
    rows: 3,
  });
  t.match(await runOnce(t, db, table), { embedded: 0, failedBefore: 5, rows: 3 });
  writeFileSync(table, jsonl([good, picture]));
  t.match(await runOnce(t, db, table), { embedded: 0, failed: 0, failedBefore: 0, rows: 2 });
  t.strictSame(failuresOf(db), []);
});

t.test(
  "a picture that a table names is embedded again when it changes, and kept when it is only touched",
  async (t) => {
    const { folder, db } = freshPlace();
    writePictures(folder, ["a", "b"]);
    const table = join(folder, "rows.csv");
    writeFileSync(table, "text,image\none,pictures/a.png\ntwo,pictures/b.png\n");
    await runOnce(t, db, table);
    const a = join(folder, "pictures", "a.png");
    await touch(a, 3);
    t.match(await runOnce(t, db, table), { embedded: 0, rows: 2 });
    writeFileSync(a, "picture a, now another");
    t.match(await runOnce(t, db, table), { embedded: 1, rows: 2 });
    t.match(await checkOf(db), { ...sound, rows: 2 });
    rmSync(a);
    const gone = await runOnce(t, db, table);
    t.match(gone, { failed: 1, rows: 2 }, "its row stays until it is pruned");
    t.match(gone.failures, [{ path: table, part: 1, error: { code: "GME_IO_ERROR", errno: "ENOENT" } }]);
    t.match(await checkOf(db), { missing: 0, stale: 1 });
  },
);

t.test("the same row twice, and in two tables, is one row", async (t) => {
  const { folder, db } = freshPlace();
  writeFileSync(join(folder, "a.jsonl"), jsonl([{ text: "same" }, { text: "other" }, { text: "same" }]));
  writeFileSync(join(folder, "b.csv"), "text\nsame\n");
  t.match(await runOnce(t, db, folder), { embedded: 2, rows: 2, duplicates: 2 });
  t.match(await checkOf(db), { ...sound, rows: 2, sources: 4 });
  rmSync(join(folder, "a.jsonl"));
  writeFileSync(join(folder, "b.csv"), "text\nsomething else\n");
  await runOnce(t, db, folder);
  const index = await openIndex(db);
  await index.prune({ force: true });
  await index.close();
  t.strictSame(
    (await shownRows(db)).map(({ text }) => text),
    ["something else"],
  );
});

t.test(
  "a table that is empty, or has only its header, is no failure; one that lost its rows keeps none",
  async (t: Test) => {
    const { folder, db } = freshPlace();
    writeFileSync(join(folder, "empty.jsonl"), "");
    writeFileSync(join(folder, "empty.csv"), "");
    writeFileSync(join(folder, "header.csv"), "text,image\n");
    writeFileSync(join(folder, "rows.jsonl"), jsonl([{ text: "one" }]));
    t.match(await runOnce(t, db, folder), { rows: 1, failed: 0 });
    writeFileSync(join(folder, "rows.jsonl"), "");
    t.match(await runOnce(t, db, folder), { rows: 0, failed: 0 });
    t.match(await checkOf(db), { ...sound, rows: 0 });
  },
);
