import { readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { GmeError, ioError } from "../errors";
import { type EntryRow, isSameSource, type Source } from "./entry-row";
import { EntryTable } from "./entry-table";
import type { CheckFindings } from "./index-check";
import type { IndexPlace } from "./index-place";
import { damagedFiles, tableFolder } from "./store-errors";

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

/** Brings a damaged store back to its newest whole state; what came after it is embedded again from the files. */
export async function mendStore(place: IndexPlace): Promise<StoreRepair> {
  const notes: string[] = [];
  for (const file of await damagedFiles(place)) {
    if (!file.endsWith(".manifest")) continue;
    await setAside(file);
    notes.push(`${file} was damaged and is set aside`);
  }
  const table = await openOrSetAside(place, notes);
  if (table === undefined) return { table, notes };
  const versions = await table.versions();
  for (const version of versions) {
    if (!(await isWhole(table, version))) continue;
    if (version !== versions[0]) {
      await table.restore(version);
      notes.push(`went back from version ${versions[0]} to ${version}, the newest that is whole`);
    }
    await table.checkout(undefined);
    return { table, notes };
  }
  table.close();
  await setTableAside(place, notes);
  return { table: undefined, notes };
}

async function openOrSetAside(place: IndexPlace, notes: string[]): Promise<EntryTable | undefined> {
  try {
    return await EntryTable.open(place);
  } catch (error) {
    if (GmeError.from(error).code !== "GME_STORE_CORRUPT") throw error;
    await setTableAside(place, notes);
    return undefined;
  }
}

/** Every column of every row can be read. */
async function isWhole(table: EntryTable, version: number): Promise<boolean> {
  try {
    await table.checkout(version);
    const expected = await table.countRows();
    let rows = 0;
    for await (const batch of table.scan(allColumns)) rows += batch.length;
    return rows === expected;
  } catch (error) {
    if (GmeError.from(error).code === "GME_STORE_CORRUPT") return false;
    throw error;
  }
}

async function setTableAside({ folder, uri }: IndexPlace, notes: string[]): Promise<void> {
  if (folder === undefined)
    throw new GmeError("GME_STORE_CORRUPT", `${uri} has no state that is whole`, {
      file: uri,
      expected: "a whole version",
    });
  await setAside(join(folder, tableFolder));
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
