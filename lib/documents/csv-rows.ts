import { GmeError, printable } from "../errors";
import { readCsvRecords } from "./csv-records";
import type { TableBytes } from "./table-bytes";
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

/** The rows of a CSV file with a header; throws when the header has no column to read. */
export async function* readCsvRows(table: TableBytes, file: string, columns: TableColumns): AsyncGenerator<TableRow> {
  const delimiter = await findDelimiter(table, file);
  let header: string[] | undefined;
  let row = 0;
  for await (const record of readCsvRecords(table, delimiter)) {
    if (header === undefined) {
      if ("problem" in record) throw headerError(file, record.problem);
      header = readHeader(record.cells, file);
      if (!hasColumns(columns, (name) => header?.includes(name) ?? false)) throw missingColumns(file, columns, header);
      continue;
    }
    row++;
    yield "problem" in record
      ? rowError(file, row, record.problem)
      : recordRow(file, row, record.cells, header, columns);
  }
}

function headerError(file: string, problem: string): GmeError {
  return new GmeError("GME_DOCUMENT_UNREADABLE", `${printable(file)}: its header cannot be read: ${problem}`, {
    file,
    field: "header",
    expected: "a line with the names of the columns",
  });
}

function readHeader(cells: readonly string[], file: string): string[] {
  return cells.map((cell) => {
    const name = decodeCell(Buffer.from(cell, "latin1"));
    if (name === undefined) throw headerError(file, "it is not text");
    return name.trim();
  });
}

function recordRow(
  file: string,
  row: number,
  cells: readonly string[],
  header: readonly string[],
  columns: TableColumns,
): TableRow {
  if (cells.length !== header.length) {
    const what = `it has ${cells.length} cells, the header has ${header.length}`;
    return rowError(file, row, what, { value: cells.length, expected: `${header.length} cells` });
  }
  const found: { text?: string; image?: string } = {};
  for (const what of ["text", "image"] as const) {
    const name = columnNames(columns, what).find((candidate) => header.includes(candidate));
    if (name === undefined) continue;
    const cell = decodeCell(Buffer.from(cells[header.indexOf(name)], "latin1"));
    if (cell === undefined)
      return rowError(file, row, `its ${printable(name)} is not text in UTF-8, UTF-16 or windows-1252`);
    found[what] = cell;
  }
  return tableRow(file, row, found, columns);
}

/** The one of , ; and tab that occurs most in the first line outside quotes. */
async function findDelimiter(table: TableBytes, file: string): Promise<string> {
  const counts = new Map([
    [",", 0],
    [";", 0],
    ["\t", 0],
  ]);
  let isQuoted = false;
  let isEmpty = true;
  search: for await (const chunk of table.chunks()) {
    for (const char of chunk.toString("latin1")) {
      if (char === '"') isQuoted = !isQuoted;
      else if ((char === "\n" || char === "\r") && !isQuoted && !isEmpty) break search;
      else if (!isQuoted && counts.has(char)) counts.set(char, (counts.get(char) ?? 0) + 1);
      if (char.trim() !== "") isEmpty = false;
    }
    if (!isEmpty) break;
  }
  const usual = /\.tsv$/i.test(file) ? "\t" : ",";
  const [most, count] = [...counts].reduce((best, next) => (next[1] > best[1] ? next : best));
  return count === counts.get(usual) ? usual : most;
}
