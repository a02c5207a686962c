import { readCsvRows } from "./csv-rows";
import { readJsonlRows } from "./jsonl-rows";
import { TableBytes } from "./table-bytes";
import type { TableColumns, TableRow } from "./table-columns";

export type { TableRow } from "./table-columns";

/**
 * The rows of a JSONL or CSV file, read as it streams. A row that cannot be read carries its error and the rows after it
 * are read. `path` names the file in errors, `fsPath` opens it. Columns that are not named are text, else caption, else
 * content; image, else file_name. Rejects with GME_IO_ERROR, or with GME_DOCUMENT_UNREADABLE where there are no such
 * columns at all.
 */
export async function* readTableRows(
  path: string,
  fsPath: string | Buffer,
  kind: "jsonl" | "csv",
  columns: TableColumns,
): AsyncGenerator<TableRow> {
  const table = await TableBytes.open(path, fsPath);
  try {
    yield* kind === "csv" ? readCsvRows(table, path, columns) : readJsonlRows(table, path, columns);
  } finally {
    await table.close();
  }
}
