// `check` counts each fault made by hand, and `repair` brings back the rows of an undisturbed index.
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { openIndex } from "../../lib/index-store/index";
import { gme } from "../helpers/cli";
import { imageFixture, root } from "../helpers/fixtures";
import { pdfWithPages } from "../helpers/pdf-writer";
import {
  checkOf,
  CountingEmbedder,
  freshPlace,
  openWith,
  rawTable,
  rowsOf,
  runOnce,
  touch,
  unitVector,
} from "./fault-setup";

const model = join(root, "models", "emoji-tiny-f16.gguf");

interface Corpus {
  readonly folder: string;
  readonly db: string;
}

/** Three pictures (one twice, one with a caption), a long text, a PDF of four pages and two tables. */
async function indexed(t: Test): Promise<Corpus> {
  const { folder, db } = freshPlace();
  const write = (name: string, content: string) => writeFileSync(join(folder, name), content);
  for (const name of ["a", "b", "c"]) write(`${name}.png`, `picture ${name}`);
  write("a again.png", "picture a");
  write("b.txt", "the caption of b");
  write("long.md", Array.from({ length: 120 }, (_, i) => `This is sentence number ${i}.`).join(" "));
  write("doc.pdf", "%PDF-1.4 pages=4");
  const rows = [{ text: "first row" }, { text: "second row", image: "c.png" }, { text: "third row" }];
  write("rows.jsonl", rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  write("rows.csv", "text,image\nfirst of the CSV,a.png\nsecond of the CSV,\n");
  await runOnce(t, db, folder);
  return { folder, db };
}

const sound = { missing: 0, duplicates: 0, bad: 0, stale: 0 };
const report = (found: object) => ({ ...sound, ...found });

async function repaired(t: Test, { db }: Corpus) {
  const index = await openWith(t, db);
  try {
    return await index.repair();
  } finally {
    await index.close();
  }
}

interface Fault {
  readonly what: string;
  readonly make: (corpus: Corpus) => Promise<void>;
  readonly counts: object;
}

async function deleteRows(db: string, where: string, count: number): Promise<void> {
  const table = await rawTable(db);
  if ((await table.countRows(where)) !== count) throw new Error(`${where}: ${await table.countRows(where)} rows`);
  await table.delete(where);
  table.close();
}

async function doubleRows(db: string, where: string): Promise<void> {
  const table = await rawTable(db);
  await table.add(await table.query().where(where).toArrow());
  table.close();
}

async function setVector(db: string, where: string, vector: Float32Array): Promise<void> {
  const { makeArrowTable } = await import("@lancedb/lancedb");
  const { Schema } = await import("apache-arrow");
  const table = await rawTable(db);
  const found = await table.query().where(where).select(["key"]).toArray();
  const { fields } = await table.schema();
  const schema = new Schema(fields.filter(({ name }) => name === "key" || name === "vector"));
  const rows = makeArrowTable(
    found.map(({ key }) => ({ key, vector })),
    { schema },
  );
  await table.mergeInsert("key").whenMatchedUpdateAll().execute(rows);
  table.close();
}

const faults: readonly Fault[] = [
  {
    what: "a picture's row is gone",
    make: ({ db }) => deleteRows(db, "path LIKE '%/b.png'", 1),
    counts: { missing: 1 },
  },
  {
    what: "the row of a picture with two names and a place in a table is gone",
    make: ({ db }) => deleteRows(db, "path LIKE '%/a%.png' AND caption IS NULL", 1),
    counts: { missing: 2 },
  },
  { what: "a page is gone", make: ({ db }) => deleteRows(db, "page = 3", 1), counts: { missing: 1 } },
  { what: "all pages are gone", make: ({ db }) => deleteRows(db, "kind = 'page'", 4), counts: { missing: 1 } },
  { what: "a passage is gone", make: ({ db }) => deleteRows(db, "passage = 2", 1), counts: { missing: 1 } },
  {
    what: "a row of a JSONL file is gone",
    make: ({ db }) => deleteRows(db, "snippet = 'third row'", 1),
    counts: { missing: 1 },
  },
  {
    what: "a CSV's row with a picture is gone",
    make: ({ db }) => deleteRows(db, "caption = 'first of the CSV'", 1),
    counts: { missing: 1 },
  },
  { what: "a row is there twice", make: ({ db }) => doubleRows(db, "path LIKE '%/c.png'"), counts: { duplicates: 2 } },
  {
    what: "a row is there four times",
    make: async ({ db }) => {
      await doubleRows(db, "page = 1");
      await doubleRows(db, "page = 1");
    },
    counts: { duplicates: 3 },
  },
  {
    what: "a vector is zero",
    make: ({ db }) => setVector(db, "page = 2", new Float32Array(16)),
    counts: { bad: 1 },
  },
  {
    what: "a vector is twice as long",
    make: ({ db }) =>
      setVector(
        db,
        "snippet = 'first row'",
        unitVector("x").map((x) => x * 2),
      ),
    counts: { bad: 1 },
  },
  {
    what: "a vector is NaN",
    make: ({ db }) => setVector(db, "path LIKE '%/b.png'", new Float32Array(16).fill(Number.NaN)),
    counts: { bad: 1 },
  },
  {
    what: "a vector is infinite",
    make: ({ db }) => setVector(db, "kind = 'page' AND page = 4", new Float32Array(16).fill(Number.POSITIVE_INFINITY)),
    counts: { bad: 1 },
  },
  {
    what: "several things are wrong at once",
    make: async ({ db }) => {
      await deleteRows(db, "passage = 1", 1);
      await doubleRows(db, "page = 1");
      await setVector(db, "page = 2", new Float32Array(16));
    },
    counts: { missing: 1, duplicates: 1, bad: 1 },
  },
];

t.test("an undisturbed index is sound, in exactly the six counts", async (t) => {
  const corpus = await indexed(t);
  const found = await checkOf(corpus.db);
  t.strictSame(Object.keys(found), ["rows", "sources", "missing", "duplicates", "bad", "stale"]);
  t.match(found, sound);
  t.equal(found.rows, (await rowsOf(corpus.db)).length);
});

for (const { what, make, counts } of faults) {
  t.test(`${what}: counted, and mended to the rows of before`, async (t) => {
    const corpus = await indexed(t);
    const before = await rowsOf(corpus.db);
    await make(corpus);
    t.match(await checkOf(corpus.db), report(counts));
    const { before: found, after, notes } = await repaired(t, corpus);
    t.match(found, report(counts));
    t.match(after, report({ rows: before.length }));
    t.strictSame(notes, [], "the store itself was whole");
    t.strictSame(await rowsOf(corpus.db), before);
    t.match(await checkOf(corpus.db), sound);
  });
}

t.test("rows of a changed and of a vanished file are stale, and a file that came later is not missing", async (t) => {
  const { folder, db } = await indexed(t);
  await new Promise((resolve) => setTimeout(resolve, 20));
  writeFileSync(join(folder, "b.png"), "no longer the picture b");
  rmSync(join(folder, "doc.pdf"));
  writeFileSync(join(folder, "new.png"), "a new picture");
  writeFileSync(join(folder, "new.md"), "A new text.");
  await touch(join(folder, "c.png"), 7);
  t.match(await checkOf(db), report({ stale: 5 }));
});

t.test("a failed item is neither missing nor repaired", async (t) => {
  const { folder, db } = await indexed(t);
  writeFileSync(join(folder, "late.png"), "late");
  const failing = new CountingEmbedder();
  failing.vectorOf = () => new Float32Array(16);
  t.match(await runOnce(t, db, folder, failing), { failed: 1 });
  t.match(await checkOf(db), sound);
});

t.test("the command prints the six counts and exits 1 for what is missing, 0 for what is stale", async (t) => {
  const { folder, db } = freshPlace();
  copyFileSync(join(root, "models", "emoji-tiny", "samples", "banana.png"), join(folder, "banana.png"));
  copyFileSync(imageFixture("tiny-28x28.png"), join(folder, "tiny.png"));
  writeFileSync(join(folder, "pages.pdf"), pdfWithPages([{ text: "one" }, { text: "two" }]));
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await gme(["index", ...args, "--db", db, "--model", model]);
    return { code, stderr, json: stdout.toString().startsWith("{") ? JSON.parse(stdout.toString()) : undefined };
  };
  const { code, stderr } = await run(folder);
  t.equal(code, 0, stderr);
  t.strictSame(await run("--check"), {
    code: 0,
    stderr: "",
    json: { rows: 4, sources: 4, missing: 0, duplicates: 0, bad: 0, stale: 0 },
  });
  const before = await rowsOf(db);
  await deleteRows(db, "page = 2", 1);
  t.match(await run("--check"), { code: 1, json: { rows: 3, missing: 1 } });
  const mended = await run("--repair");
  t.match(mended, { code: 0, json: { rows: 4, sources: 4, missing: 0, duplicates: 0, bad: 0, stale: 0 } });
  t.strictSame(
    (await rowsOf(db)).map(({ key }) => key),
    before.map(({ key }) => key),
  );
  rmSync(join(folder, "tiny.png"));
  t.match(await run("--check"), { code: 0, json: { stale: 1, missing: 0 } });
});

t.test("an index that knows no folders any more is checked by its rows, and repaired as far as they go", async (t) => {
  const corpus = await indexed(t);
  rmSync(join(corpus.db, "roots.json"));
  await doubleRows(corpus.db, "page = 1");
  t.match(await checkOf(corpus.db), report({ duplicates: 1 }));
  const index = await openIndex(corpus.db);
  t.teardown(() => index.close());
  t.match((await index.repair()).after, sound);
  await index.close();
});
