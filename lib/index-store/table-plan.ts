import { stat } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CrawledFile } from "../crawl/crawl";
import { fsPath } from "../crawl/path-bytes";
import { readTableRows, type TableRow } from "../documents/table-rows";
import { digestFile } from "../embed-tasks/file-digest";
import { abortError, GmeError, ioError, printable } from "../errors";
import { maxImageBytes, tooLarge } from "../input";
import type { Source } from "./entry-row";
import type { PlanContext } from "./file-plan";
import type { FileRun } from "./file-run";
import { snippetOf, type WorkItem } from "./work-item";

export interface TablePlan {
  /** A row is settled without work: it failed before or cannot be read. */
  readonly onRowFailed: (row: number, error: GmeError | undefined) => Promise<void>;
  readonly onRow: () => void;
}

/**
 * The rows of a JSONL or CSV file: a text, a picture, or a picture with its caption each. Such a file is read on every run; pictures
 * that did not change are not.
 */
export async function* planTable(
  file: CrawledFile,
  run: FileRun,
  context: PlanContext,
  { onRow, onRowFailed }: TablePlan,
): AsyncGenerator<WorkItem> {
  const { textColumn, imageColumn, retryFailed, signal } = context.options;
  const columns = { text: textColumn, image: imageColumn };
  const seen = new Set<string>();
  const hadRows = context.known.hasPath(file.path);
  const kind = file.kind === "csv" ? "csv" : "jsonl";
  for await (const row of readTableRows(file.path, fsPath(file.path), kind, columns)) {
    if (signal?.aborted) throw abortError(signal);
    onRow();
    if (!retryFailed && context.failures.hasFailed(run, row.row)) {
      await onRowFailed(row.row, undefined);
      continue;
    }
    const item = await planRow(file, row, run, context).catch((error) =>
      GmeError.from(error, "GME_DOCUMENT_UNREADABLE"),
    );
    if (item instanceof GmeError) {
      await onRowFailed(row.row, item);
      continue;
    }
    if (hadRows) seen.add(mark(row.row, item.key));
    yield item;
  }
  if (hadRows) run.isOutdated = ({ path, row }, key) => path === file.path && row !== null && !seen.has(mark(row, key));
}

/** Half of the key's hash is enough to tell two rows apart. */
function mark(row: number, key: string): string {
  return `${row}:${key.slice(0, 32)}`;
}

async function planRow(file: CrawledFile, row: TableRow, run: FileRun, context: PlanContext): Promise<WorkItem> {
  if (row.error !== undefined) throw row.error;
  const { text } = row;
  const picture = row.image === undefined ? undefined : await readPicture(file, row.image, context);
  const source: Source = {
    path: file.path,
    row: row.row,
    image: picture?.path ?? null,
    size: picture?.size ?? null,
    mtime: picture?.mtime ?? null,
    file: picture?.sha256 ?? null,
    parts: 1,
    captionSize: null,
    captionMtime: null,
  };
  const kind = picture === undefined ? "text" : "image";
  return {
    key: context.keys.of({ kind, file: picture?.sha256, text }),
    kind,
    source,
    task: {
      ...(text !== undefined && { text }),
      ...(picture && { image: { path: picture.path, sha256: picture.sha256 } }),
    },
    ...(text !== undefined && { snippet: snippetOf(text), ...(picture && { caption: text }) }),
    part: row.row,
    run,
  };
}

/** Of a picture whose size and time are known its hash is known too. */
async function readPicture(file: CrawledFile, named: string, { known, options }: PlanContext) {
  const path = picturePath(file.path, named);
  const found = await stat(fsPath(path)).catch((error) => {
    throw ioError(error, path);
  });
  const before = known
    .versions(file.path, path)
    .find(({ size, mtime }) => size === found.size && mtime === found.mtimeMs);
  if (before !== undefined) return { path, size: found.size, mtime: found.mtimeMs, sha256: before.file };
  const digest = await digestFile(path, {
    maxBytes: maxImageBytes,
    tooLarge: (bytes) => tooLarge(printable(path), `${bytes} bytes`, bytes, `${maxImageBytes} bytes`),
    signal: options.signal,
  });
  return { path, ...digest };
}

/** Relative to the table's folder, or a file: URL; addresses are not fetched. */
function picturePath(table: string, named: string): string {
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(named)) {
    if (named.startsWith("file:")) return fileURLToPath(named);
    throw new GmeError(
      "GME_URL_FETCH_DISABLED",
      `${printable(named)} is an address; the index takes pictures from files`,
      {
        file: table,
        value: named.slice(0, 120),
        expected: "a path",
      },
    );
  }
  return isAbsolute(named) ? named : join(dirname(table), named);
}
