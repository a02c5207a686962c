import { describe, GmeError, printable } from "../errors";
import { maxRecordBytes, readLines, type TableBytes } from "./table-bytes";
import {
  columnNames,
  hasColumns,
  missingColumns,
  rowError,
  type TableColumns,
  type TableRow,
  tableRow,
} from "./table-columns";
import { decodeCell } from "./text-decoding";

type JsonObject = Readonly<Record<string, unknown>>;

/** The rows of a JSONL file; throws when no line has a column to read. */
export async function* readJsonlRows(table: TableBytes, file: string, columns: TableColumns): AsyncGenerator<TableRow> {
  await checkColumns(table, file, columns);
  let row = 0;
  for await (const parsed of readObjects(table)) {
    row++;
    yield "problem" in parsed ? rowError(file, row, parsed.problem) : objectRow(file, row, parsed.object, columns);
  }
}

/** Reads as far as the first row that has the columns, mostly one. */
async function checkColumns(table: TableBytes, file: string, columns: TableColumns): Promise<void> {
  const names = new Set<string>();
  const seen = new Set<string>();
  const wanted = new Set([...columnNames(columns, "text"), ...columnNames(columns, "image")]);
  let rows = 0;
  let objects = 0;
  let problem: string | undefined;
  for await (const parsed of readObjects(table)) {
    rows++;
    if ("problem" in parsed) {
      problem ??= parsed.problem;
      continue;
    }
    objects++;
    for (const name of Object.keys(parsed.object)) {
      if (names.size <= 32) names.add(name);
      if (wanted.has(name)) seen.add(name);
    }
    if (hasColumns(columns, (name) => seen.has(name))) return;
  }
  if (rows === 0) return;
  if (objects > 0) throw missingColumns(file, columns, names);
  throw new GmeError("GME_DOCUMENT_UNREADABLE", `${printable(file)}: no line is a JSON object; row 1: ${problem}`, {
    file,
    expected: "a JSON object on each line",
  });
}

async function* readObjects(table: TableBytes): AsyncGenerator<{ object: JsonObject } | { problem: string }> {
  for await (const line of readLines(table)) {
    if (!Buffer.isBuffer(line)) {
      yield { problem: `the line has ${line.tooLong} bytes, allowed are ${maxRecordBytes}` };
      continue;
    }
    const text = decodeCell(line);
    if (text === undefined) yield { problem: "the line is not text" };
    else if (text.trim() !== "") yield parseObject(text);
  }
}

function parseObject(text: string): { object: JsonObject } | { problem: string } {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { object: value as JsonObject };
    return { problem: `expected a JSON object, got ${describe(value)}` };
  } catch (error) {
    return { problem: `not JSON: ${printable((error as Error).message)}` };
  }
}

function objectRow(file: string, row: number, object: JsonObject, columns: TableColumns): TableRow {
  const found: { text?: string; image?: string } = {};
  for (const what of ["text", "image"] as const) {
    const name = columnNames(columns, what).find((key) => Object.hasOwn(object, key) && !isAbsent(object[key]));
    if (name === undefined) continue;
    const value = object[name];
    if (typeof value === "string") found[what] = value;
    else if (typeof value === "number" && what === "text") found[what] = String(value);
    else {
      const expected = what === "text" ? "a string or a number" : "a string";
      return rowError(file, row, `expected ${expected} in ${printable(name)}, got ${describe(value)}`, { expected });
    }
  }
  return tableRow(file, row, found, columns);
}

function isAbsent(value: unknown): boolean {
  return value === null || (typeof value === "string" && value.trim() === "");
}
