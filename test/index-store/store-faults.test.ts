// Faults of the disk below an index, of its files, and of vectors: never silently fewer rows.
import { execFile, execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { GmeError } from "../../lib/errors";
import { openIndex } from "../../lib/index-store/index";
import { command } from "../helpers/cli";
import { root } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { checkOf, CountingEmbedder, dimensions, failuresOf, freshPlace, openWith, type RowRecord, rowsOf, runOnce, unitVector } from "./fault-setup"; // biome-ignore format: one line says it

const run = promisify(execFile);
const sound = { missing: 0, duplicates: 0, bad: 0, stale: 0 };
const query = unitVector("a query");

function writePictures(folder: string, from: number, to: number): void {
  for (let i = from; i < to; i++) writeFileSync(join(folder, `${String(i).padStart(5, "0")}.png`), `picture ${i}`);
}

/** A tmpfs that is gone when the test ends; undefined where this user may not mount one. */
function mount(t: Test, options: string): string | undefined {
  const { folder } = freshPlace();
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  t.teardown(() => execFileSync("umount", ["-l", folder], { stdio: "ignore" }));
  return folder;
}

function skipped(t: Test): void {
  t.pass("a small disk", { skip: "mounting a tmpfs is not allowed here" });
}

for (const [what, small, large] of [
  ["bytes", "size=2m", "size=64m"],
  ["inodes", "size=64m,nr_inodes=40", "size=64m,nr_inodes=4000"],
] as const) {
  t.test(`a disk without ${what} left is GME_DISK_FULL, and the index stays readable`, async (t) => {
    const disk = mount(t, small);
    if (disk === undefined) return skipped(t);
    const db = join(disk, "index");
    const { folder } = freshPlace();
    writePictures(folder, 0, 50);
    const { rows } = await runOnce(t, db, folder);
    t.equal(rows, 50);
    let committed = rows;
    let failure: unknown;
    for (let round = 1; round <= 60 && failure === undefined; round++) {
      writePictures(folder, round * 50, round * 50 + 50);
      const events: number[] = [];
      const index = await openWith(t, db);
      await index
        .addFiles([folder], {
          onEvent: (event) => event.type === "committed" && events.push(event.rows),
        })
        .catch((error) => {
          failure = error;
        });
      await index.close();
      committed += events.reduce((a, b) => a + b, 0);
    }
    t.ok(failure instanceof GmeError, String(failure));
    const { code, message, file } = failure as GmeError;
    t.equal(code, "GME_DISK_FULL", message);
    t.match(file, db);
    t.notMatch(message, /\.rs|lance/i);
    const reader = await openIndex(db, { readOnly: true });
    t.teardown(() => reader.close());
    const present = (await reader.stats()).rows;
    t.ok(present >= committed && present > 0, `${present} rows of ${committed} acknowledged`);
    t.equal((await reader.search(undefined, { embedding: query, limit: 20 })).length, 20, "a search works while full");
    t.match(await reader.check(), { duplicates: 0, bad: 0, stale: 0, rows: present });
    await reader.close();
    await run("mount", ["-o", `remount,${large}`, disk]);
    const after = await runOnce(t, db, folder);
    t.match(after, { failed: 0, rows: readdirSync(folder).length });
    t.match(await checkOf(db), { ...sound, rows: after.rows });
  });
}

t.test("a new index on a full disk is GME_DISK_FULL, and begins once there is room", async (t) => {
  const disk = mount(t, "size=64k");
  if (disk === undefined) return skipped(t);
  const { folder } = freshPlace();
  writePictures(folder, 0, 50);
  writeFileSync(join(disk, "ballast"), Buffer.alloc(44 << 10));
  const db = join(disk, "index");
  await rejectsWith(t, () => runOnce(t, db, folder), "GME_DISK_FULL");
  await run("mount", ["-o", "remount,size=16m", disk]);
  t.match(await runOnce(t, db, folder), { failed: 0, rows: 50 });
  t.match(await checkOf(db), { ...sound, rows: 50 });
});

t.test("few open files are enough", async (t) => {
  const { folder, db } = freshPlace();
  const samples = join(root, "models", "emoji-tiny", "samples");
  for (const name of readdirSync(samples).slice(0, 20)) cpSync(join(samples, name), join(folder, name));
  for (let i = 0; i < 80; i++) writeFileSync(join(folder, `${i}.md`), `Text ${i}.`);
  const more = [folder, "--db", db, "--json", "--model", join(root, "models", "emoji-tiny-f16.gguf"), "--threads", "1"];
  const limited = ["-c", 'ulimit -n 64; exec "$0" "$@"', process.execPath, ...command, "index", ...more];
  const { stdout } = await run("bash", limited, { cwd: root });
  t.match(JSON.parse(stdout.trimEnd().split("\n").at(-1) as string), { type: "summary", rows: 100, failed: 0 });
  t.match(await checkOf(db), { ...sound, rows: 100 });
});

t.test("a vector that is not finite or not of unit length fails its item, before anything is written", async (t) => {
  const { folder, db } = freshPlace();
  writePictures(folder, 0, 6);
  const embedder = new CountingEmbedder();
  const bad = [
    new Float32Array(dimensions),
    new Float32Array(dimensions).fill(Number.NaN),
    unitVector("x").map((x, i) => (i === 3 ? Number.POSITIVE_INFINITY : x)),
    unitVector("x").map((x) => x * 1.01),
  ];
  embedder.vectorOf = () => bad.pop() ?? unitVector("good");
  const { failures, rows, failed } = await runOnce(t, db, folder, embedder);
  t.strictSame({ rows, failed }, { rows: 2, failed: 4 });
  for (const { error } of failures) t.equal(error.code, "GME_NON_FINITE");
  t.strictSame(
    failuresOf(db).map(({ code }) => code),
    Array(4).fill("GME_NON_FINITE"),
  );
  t.match(await checkOf(db), { ...sound, rows: 2 });
  t.match(await runOnce(t, db, folder), { embedded: 0, failedBefore: 4 });
  t.match(await runOnce(t, db, folder, new CountingEmbedder(), { retryFailed: true }), { embedded: 4, rows: 6 });
  t.strictSame(failuresOf(db), []);
});

t.test("ready vectors through add() are checked likewise", async (t) => {
  const { db } = freshPlace();
  const index = await openWith(t, db);
  const summary = await index.add([
    { id: "good", embedding: unitVector("good") },
    { id: "zero", embedding: new Float32Array(dimensions) },
    { id: "NaN", embedding: unitVector("x").map((x, i) => (i === 0 ? Number.NaN : x)) },
    { id: "long", embedding: unitVector("x").map((x) => x * 2) },
    { id: "of another length", embedding: unitVector("x", dimensions + 1) },
    { id: "good again", embedding: unitVector("good again") },
  ]);
  t.match(summary, { rows: 2, failed: 4 });
  t.strictSame(failuresOf(db).map(({ path, code }) => [path, code]), [
    ["zero", "GME_NON_FINITE"],
    ["NaN", "GME_NON_FINITE"],
    ["long", "GME_NON_FINITE"],
    ["of another length", "GME_INPUT_INVALID"],
  ]); // biome-ignore format: a table
  await index.close();
});

/** A small index of several versions: three runs, with one file changed and one deleted by hand. */
async function severalVersions(t: Test): Promise<{ folder: string; db: string; rows: RowRecord[] }> {
  const { folder, db } = freshPlace();
  writePictures(folder, 0, 6);
  await runOnce(t, db, folder);
  writePictures(folder, 6, 9);
  writeFileSync(join(folder, "notes.md"), "A short note.");
  await runOnce(t, db, folder);
  writeFileSync(join(folder, "00002.png"), "picture 2, now another");
  await runOnce(t, db, folder);
  return { folder, db, rows: await rowsOf(db) };
}

function filesBelow(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

const damages: { [what: string]: (path: string) => void } = {
  "cut to half": (path) => truncateSync(path, statSync(path).size >> 1),
  emptied: (path) => truncateSync(path, 0),
  zeroed: (path) => writeFileSync(path, Buffer.alloc(statSync(path).size)),
  removed: (path) => rmSync(path),
  "flipped in one bit": (path) => {
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] ^= 0x10;
    writeFileSync(path, bytes);
  },
  "flipped in its first bytes": (path) => flip(path, 2),
  "flipped near its end": (path) => flip(path, statSync(path).size - 12),
};

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[Math.max(0, at)] ^= 0xff;
  writeFileSync(path, bytes);
}

function isSound(found: object): boolean {
  return Object.entries(sound).every(([name, count]) => (found as Record<string, number>)[name] === count);
}

type Reading = { readonly error: GmeError } | { readonly rows: RowRecord[]; readonly check: object };

/** What a user sees of a damaged index: an error, or rows and a report. */
async function read(db: string): Promise<Reading> {
  try {
    const rows = await rowsOf(db);
    const index = await openIndex(db, { readOnly: true });
    try {
      const found = await index.search(undefined, { embedding: query, limit: 2_000 });
      if (found.length !== rows.length) throw new Error(`a search finds ${found.length} of ${rows.length} rows`);
      return { rows, check: await index.check() };
    } finally {
      await index.close();
    }
  } catch (error) {
    if (error instanceof GmeError) return { error };
    throw error;
  }
}

for (const [what, damage] of Object.entries(damages)) {
  t.test(
    `each file of the store ${what}: the same rows, or GME_STORE_CORRUPT naming a file; repair brings all back`,
    async (t) => {
      const { db, rows } = await severalVersions(t);
      const expected = JSON.stringify(rows);
      const table = join(db, "entries.lance");
      const problems: string[] = [];
      let refused = 0;
      for (const path of filesBelow(table)) {
        const copy = `${db}-copy`;
        rmSync(copy, { recursive: true, force: true });
        cpSync(db, copy, { recursive: true, preserveTimestamps: true });
        const name = relative(db, path);
        damage(join(copy, name));
        const found = await read(copy);
        if ("error" in found) {
          refused++;
          const { code, file, message } = found.error;
          if (code !== "GME_STORE_CORRUPT") problems.push(`${name}: ${code} ${message}`);
          if (file === undefined || !file.startsWith(join(copy, "entries.lance")))
            problems.push(`${name}: no file is named: ${message}`);
          if (/\.rs:|LanceError|\bat \//.test(message)) problems.push(`${name}: ${message}`);
        } else if (JSON.stringify(found.rows) !== expected) {
          problems.push(`${name}: ${found.rows.length} rows of ${rows.length}, and no word of it`);
        }
        await mend(t, copy).catch((error) => problems.push(`${name}: repair: ${error.message}`));
        const after = await read(copy);
        if ("error" in after) problems.push(`${name}: after repair: ${after.error.message}`);
        else if (JSON.stringify(after.rows) !== expected || !isSound(after.check))
          problems.push(`${name}: after repair ${after.rows.length} rows, ${JSON.stringify(after.check)}`);
      }
      t.strictSame(problems, [], `${filesBelow(table).length} files, ${refused} of them refused`);
    },
  );
}

async function mend(t: Test, db: string): Promise<void> {
  const index = await openWith(t, db);
  try {
    await index.repair();
  } finally {
    await index.close();
  }
}

t.test(
  "an empty folder is no index, somebody else's table is left alone, and a file in the table's place is told",
  async (t) => {
    const { db, folder } = freshPlace();
    writePictures(folder, 0, 3);
    mkdirSync(db);
    await rejectsWith(t, () => openIndex(db, { readOnly: true }), "GME_INDEX_NOT_FOUND");
    const lancedb = await import("@lancedb/lancedb");
    const connection = await lancedb.connect(db);
    await connection.createTable("entries", [{ a: 1 }]);
    const foreign = await rejectsWith(t, () => openIndex(db, { readOnly: true }), "GME_STORE_CORRUPT");
    t.match(foreign.message, /not made by gme-embed/);
    const index = await openWith(t, db);
    await rejectsWith(t, () => index.addFiles([folder]), "GME_STORE_CORRUPT");
    await rejectsWith(t, () => index.repair(), "GME_STORE_CORRUPT");
    await index.close();
    t.equal(await (await connection.openTable("entries")).countRows(), 1);
    connection.close();
    rmSync(join(db, "entries.lance"), { recursive: true });
    writeFileSync(join(db, "entries.lance"), "a file");
    const opened = await openWith(t, db);
    await rejectsWith(t, () => opened.addFiles([folder]), "GME_STORE_CORRUPT");
    await opened.close();
  },
);

t.test("an index whose table was removed is not taken for a new one; repair makes it anew", async (t) => {
  const { db, rows } = await severalVersions(t);
  rmSync(join(db, "entries.lance"), { recursive: true });
  await rejectsWith(t, () => openIndex(db, { readOnly: true }), "GME_STORE_CORRUPT");
  await mend(t, db);
  t.strictSame(await rowsOf(db), rows);
});

t.test("a table whose making was killed before its first version is made anew; one that has data is not", async (t) => {
  const { folder, db } = freshPlace();
  writePictures(folder, 0, 3);
  const versions = join(db, "entries.lance", "_versions");
  for (const part of [versions, join(db, "entries.lance", "_transactions")]) mkdirSync(part, { recursive: true });
  writeFileSync(join(db, "entries.lance", "_transactions", "0-unfinished.txn"), "");
  writeFileSync(join(versions, ".tmp_1.manifest_unfinished"), "LANC");
  await rejectsWith(t, () => openIndex(db, { readOnly: true }), "GME_INDEX_NOT_FOUND");
  t.match(await runOnce(t, db, folder), { failed: 0, rows: 3 });
  t.match(await checkOf(db), { ...sound, rows: 3 });

  const other = freshPlace().db;
  mkdirSync(join(other, "entries.lance", "data"), { recursive: true });
  writeFileSync(join(other, "entries.lance", "data", "rows.lance"), "LANC");
  await rejectsWith(t, () => openIndex(other, { readOnly: true }), "GME_STORE_CORRUPT");
});

t.test("an index of a newer layout is refused by name, for reading and for writing", async (t) => {
  const { db, folder } = freshPlace();
  writePictures(folder, 0, 3);
  await runOnce(t, db, folder);
  const manifests = filesBelow(join(db, "entries.lance", "_versions"));
  for (const path of manifests) {
    const bytes = readFileSync(path).toString("latin1");
    writeFileSync(path, Buffer.from(bytes.replaceAll('"version":1,', '"version":9,'), "latin1"));
  }
  for (const options of [{ readOnly: true }, {}]) {
    const error = await rejectsWith(t, () => openIndex(db, options), "GME_MODEL_MISMATCH");
    t.match(error.message, /newer gme-embed \(layout 9, this one knows 1\)/);
  }
});

t.test("a copy that is made while the index is written opens at a committed state, or is reported", async (t) => {
  const { db, folder } = freshPlace();
  writePictures(folder, 0, 100);
  await runOnce(t, db, folder);
  writePictures(folder, 100, 1_500);
  let done = false;
  const writing = runOnce(t, db, folder).finally(() => {
    done = true;
  });
  const outcomes: string[] = [];
  while (!done) {
    const copy = `${db}-copy`;
    rmSync(copy, { recursive: true, force: true });
    await run("cp", ["-r", db, copy]).catch(() => undefined); // a file may go while it is copied
    const found = await read(copy);
    if ("error" in found) outcomes.push(found.error.code);
    else outcomes.push(found.rows.length >= 100 && found.rows.length <= 1_500 ? "whole" : `${found.rows.length} rows`);
  }
  t.match(await writing, { rows: 1_500, failed: 0 });
  t.ok(outcomes.includes("whole"), outcomes.join());
  t.ok(
    outcomes.every((outcome) => outcome === "whole" || outcome === "GME_STORE_CORRUPT"),
    outcomes.join(),
  );
});
