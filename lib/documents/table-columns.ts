import { GmeError, type GmeErrorDetails, printable } from "../errors";

/** Which columns to read; those that are not named are looked for. */
export interface TableColumns {
  readonly text?: string;
  readonly image?: string;
}

/** A row of a table; `text` and `image` as far as it has them, or the error that is its own. */
export interface TableRow {
  /** From 1; a header and empty lines do not count. */
  readonly row: number;
  readonly text?: string;
  /** As written in the file. */
  readonly image?: string;
  readonly error?: GmeError;
}

const defaults = { text: ["text", "caption", "content"], image: ["image", "file_name"] } as const;
const shownNames = 20;

/** The names under which a text or a picture may stand, the first that occurs counts. */
export function columnNames(columns: TableColumns, what: "text" | "image"): readonly string[] {
  const named = columns[what];
  return named === undefined ? defaults[what] : [named];
}

/** Whether a table with these columns can be read: every named column is there, and at least one of all. */
export function hasColumns(columns: TableColumns, has: (name: string) => boolean): boolean {
  if (columns.text !== undefined || columns.image !== undefined) {
    return [columns.text, columns.image].every((name) => name === undefined || has(name));
  }
  return [...defaults.text, ...defaults.image].some(has);
}

/** The one error of a table that has none of the columns. */
export function missingColumns(file: string, columns: TableColumns, found: Iterable<string>): GmeError {
  const names = [...found].map((name) => `"${printable(name)}"`);
  const shown = names.length === 0 ? "none" : names.slice(0, shownNames).join(", ");
  const more = names.length > shownNames ? ", …" : "";
  const wanted = [...columnNames(columns, "text"), ...columnNames(columns, "image")];
  const isNamed = columns.text !== undefined || columns.image !== undefined;
  const expected = isNamed
    ? [columns.text, columns.image]
        .filter((name) => name !== undefined)
        .map(printable)
        .join(" and ")
    : `one of ${wanted.join(", ")}`;
  return new GmeError(
    "GME_DOCUMENT_UNREADABLE",
    `${printable(file)}: it has the columns ${shown}${more}, and not ${expected}; name them with --text-column and --image-column`,
    { file, field: "columns", value: names.slice(0, shownNames).join(", "), expected },
  );
}

export function rowError(file: string, row: number, what: string, details: GmeErrorDetails = {}): TableRow {
  const error = new GmeError("GME_DOCUMENT_UNREADABLE", `${printable(file)}: row ${row}: ${what}`, {
    file,
    field: `row ${row}`,
    ...details,
  });
  return { row, error };
}

/** A row of what was found in it; it must have one of both. Blank cells count as absent. */
export function tableRow(
  file: string,
  row: number,
  found: { text?: string; image?: string },
  columns: TableColumns,
): TableRow {
  const text = isBlank(found.text) ? undefined : found.text;
  const image = isBlank(found.image) ? undefined : found.image;
  if (text === undefined && image === undefined) {
    const names = [...columnNames(columns, "text"), ...columnNames(columns, "image")].map(printable).join(", ");
    return rowError(file, row, `it has neither a text nor a picture in ${names}`, {
      expected: "a text, a picture or both",
    });
  }
  return { row, ...(text !== undefined && { text }), ...(image !== undefined && { image }) };
}

function isBlank(value: string | undefined): boolean {
  return value === undefined || value.trim() === "";
}
