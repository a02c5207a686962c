import { resolve } from "node:path";
import { countFiles, crawl } from "../crawl/crawl";
import type { Embedder } from "../embed-tasks/embed-task";
import { abortError, GmeError } from "../errors";
import { ContentKeys, pinFor } from "./content-key";
import { CrashPoints } from "./crash-points";
import { EntryTable } from "./entry-table";
import { FailureLog } from "./failure-log";
import { fileItems } from "./file-items";
import { FileRun } from "./file-run";
import { fileSystemWarning } from "./file-system";
import type { IndexEngine } from "./index-engine";
import type { IndexLock } from "./index-lock";
import type { IndexPlace } from "./index-place";
import { type IndexRoot, type RootOptions, readRoots, rememberRoots } from "./index-roots";
import { IndexRun } from "./index-run";
import type { AddFilesOptions, AddOptions, IndexItem, IndexSummary } from "./index-types";
import { IndexWriter, type WriterLimits } from "./index-writer";
import { ItemIds, planItem } from "./item-plan";
import { KnownSources } from "./known-sources";
import { RunReport } from "./run-report";
import { ensureVectorIndex, maintain } from "./vector-index";
import type { WorkItem } from "./work-item";

/** What a writing index holds open. */
export interface IndexAccess {
  readonly place: IndexPlace;
  readonly lock: IndexLock;
  readonly engine: IndexEngine;
  table: EntryTable | undefined;
  /** Default: `commitLimits`. */
  readonly limits?: WriterLimits;
}

/** The parts of one run, and how they end together. */
interface Session {
  readonly table: EntryTable;
  readonly report: RunReport;
  readonly failures: FailureLog;
  readonly writer: IndexWriter;
  readonly run: IndexRun;
  readonly crash: CrashPoints;
  readonly embedder: () => Promise<Embedder>;
  readonly changed: Set<string>;
}

/** Commits at so many rows; at most twice as many vectors are computed and not yet committed, which is what a kill can cost. */
export const commitLimits: WriterLimits = { rows: 128, bytes: 64 << 20, ms: 10_000, maintainEvery: 100 };
const largestBatch = 32;
/** Versions that a run may leave before it tidies up. */
const versionsLeft = 10;

/** Indexes files and folders; resumes where an earlier run ended. */
export async function addFiles(
  access: IndexAccess,
  paths: readonly string[],
  options: AddFilesOptions,
): Promise<IndexSummary> {
  const started = Date.now();
  const roots = paths.map((path) => resolve(path));
  return withSession(access, options, async (session) => {
    await noteRoots(access.place, roots, options, (before) => before?.finished ?? 0);
    const known = await knownSources(session.table);
    await runFiles(session, roots, known, options, true);
    if (session.changed.size > 0) {
      const changed = [...session.changed];
      session.changed.clear();
      await runFiles(session, changed, await knownSources(session.table), options, false);
    }
    await noteRoots(access.place, roots, options, () => started);
  });
}

async function runFiles(
  session: Session,
  roots: readonly string[],
  known: KnownSources,
  options: AddFilesOptions,
  isFirst: boolean,
): Promise<void> {
  const { table, report } = session;
  const keys = new ContentKeys(table.pin);
  const skip = (path: string, reason: string) => report.skip(path, reason);
  const parts = { ...session, keys, known, options, skip };
  const counting = isFirst ? count(roots, options, report) : undefined;
  const found = crawl(roots, { ...options, signal: options.signal });
  await session.run.run(fileItems(found, parts), isFirst);
  await counting;
}

/** In the background: the total is known long before the work is done. */
async function count(roots: readonly string[], options: AddFilesOptions, report: RunReport): Promise<void> {
  try {
    await countFiles(roots, options, () => {
      report.total++;
    });
    report.counted = true;
  } catch {
    // The walk that feeds the run meets the same error and tells it.
  }
}

async function noteRoots(
  place: IndexPlace,
  paths: readonly string[],
  options: AddFilesOptions,
  finished: (before: IndexRoot | undefined) => number,
): Promise<void> {
  const { exclude, followSymlinks, hidden, captions, textColumn, imageColumn, passageLength, passageOverlap } = options;
  const kept: RootOptions = {
    exclude,
    followSymlinks,
    hidden,
    captions,
    textColumn,
    imageColumn,
    passageLength,
    passageOverlap,
  };
  const before = await readRoots(place);
  const roots = paths.map((path) => ({
    path,
    options: kept,
    finished: finished(before.find((root) => root.path === path)),
  }));
  await rememberRoots(place, roots);
}

/** Indexes things that are no files. */
export async function addItems(
  access: IndexAccess,
  items: Iterable<IndexItem> | AsyncIterable<IndexItem>,
  options: AddOptions,
): Promise<IndexSummary> {
  return withSession(access, options, async (session) => {
    if (Array.isArray(items)) {
      session.report.total = items.length;
      session.report.counted = true;
    }
    await session.run.run(itemStream(session, items, !Array.isArray(items)), true);
  });
}

async function* itemStream(
  { table, report, run, writer }: Session,
  items: Iterable<IndexItem> | AsyncIterable<IndexItem>,
  isOpenEnded: boolean,
): AsyncGenerator<WorkItem> {
  const keys = new ContentKeys(table.pin);
  const runOf = (id: string) => new FileRun(id, -1, -1, (settled) => writer.dropOutdated(settled));
  const ids = new ItemIds();
  let index = 0;
  for await (const item of items) {
    if (isOpenEnded) report.total++;
    report.files++;
    try {
      const planned = await planItem(item, index, keys, table.pin.dimensions, runOf, ids);
      yield planned;
    } catch (error) {
      const id = typeof item?.id === "string" ? item.id : `item ${index}`;
      await run.failItem(runOf(id), undefined, GmeError.from(error, "GME_INPUT_INVALID"));
    }
    index++;
  }
}

/** The files of an index, from its rows. */
export async function knownSources(table: EntryTable): Promise<KnownSources> {
  const known = new KnownSources();
  for await (const rows of table.scan(["sources"]))
    for (const { sources } of rows) for (const source of sources ?? []) known.add(source);
  return known;
}

async function withSession(
  access: IndexAccess,
  options: AddOptions & Pick<AddFilesOptions, "onEvent" | "maxErrors">,
  work: (session: Session) => Promise<void>,
): Promise<IndexSummary> {
  const { signal } = options;
  if (signal?.aborted) throw abortError(signal);
  const report = new RunReport(options);
  const failures = await FailureLog.open(access.place);
  try {
    const session = await openSession(access, options, report, failures);
    await work(session);
    report.rethrow();
    await tidyUp(session);
    return report.summary(await session.table.countRows(), access.engine.use());
  } finally {
    access.engine.onMessage = undefined;
    report.stop();
    await failures.close();
  }
}

async function openSession(
  access: IndexAccess,
  { signal, maxErrors }: AddOptions & Pick<AddFilesOptions, "maxErrors">,
  report: RunReport,
  failures: FailureLog,
): Promise<Session> {
  const { engine, lock, place, limits = commitLimits } = access;
  engine.onMessage = (message) => report.emit({ type: "engine", message });
  const warning = await fileSystemWarning(place);
  if (warning !== undefined) report.emit({ type: "engine", message: warning });
  let engines = 1;
  if (access.table === undefined || engine.hasModel) {
    const started = await engine.get(access.table?.pin, signal);
    engines = started.engines ?? 1;
    access.table ??= await EntryTable.create(place, pinFor(started.info));
  }
  const table = access.table as EntryTable;
  const crash = new CrashPoints();
  const changed = new Set<string>();
  const embedder = () => engine.get(table.pin, signal);
  const committed = async (keys: readonly string[], rows: number) => {
    await run.committed(keys);
    report.emit({ type: "committed", rows, total: report.embedded });
  };
  const writer = new IndexWriter(table, lock, crash, { committed }, limits);
  const onChanged = (path: string) => void changed.add(path);
  const run = new IndexRun({
    ...{ table, writer, failures, report, crash, embedder, onChanged, maxErrors, signal },
    largestBatch: Math.min(largestBatch, limits.rows),
    mostUncommitted: 2 * limits.rows,
    engines,
  });
  return { table, report, failures, writer, run, crash, embedder, changed };
}

async function tidyUp({ table, report, crash }: Session): Promise<void> {
  const recall = await ensureVectorIndex(table);
  if (recall !== undefined) {
    const { rows, seconds, recall: share, queries, medianMs } = recall;
    const message =
      `vector index of ${rows} rows built in ${seconds.toFixed(1)} s: recall@10 ${share.toFixed(3)} against exact search ` +
      `on ${queries} of its rows, ${medianMs.toFixed(1)} ms per query`;
    report.emit({ type: "engine", message });
  }
  if ((await table.versions()).length > versionsLeft) await maintain(table, crash);
}
