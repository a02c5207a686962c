import { stat } from "node:fs/promises";
import { type CrawledFile, crawl } from "../crawl/crawl";
import { fsPath } from "../crawl/path-bytes";
import { maxTextBytes } from "../documents/text-decoding";
import { readTextPassages } from "../documents/text-file";
import { digestFile } from "../embed-tasks/file-digest";
import { abortError, GmeError, printable } from "../errors";
import { ContentKeys } from "./content-key";
import type { Source } from "./entry-row";
import type { EntryTable } from "./entry-table";
import { FailureLog } from "./failure-log";
import { defaultPassageLength, defaultPassageOverlap, stateTime } from "./file-plan";
import { FileRun } from "./file-run";
import type { IndexPlace } from "./index-place";
import { readRoots } from "./index-roots";
import { vectorFault } from "./index-run";
import type { CheckReport } from "./index-types";
import { KnownSources } from "./known-sources";
import { planTable } from "./table-plan";

export interface CheckOptions {
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
  readonly signal?: AbortSignal;
}

/** What a check found, with the keys that a repair needs. */
export interface CheckFindings {
  readonly report: CheckReport;
  readonly duplicateKeys: readonly string[];
  readonly badKeys: readonly string[];
}

/** Compares every row with its key, its vector and its files, and the indexed folders with the rows. */
export async function checkTable(table: EntryTable, place: IndexPlace, options: CheckOptions): Promise<CheckFindings> {
  const version = await table.version();
  const total = await table.countRows();
  const states = new FileStates();
  const seen = new Set<string>();
  const known = new KnownSources();
  const duplicateKeys = new Set<string>();
  const badKeys: string[] = [];
  let [rows, duplicates, stale, sourceCount] = [0, 0, 0, 0];
  for await (const batch of table.scan(["key", "sources", "vector"])) {
    for (const { key, sources = [], vector } of batch) {
      if (options.signal?.aborted) throw abortError(options.signal);
      rows++;
      if (seen.has(packed(key))) {
        duplicates++;
        duplicateKeys.add(key);
      } else {
        seen.add(packed(key));
        for (const source of sources) known.add(source);
        sourceCount += sources.length;
      }
      if (vector === undefined || vectorFault(vector) !== undefined) badKeys.push(key);
      if (!(await states.isAnyCurrent(sources))) stale++;
    }
    options.onProgress?.({ done: rows, total });
  }
  const others = await table.readThrough(["key", "sources", "vector"]);
  if ((rows !== total || others !== total) && (await table.version()) === version)
    throw fewerRows(place, Math.min(rows, others), total);
  const missing = await countMissing(table, place, known, options.signal);
  const report = { rows, sources: sourceCount, missing, duplicates, bad: badKeys.length, stale };
  return { report, duplicateKeys: [...duplicateKeys], badKeys };
}

function fewerRows({ uri }: IndexPlace, rows: number, total: number): GmeError {
  const message = `${printable(uri)}: ${rows} rows can be read of ${total}`;
  return new GmeError("GME_STORE_CORRUPT", message, { file: uri, value: rows, expected: `${total} rows` });
}

/** Half of a key's hash in one byte per character. */
function packed(key: string): string {
  return Buffer.from(key, "hex").toString("latin1", 0, 16);
}

/** Whether files are still as their rows say; the last ones are remembered, since a document's rows lie together. */
class FileStates {
  private readonly recent = new Map<string, { size: number; mtime: number } | undefined>();

  /** True when one of the sources is as it was, or is no file. A file with a new time is hashed: touched is not changed. */
  async isAnyCurrent(sources: readonly Source[]): Promise<boolean> {
    for (const source of sources) if (await this.isCurrent(source)) return true;
    return false;
  }

  private async isCurrent({ path, image, size, mtime, file, row }: Source): Promise<boolean> {
    if (size === null || mtime === null || file === null) return row === null || (await this.look(path)) !== undefined;
    const at = image ?? path;
    const found = await this.look(at);
    if (found === undefined) return false;
    if (found.size === size && found.mtime === mtime) return true;
    if (found.size !== size) return false;
    const unlimited = { maxBytes: Number.POSITIVE_INFINITY, tooLarge: () => new GmeError("GME_INTERNAL", "no limit") };
    const digest = await digestFile(at, unlimited).catch(() => undefined);
    if (digest?.sha256 === file) this.remember(at, { size, mtime });
    return digest?.sha256 === file;
  }

  private async look(path: string): Promise<{ size: number; mtime: number } | undefined> {
    if (this.recent.has(path)) return this.recent.get(path);
    const found = await stat(fsPath(path)).catch(() => undefined);
    const state = found?.isFile() ? { size: found.size, mtime: found.mtimeMs } : undefined;
    this.remember(path, state);
    return state;
  }

  private remember(path: string, state: { size: number; mtime: number } | undefined): void {
    if (this.recent.size > 1_000) this.recent.clear();
    this.recent.set(path, state);
  }
}

/** Parts of files that were there when they were indexed, have not changed since and did not fail, but have no row. */
async function countMissing(
  table: EntryTable,
  place: IndexPlace,
  known: KnownSources,
  signal: AbortSignal | undefined,
): Promise<number> {
  const failures = await FailureLog.open(place);
  let missing = 0;
  for (const root of await readRoots(place)) {
    for await (const event of crawl([root.path], { ...root.options, signal })) {
      if (event.type !== "file") continue;
      // What came or changed after the last whole run is new, not missing.
      if (root.finished > 0 && Math.max(event.ctimeMs, event.caption?.mtimeMs ?? 0) > root.finished) continue;
      const isTable = event.kind === "jsonl" || event.kind === "csv";
      if (isTable) missing += await missingTableRows(event, table, known, failures, root.options);
      else missing += await missingParts(event, known, failures, root.options);
    }
  }
  return missing;
}

async function missingParts(
  file: CrawledFile,
  known: KnownSources,
  failures: FailureLog,
  {
    passageLength = defaultPassageLength,
    passageOverlap = defaultPassageOverlap,
  }: { passageLength?: number; passageOverlap?: number },
): Promise<number> {
  const failed = failures.failedParts({ path: file.path, size: file.size, mtime: stateTime(file) });
  if (failed === Number.POSITIVE_INFINITY) return 0;
  const versions = known.versions(file.path);
  const current = versions.find(({ size, mtime }) => size === file.size && mtime === file.mtimeMs);
  if (current !== undefined) return Math.max(0, current.parts - failed - current.have);
  if (versions.length > 0) return 0; // changed: stale
  if (file.kind !== "text" && file.kind !== "html") return 1;
  const limit = { maxBytes: maxTextBytes, tooLarge: () => new GmeError("GME_TEXT_TOO_LONG", file.path), keep: true };
  const digest = await digestFile(file.path, limit).catch(() => undefined);
  if (digest?.bytes === undefined) return 1;
  const cut = { length: passageLength, overlap: passageOverlap };
  return (await readTextPassages(digest.bytes, file.kind, file.path, cut).catch(() => [])).length;
}

async function missingTableRows(
  file: CrawledFile,
  table: EntryTable,
  known: KnownSources,
  failures: FailureLog,
  options: object,
): Promise<number> {
  const run = new FileRun(file.path, file.size, file.mtimeMs, () => undefined);
  const embedder = () => Promise.reject(new GmeError("GME_INTERNAL", "a table needs no model"));
  const context = { keys: new ContentKeys(table.pin), known, failures, options, embedder, skip: () => undefined };
  let missing = 0;
  let keys: string[] = [];
  const flush = async () => {
    const found = await table.findKeys(keys);
    missing += keys.filter((key) => !found.has(key)).length;
    keys = [];
  };
  const plan = { onRow: () => undefined, onRowFailed: async () => undefined };
  for await (const { key } of planTable(file, run, context, plan)) {
    keys.push(key);
    if (keys.length >= 256) await flush();
  }
  await flush();
  return missing;
}
