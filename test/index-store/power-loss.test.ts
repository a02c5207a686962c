// X05 and X08: what a power cut leaves of writes that were not synced, and a sync that fails.
//
// Every commit is synced before it counts, so a power cut can take back only what was written after the last sync. The test keeps a copy
// of the index as it was at that sync, and makes of the files of the next commit what a disk may have kept of them.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join, relative } from "node:path";
import t, { type Test } from "tap";
import { GmeError } from "../../lib/errors";
import { checkOf, freshPlace, openWith, rowsOf, runOnce } from "./fault-setup";

function write(folder: string, from: number, to: number): void {
  for (let i = from; i < to; i++) writeFileSync(join(folder, `${i}.txt`), `Text number ${i}.`);
}

function filesBelow(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** The last block that was begun is torn: zeros from its start on. */
function tear(path: string): void {
  const bytes = readFileSync(path);
  bytes.fill(0, Math.max(0, bytes.length - 512));
  writeFileSync(path, bytes);
}

const isManifest = (path: string) => path.includes("_versions") && path.endsWith(".manifest");

/** What became of each file that was not synced. */
const losses: { [what: string]: (path: string) => void } = {
  "all files are empty": (path) => truncateSync(path, 0),
  "all files are torn in their last block": tear,
  "no file is there": (path) => rmSync(path),
  "the manifest is whole and the data empty": (path) => !isManifest(path) && truncateSync(path, 0),
  "the manifest is whole and the data missing": (path) => !isManifest(path) && rmSync(path),
  "the data is whole and the manifest missing": (path) => isManifest(path) && rmSync(path),
  "the data is whole and the manifest torn": (path) => isManifest(path) && tear(path),
};

async function mend(t: Test, db: string): Promise<void> {
  const index = await openWith(t, db);
  try {
    await index.repair();
  } finally {
    await index.close();
  }
}

for (const [what, lose] of Object.entries(losses)) {
  t.test(`after a power cut ${what}: the synced rows or GME_STORE_CORRUPT, and repair completes`, async (t) => {
    const { folder, db } = freshPlace();
    write(folder, 0, 5);
    await runOnce(t, db, folder);
    const synced = `${db}-synced`;
    cpSync(db, synced, { recursive: true, preserveTimestamps: true });
    const before = await rowsOf(db);
    write(folder, 5, 12);
    await runOnce(t, db, folder);
    const after = await rowsOf(db);
    t.equal(after.length, 12);
    let lost = 0;
    for (const path of filesBelow(db)) {
      const old = join(synced, relative(db, path));
      if (!existsSync(old)) {
        lost++;
        lose(path);
      } else if (!readFileSync(old).equals(readFileSync(path))) cpSync(old, path); // a rename that did not come through
    }
    t.ok(lost > 1, `${lost} files were not synced`);
    const found = await rowsOf(db).catch((error) => GmeError.from(error));
    if (found instanceof GmeError) t.equal(found.code, "GME_STORE_CORRUPT", found.message);
    else t.strictSame(found, before, "the rows of the last synced commit");
    await mend(t, db);
    t.strictSame(await rowsOf(db), after, "all rows");
    t.match(await checkOf(db), { missing: 0, duplicates: 0, bad: 0 });
  });
}

t.test("a sync that fails at any of its calls is GME_IO_ERROR, and the next run completes", async (t) => {
  const { folder, db } = freshPlace();
  write(folder, 0, 3);
  await runOnce(t, db, folder);
  const handle = await open(join(folder, "0.txt"));
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = prototype;
  let reached = 0;
  for (let nth = 1; nth <= 8; nth++) {
    write(folder, 3 * nth, 3 * nth + 3);
    let calls = 0;
    prototype.sync = function (this: FileHandle) {
      if (++calls !== nth) return sync.call(this);
      return Promise.reject(Object.assign(new Error("EIO: i/o error, fsync"), { code: "EIO", errno: -5 }));
    };
    try {
      await runOnce(t, db, folder);
      t.ok(calls < nth, `the run syncs ${calls} times`);
    } catch (error) {
      reached++;
      t.equal(GmeError.from(error).code, "GME_IO_ERROR", `call ${nth}`);
      t.equal(GmeError.from(error).errno, "EIO");
    } finally {
      prototype.sync = sync;
    }
    await runOnce(t, db, folder);
    t.equal((await rowsOf(db)).length, 3 * nth + 3);
    t.match(await checkOf(db), { missing: 0, duplicates: 0, bad: 0 });
  }
  t.ok(reached >= 4, `${reached} of the calls failed a run`);
});
