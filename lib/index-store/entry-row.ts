import type { EntryKind } from "./index-types";

/** Where a row's content was seen: a file, a row of a JSONL or CSV file, or the id of an item that is no file. */
export interface Source {
  /** Lossless form of path-bytes.ts; of an item its id. */
  readonly path: string;
  /** From 1, of a JSONL or CSV file; else null. */
  readonly row: number | null;
  /** The picture that a table's row names, lossless form; else null. */
  readonly image: string | null;
  /** Of the file, of a table row's picture; null for what is no file. Milliseconds since 1970. */
  readonly size: number | null;
  readonly mtime: number | null;
  /** sha256 of that file's bytes, hex; null for what is no file. */
  readonly file: string | null;
  /** Rows that the file has when it is whole: its pages or passages. */
  readonly parts: number;
  /** Of the caption's file beside a picture. */
  readonly captionSize: number | null;
  readonly captionMtime: number | null;
}

/** One row of the table, as it is written. */
export interface EntryRow {
  readonly key: string;
  readonly vector: Float32Array;
  readonly kind: EntryKind;
  readonly sources: readonly Source[];
  readonly page: number | null;
  readonly passage: number | null;
  readonly snippet: string | null;
  readonly caption: string | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly thumbnail: Uint8Array | null;
  /** When it was embedded: milliseconds since 1970. */
  readonly time: number;
}

/** A row as it is read: the columns that were asked for. */
export type ReadRow = Partial<Omit<EntryRow, "sources">> & {
  key: string;
  sources?: Source[];
  path?: string;
  paths?: string[];
  row?: number | null;
  size?: number | null;
  mtime?: number | null;
  _distance?: number;
};

/** Columns that follow from the sources, for SQL filters and results: the newest source comes first. */
export function sourceColumns(sources: readonly Source[]) {
  const [newest] = sources;
  return {
    sources,
    path: newest.image ?? newest.path,
    paths: [...new Set(sources.flatMap(({ path, image }) => (image === null ? [path] : [image, path])))],
    row: newest.row,
    size: newest.size,
    mtime: newest.mtime,
  };
}

/** Sources with the same identity replace each other. */
export function isSameSource(a: Pick<Source, "path" | "row">, b: Pick<Source, "path" | "row">): boolean {
  return a.path === b.path && a.row === b.row;
}

export function isEqualSource(a: Source, b: Source): boolean {
  return sourceFields.every((field) => a[field] === b[field]);
}

export const sourceFields = [
  "path",
  "row",
  "image",
  "size",
  "mtime",
  "file",
  "parts",
  "captionSize",
  "captionMtime",
] as const satisfies readonly (keyof Source)[];
