import type * as Arrow from "apache-arrow";
import type { ReadRow } from "./entry-row";

/** The rows of a batch as plain objects with these columns. */
export function readBatch(batch: Arrow.RecordBatch, columns: readonly string[]): ReadRow[] {
  const vectors = columns.map((name) => batch.getChild(name));
  return Array.from({ length: batch.numRows }, (_, i) =>
    Object.fromEntries(columns.map((name, c) => [name, plainValue(vectors[c]?.get(i))])),
  ) as unknown as ReadRow[];
}

/** Arrow's views as values of our own: lists as arrays, lists of numbers as typed arrays, structs as objects, bytes copied. */
function plainValue(value: unknown): unknown {
  if (value === null || typeof value !== "object") return typeof value === "bigint" ? Number(value) : (value ?? null);
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  if (isVector(value)) {
    const items = value.toArray();
    return ArrayBuffer.isView(items) ? (items as Float32Array).slice() : Array.from(items, plainValue);
  }
  return (value as { toJSON(): unknown }).toJSON();
}

/** A struct's row has toArray and toJSON as well, but no count of nulls. */
function isVector(value: object): value is Arrow.Vector {
  return "nullCount" in value;
}
