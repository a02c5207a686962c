import { sqlText } from "../crawl/path-glob";
import type { ViewFile } from "../views/view-messages";
import type { ReadRow, Source } from "./entry-row";
import type { EntryTable } from "./entry-table";
import { plainResult } from "./index-search";
import type { SearchResult } from "./index-types";

/** A row as `entries` gives it. */
export interface IndexEntry extends Omit<SearchResult, "score"> {
  readonly embedding?: Float32Array;
  readonly caption?: string;
  /** Of the newest file. */
  readonly size?: number;
  readonly mtime?: number;
  /** When it was embedded: milliseconds since 1970. */
  readonly time: number;
}

/** A row as `entry` gives it. */
export interface EntryDetails extends IndexEntry {
  /** Pages or passages that its file has, and the keys of those before and after it. */
  readonly parts?: number;
  readonly previous?: string;
  readonly next?: string;
}

export const entryColumns: readonly string[] = [
  ...["key", "kind", "path", "paths", "page", "passage", "row", "snippet", "width", "height"],
  ...["caption", "size", "mtime", "time"],
];

export function plainEntry(row: ReadRow): IndexEntry {
  return {
    ...plainResult(row),
    ...(row.caption != null && { caption: row.caption }),
    ...(row.size != null && { size: row.size }),
    ...(row.mtime != null && { mtime: row.mtime }),
    ...(row.vector !== undefined && { embedding: row.vector }),
    time: Number(row.time),
  };
}

export async function entryDetails(table: EntryTable, key: string): Promise<EntryDetails | undefined> {
  const row = await rowOf(table, key, [...entryColumns, "sources", "thumbnail"]);
  return row && { ...plainEntry(row), ...(await neighbours(table, row)) };
}

/** The files that show the row's picture or page, the newest first; none for what is no picture of a file. */
export async function viewFiles(table: EntryTable, key: string): Promise<ViewFile[]> {
  const row = await rowOf(table, key, ["key", "kind", "page", "sources"]);
  if (row === undefined || row.kind === "text") return [];
  const page = row.page ?? undefined;
  return (row.sources ?? []).flatMap(({ path, image, file }) =>
    file === null ? [] : [{ path: image ?? path, sha256: file, ...(page !== undefined && { page }) }],
  );
}

async function rowOf(table: EntryTable, key: string, columns: readonly string[]): Promise<ReadRow | undefined> {
  for await (const rows of table.scan(columns, { where: `key = ${sqlText(key)}`, limit: 1 }))
    if (rows.length > 0) return rows[0];
  return undefined;
}

/** By place in the same state of the same file. */
async function neighbours(table: EntryTable, { page, passage, sources }: ReadRow) {
  const [column, number] = page != null ? (["page", page] as const) : (["passage", passage] as const);
  const [source] = sources ?? [];
  if (number == null || source?.file == null) return {};
  const found = new Map<number, string>();
  const where = `${column} IN (${number - 1}, ${number + 1}) AND array_has(paths, ${sqlText(source.path)})`;
  for await (const rows of table.scan(["key", column, "sources"], { where }))
    for (const row of rows) if (row.sources?.some((other) => isSameFile(other, source))) found.set(row[column] as number, row.key); // biome-ignore format: one line says it
  const [previous, next] = [found.get(number - 1), found.get(number + 1)];
  return {
    parts: source.parts,
    ...(previous !== undefined && { previous }),
    ...(next !== undefined && { next }),
  };
}

function isSameFile(a: Source, b: Source): boolean {
  return a.path === b.path && a.file === b.file;
}
