import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { GmeError, ioError, printable } from "../errors";
import { type EntryRow, isSameSource, type Source } from "./entry-row";
import { EntryTable, foreignField } from "./entry-table";
import type { CheckFindings } from "./index-check";
import type { IndexPlace } from "./index-place";
import { committedVersion, damagedFiles, forgetCommitted, manifestFiles, tableFolder } from "./store-files";

export interface StoreRepair {
  readonly table: EntryTable | undefined;
  /** What was done, in words; empty when the store was whole. */
  readonly notes: readonly string[];
}

const allColumns = [
  "key",
  "kind",
  "sources",
  "page",
  "passage",
  "snippet",
  "caption",
  "width",
  "height",
  "thumbnail",
  "time",
  "vector",
];

/**
 * Brings a damaged store back to its newest whole state; what came after it is embedded again from the files. Rejects with
 * GME_STORE_CORRUPT for a table that is not ours, and for object storage without a whole state.
 */
export async function mendStore(place: IndexPlace): Promise<StoreRepair> {
  const notes: string[] = [];
  for (const file of await damagedFiles(place)) if (file.endsWith(".manifest")) await setDamagedAside(file, notes);
  const table = await openNewest(place, notes);
  if (table === undefined) return { table, notes };
  await setUnreadableAside(table, place, notes);
  const [newest] = await table.versions();
  for (const version of await table.versions()) {
    if (!(await isWhole(table, version))) continue;
    if (version !== newest) {
      await table.restore(version);
      notes.push(`went back from version ${newest} to ${version}, the newest that is whole`);
    }
    await table.checkout(undefined);
    const committed = await committedVersion(place);
    if (committed > newest) notes.push(`version ${committed} is lost; version ${newest} is the newest that is left`);
    await table.settle();
    return { table, notes };
  }
  table.close();
  await setTableAside(place, notes);
  return { table: undefined, notes };
}

/** Manifests that keep the table from being opened are set aside, the newest first. */
async function openNewest(place: IndexPlace, notes: string[]): Promise<EntryTable | undefined> {
  for (;;) {
    try {
      const table = await EntryTable.open(place, { toMend: true });
      if (table === undefined) await forgetCommitted(place);
      return table;
    } catch (error) {
      const { code, field } = GmeError.from(error);
      if (code !== "GME_STORE_CORRUPT" || field === foreignField) throw error;
      const [newest] = await manifestFiles(place);
      if (newest === undefined) {
        await setTableAside(place, notes);
        return undefined;
      }
      await setDamagedAside(newest.path, notes);
    }
  }
}

/** Lance cannot even list its versions, nor remove old ones, while one of them cannot be read. */
async function setUnreadableAside(table: EntryTable, place: IndexPlace, notes: string[]): Promise<void> {
  for (const { version, path } of await manifestFiles(place))
    if (!(await succeeds(() => table.checkout(version)))) await setDamagedAside(path, notes);
  await table.checkout(undefined);
}

/** Every column of every row can be read. */
async function isWhole(table: EntryTable, version: number): Promise<boolean> {
  return succeeds(async () => {
    await table.checkout(version);
    const expected = await table.countRows();
    const rows = await table.readThrough();
    if (rows !== expected) throw new GmeError("GME_STORE_CORRUPT", `${rows} of ${expected} rows can be read`);
  });
}

/** False where the store is damaged. */
async function succeeds(run: () => Promise<void>): Promise<boolean> {
  try {
    await run();
    return true;
  } catch (error) {
    if (GmeError.from(error).code === "GME_STORE_CORRUPT") return false;
    throw error;
  }
}

async function setDamagedAside(file: string, notes: string[]): Promise<void> {
  await setAside(file);
  notes.push(`${printable(file)} was damaged and is set aside`);
}

async function setTableAside(place: IndexPlace, notes: string[]): Promise<void> {
  const { folder, uri } = place;
  if (folder === undefined)
    throw new GmeError("GME_STORE_CORRUPT", `${uri} has no state that is whole`, {
      file: uri,
      expected: "a whole version",
    });
  await setAside(join(folder, tableFolder));
  await forgetCommitted(place);
  notes.push("no state of the index was whole: it is set aside and made anew");
}

async function setAside(path: string): Promise<void> {
  const names = await readdir(join(path, "..")).catch(() => [] as string[]);
  let number = 1;
  while (names.includes(`${path.slice(path.lastIndexOf("/") + 1)}.damaged-${number}`)) number++;
  await rename(path, `${path}.damaged-${number}`).catch((error) => {
    throw ioError(error, path);
  });
}

/** Leaves one row per key, with the sources of all, and removes rows with bad vectors, so that they are embedded again. */
export async function mendRows(table: EntryTable, { duplicateKeys, badKeys }: CheckFindings): Promise<void> {
  const keysAtOnce = 256;
  for (let at = 0; at < duplicateKeys.length; at += keysAtOnce) {
    const keys = duplicateKeys.slice(at, at + keysAtOnce);
    const rows = await uniteRows(table, keys);
    await table.deleteKeys(keys);
    await table.merge(rows);
  }
  for (let at = 0; at < badKeys.length; at += keysAtOnce) await table.deleteKeys(badKeys.slice(at, at + keysAtOnce));
}

async function uniteRows(table: EntryTable, keys: readonly string[]): Promise<EntryRow[]> {
  const rows = new Map<string, EntryRow>();
  const where = `key IN (${keys.map((key) => `'${key}'`).join(", ")})`;
  for await (const batch of table.scan(allColumns, { where })) {
    for (const row of batch as unknown as EntryRow[]) {
      const present = rows.get(row.key);
      rows.set(row.key, present === undefined ? row : { ...present, sources: unite(present.sources, row.sources) });
    }
  }
  return [...rows.values()];
}

function unite(a: readonly Source[], b: readonly Source[]): Source[] {
  return [...a, ...b.filter((source) => !a.some((other) => isSameSource(other, source)))];
}
