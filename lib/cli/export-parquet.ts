import type { SchemaElement } from "hyparquet-writer" with { "resolution-mode": "import" };
import { version } from "../index";
import type { IndexEntry } from "../index-store/index";
import type { EntrySink } from "./export-lines";
import { WholeFile } from "./whole-file";

const groupNumbers = 768 * 1024;

/** Rows of a row group, which is in memory at a time: 1,000, fewer of long vectors. */
export function parquetGroupRows(dimensions: number): number {
  return Math.max(1, Math.min(1_000, Math.floor(groupNumbers / dimensions)));
}

/** A Parquet file with a row group per batch, its columns as in the table of the index; paths are text without loss. */
export async function parquetSink(path: string): Promise<EntrySink> {
  const { ByteWriter, ParquetWriter } = await import("hyparquet-writer");
  const file = await WholeFile.open(path);
  const buffer = new ByteWriter();
  const flush = async () => {
    await file.write(buffer.getBytes());
    buffer.index = 0;
  };
  const writer = new ParquetWriter({ writer: buffer, schema, createdBy: `gme-embed ${version}` });
  return {
    async write(entries) {
      if (entries.length === 0) return;
      writer.write({ columnData: columnsOf(entries), rowGroupSize: entries.length });
      await flush();
    },
    async finish() {
      writer.finish();
      await flush();
      await file.commit();
    },
    discard: () => file.discard(),
  };
}

const text = { type: "BYTE_ARRAY", converted_type: "UTF8" } as const;
const time = { type: "INT64", converted_type: "TIMESTAMP_MILLIS" } as const;

function list(name: string, element: Omit<SchemaElement, "name">): SchemaElement[] {
  return [
    { name, repetition_type: "REQUIRED", num_children: 1, converted_type: "LIST" },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { ...element, name: "element", repetition_type: "REQUIRED" },
  ];
}

const fields: SchemaElement[][] = [
  [{ name: "key", ...text, repetition_type: "REQUIRED" }],
  [{ name: "kind", ...text, repetition_type: "REQUIRED" }],
  [{ name: "path", ...text, repetition_type: "REQUIRED" }],
  list("paths", text),
  ...["page", "passage", "row"].map((name): SchemaElement[] => [{ name, type: "INT32", repetition_type: "OPTIONAL" }]),
  ...["snippet", "caption"].map((name): SchemaElement[] => [{ name, ...text, repetition_type: "OPTIONAL" }]),
  ...["width", "height"].map((name): SchemaElement[] => [{ name, type: "INT32", repetition_type: "OPTIONAL" }]),
  [{ name: "size", type: "INT64", repetition_type: "OPTIONAL" }],
  [{ name: "mtime", ...time, repetition_type: "OPTIONAL" }],
  [{ name: "time", ...time, repetition_type: "REQUIRED" }],
  list("embedding", { type: "FLOAT" }),
];

const schema: SchemaElement[] = [{ name: "root", num_children: fields.length }, ...fields.flat()];

function columnsOf(entries: readonly IndexEntry[]) {
  const column = (name: string, value: (entry: IndexEntry) => unknown) => ({ name, data: entries.map(value) });
  const vectors = column("embedding", ({ embedding }) => Array.from(embedding ?? []));
  return [
    column("key", ({ key }) => key),
    column("kind", ({ kind }) => kind),
    column("path", ({ path }) => path),
    column("paths", ({ paths }) => [...paths]),
    column("page", ({ page }) => page),
    column("passage", ({ passage }) => passage),
    column("row", ({ row }) => row),
    column("snippet", ({ snippet }) => snippet),
    column("caption", ({ caption }) => caption),
    column("width", ({ width }) => width),
    column("height", ({ height }) => height),
    column("size", ({ size }) => (size === undefined ? undefined : BigInt(Math.trunc(size)))),
    column("mtime", ({ mtime }) => (mtime === undefined ? undefined : dateOf(mtime))),
    column("time", ({ time }) => dateOf(time)),
    // Vectors do not compress, and no two of their numbers are the same.
    { ...vectors, encoding: "PLAIN", codec: "UNCOMPRESSED", statistics: false, offsetIndex: false } as const,
  ];
}

/** Clocks and file systems give times that a Date cannot hold. */
function dateOf(milliseconds: number): Date {
  const limit = 8.64e15;
  return new Date(Math.trunc(Math.min(limit, Math.max(-limit, milliseconds))));
}
