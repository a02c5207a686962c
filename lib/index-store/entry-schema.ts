import type * as Arrow from "apache-arrow";
import type { IndexPin } from "./index-types";

/** Raised when the columns change their meaning: an index with a higher number is refused, one with a lower number migrated. */
export const schemaVersion = 1;

export const pinKey = "gme-embed";

/** The table's columns; what all rows have in common stands in the schema's metadata, so that it appears with the table. */
export function entrySchema(arrow: typeof Arrow, pin: IndexPin): Arrow.Schema {
  const { Field, Utf8, Float32, Float64, Int32, Binary, List, Struct, FixedSizeList, TimestampMillisecond } = arrow;
  const source = new Struct([
    new Field("path", new Utf8(), false),
    new Field("row", new Int32(), true),
    new Field("image", new Utf8(), true),
    new Field("size", new Float64(), true),
    new Field("mtime", new Float64(), true),
    new Field("file", new Utf8(), true),
    new Field("parts", new Int32(), false),
    new Field("captionSize", new Float64(), true),
    new Field("captionMtime", new Float64(), true),
  ]);
  const fields = [
    new Field("key", new Utf8(), false),
    new Field("vector", new FixedSizeList(pin.dimensions, new Field("item", new Float32(), true)), false),
    new Field("kind", new Utf8(), false),
    new Field("sources", new List(new Field("item", source, true)), false),
    new Field("path", new Utf8(), false),
    new Field("paths", new List(new Field("item", new Utf8(), true)), false),
    new Field("page", new Int32(), true),
    new Field("passage", new Int32(), true),
    new Field("row", new Int32(), true),
    new Field("snippet", new Utf8(), true),
    new Field("caption", new Utf8(), true),
    new Field("size", new Float64(), true),
    new Field("mtime", new Float64(), true),
    new Field("width", new Int32(), true),
    new Field("height", new Int32(), true),
    new Field("thumbnail", new Binary(), true),
    new Field("time", new TimestampMillisecond(), false),
  ] as Arrow.Field[];
  return new arrow.Schema(fields, new Map([[pinKey, JSON.stringify(pin)]]));
}

/** The columns that change when a row is seen at another place. */
export function sourceSchema(arrow: typeof Arrow, schema: Arrow.Schema): Arrow.Schema {
  const names = ["key", "sources", "path", "paths", "row", "size", "mtime"];
  return new arrow.Schema(names.map((name) => schema.fields.find((field) => field.name === name) as Arrow.Field));
}

/** Undefined when the table is not one of ours. */
export function pinOf(schema: { readonly metadata: Map<string, string> }): IndexPin | undefined {
  try {
    const pin = JSON.parse(schema.metadata.get(pinKey) ?? "") as IndexPin;
    return typeof pin.fingerprint === "string" && Number.isSafeInteger(pin.dimensions) ? pin : undefined;
  } catch {
    return undefined;
  }
}
