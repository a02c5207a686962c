import { lstat } from "node:fs/promises";
import { fsPath, shownPath } from "../crawl/path-bytes";
import { abortError, GmeError, printable } from "../errors";
import type { EntryTable } from "./entry-table";
import { FailureLog } from "./failure-log";
import type { IndexLock } from "./index-lock";
import type { IndexPlace } from "./index-place";
import { readRoots } from "./index-roots";
import { dropSources } from "./index-writer";

export interface PruneOptions {
  /** Only files below these paths; default: below every path that was indexed. */
  readonly paths?: readonly string[];
  /** Prune although a root is missing, or more than a fifth of the files would go. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
}

export interface PruneSummary {
  /** Files that vanished, and rows that had no other file. */
  readonly files: number;
  readonly rows: number;
}

const largestShare = 0.2;
const pathsAtOnce = 256;

/** Drops the files that vanished. Rejects with GME_INDEX_PRUNE_REFUSED where that looks like a disk that is not mounted. */
export async function pruneTable(
  table: EntryTable,
  place: IndexPlace,
  lock: IndexLock,
  { paths, force = false, signal }: PruneOptions,
): Promise<PruneSummary> {
  const roots = paths ?? (await readRoots(place)).map(({ path }) => path);
  if (!force) for (const root of roots) if (!(await exists(root))) throw rootMissing(root);
  const gone = new Set<string>();
  const seen = new Set<string>();
  for await (const rows of table.scan(["sources"])) {
    for (const { path, size, row } of rows.flatMap(({ sources = [] }) => sources)) {
      if (signal?.aborted) throw abortError(signal);
      if ((size === null && row === null) || seen.has(path) || !isBelow(path, roots)) continue;
      seen.add(path);
      if (!(await exists(path))) gone.add(path);
    }
  }
  if (!force && gone.size > seen.size * largestShare) throw tooMany(gone.size, seen.size);
  let dropped = 0;
  const list = [...gone];
  for (let at = 0; at < list.length; at += pathsAtOnce) {
    await lock.check();
    const some = list.slice(at, at + pathsAtOnce);
    dropped += await dropSources(table, some, ({ path }) => gone.has(path));
  }
  await forgetFailures(place, roots);
  return { files: gone.size, rows: dropped };
}

async function forgetFailures(place: IndexPlace, roots: readonly string[]): Promise<void> {
  const failures = await FailureLog.open(place);
  for (const path of [...failures.paths()]) if (isBelow(path, roots) && !(await exists(path))) failures.forget(path);
  await failures.close();
}

function isBelow(path: string, roots: readonly string[]): boolean {
  return roots.some((root) => path === root || path.startsWith(root.endsWith("/") ? root : `${root}/`));
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(fsPath(path));
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code !== "ENOENT" && code !== "ENOTDIR"; // unreadable is not gone
  }
}

function rootMissing(root: string): GmeError {
  const message = `${printable(root)} is missing, perhaps a disk that is not mounted; nothing was pruned (--force prunes all the same)`;
  return new GmeError("GME_INDEX_PRUNE_REFUSED", message, {
    file: shownPath(root),
    expected: "all indexed folders in place",
  });
}

function tooMany(gone: number, files: number): GmeError {
  const message = `${gone} of ${files} files would be dropped, more than a fifth; nothing was pruned (--force prunes all the same)`;
  return new GmeError("GME_INDEX_PRUNE_REFUSED", message, {
    value: gone,
    expected: `at most ${Math.floor(files * largestShare)} files`,
  });
}
