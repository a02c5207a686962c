import type { CrashPoints } from "./crash-points";
import { type EntryRow, isEqualSource, isSameSource, type Source } from "./entry-row";
import type { EntryTable } from "./entry-table";
import type { FileRun } from "./file-run";
import type { IndexLock } from "./index-lock";
import { maintain } from "./vector-index";

/** A row that has its vector and waits for the next commit; the same content seen again meanwhile joins its sources. */
export interface FreshRow {
  readonly row: Omit<EntryRow, "sources">;
  readonly sources: Source[];
}

export interface WriterListener {
  /** These are on disk. */
  committed(keys: readonly string[], rows: number): Promise<void> | void;
}

/** A batch is committed when it has so many rows or bytes, or when so much time has passed since the last one. */
export interface WriterLimits {
  readonly rows: number;
  readonly bytes: number;
  readonly ms: number;
  /** Commits after which the store is tidied up. */
  readonly maintainEvery: number;
}

/** Paths that one query for outdated rows names. */
const dropPaths = 256;

/** Gathers what a run found and commits it in batches, one at a time, under the index's lock. */
export class IndexWriter {
  private fresh = new Map<string, FreshRow>();
  private freshBytes = 0;
  private changes = new Map<string, Source[]>();
  private changesInFlight = new Map<string, Source[]>();
  private outdated: FileRun[] = [];
  private lastCommit = Date.now();
  private commits = 0;
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly table: EntryTable,
    private readonly lock: IndexLock,
    private readonly crash: CrashPoints,
    private readonly listener: WriterListener,
    private readonly limits: WriterLimits,
  ) {}

  /** Goes up with each commit: what was read of the table's rows before may be outdated after it. */
  get generation(): number {
    return this.commits;
  }

  insert(fresh: FreshRow): void {
    this.fresh.set(fresh.row.key, fresh);
    this.freshBytes += fresh.row.vector.byteLength + (fresh.row.thumbnail?.byteLength ?? 0) + 1_024;
  }

  /** Gives a row of the table, which has the sources `present`, another one; the newest comes first. False when it has that already. */
  addSource(key: string, source: Source, present: readonly Source[]): boolean {
    const sources = this.changes.get(key) ?? this.changesInFlight.get(key) ?? [...present];
    if (sources.some((other) => isEqualSource(other, source))) return false;
    this.changes.set(key, [source, ...sources.filter((other) => !isSameSource(other, source))]);
    return true;
  }

  /** Rows of older states of the file go at the end of the run, when no other file can need them any more. */
  dropOutdated(run: FileRun): void {
    if (run.isOutdated !== undefined) this.outdated.push(run);
  }

  /** Commits when a batch is full or old. Resolves at once unless a commit before it still runs and another batch is full too. */
  async commitIfDue(): Promise<void> {
    const { rows, bytes, ms } = this.limits;
    const isFull = this.fresh.size >= rows || this.freshBytes >= bytes || this.changes.size >= rows;
    const isOld = Date.now() - this.lastCommit >= ms && this.isPending;
    if (!isFull && !isOld) return;
    const before = this.running;
    const commit = this.commit();
    commit.catch(() => undefined); // seen by the next call
    await before;
  }

  /** Commits what there is. */
  commit(): Promise<void> {
    this.running = this.running.then(() => this.commitBatch());
    return this.running;
  }

  /** The run came to its end: the last commit, then rows of older states of files go. */
  async finish(): Promise<void> {
    await this.commit();
    if (this.isPending) await this.commit(); // sources that joined during the last commit
    const outdated = this.outdated.splice(0); // a file that is looked at again has a newer state, which stays
    for (let at = 0; at < outdated.length; at += dropPaths) {
      await this.lock.check();
      await this.removeOutdated(outdated.slice(at, at + dropPaths));
    }
  }

  private get isPending(): boolean {
    return this.fresh.size > 0 || this.changes.size > 0;
  }

  private async commitBatch(): Promise<void> {
    if (!this.isPending) return;
    const { fresh, changes } = this;
    [this.fresh, this.changes, this.changesInFlight, this.freshBytes] = [new Map(), new Map(), changes, 0];
    this.lastCommit = Date.now();
    await this.lock.check();
    const rows = [...fresh.values()].map(({ row, sources }) => ({ ...row, sources: [...sources] }));
    this.crash.reach("merge.before");
    await this.table.merge(rows);
    await this.table.setSources([...changes].map(([key, sources]) => ({ key, sources })));
    this.changesInFlight = new Map();
    this.commits++;
    this.crash.reach("merge.after");
    for (const row of rows) this.keepLateSources(row, fresh.get(row.key)?.sources ?? []);
    await this.listener.committed([...fresh.keys()], rows.length);
    if (this.commits % this.limits.maintainEvery === 0) await maintain(this.table, this.crash);
  }

  /** Sources that joined a row while it was being written. */
  private keepLateSources({ key, sources: written }: EntryRow, sources: readonly Source[]): void {
    if (sources.length > written.length) this.changes.set(key, [...sources]);
  }

  private async removeOutdated(runs: readonly FileRun[]): Promise<void> {
    const isGone = (source: Source, key: string) =>
      runs.some((run) => run.path === source.path && !run.keeps(source) && run.isOutdated?.(source, key));
    await dropSources(this.table, [...new Set(runs.map(({ path }) => path))], isGone);
  }
}

/** Takes sources away from the rows that have one of `paths`; a row without any left is deleted. The number of rows that went. */
export async function dropSources(
  table: EntryTable,
  paths: readonly string[],
  isGone: (source: Source, key: string) => boolean,
): Promise<number> {
  const kept: { key: string; sources: Source[] }[] = [];
  const gone: string[] = [];
  for (const { key, sources } of await table.findPaths(paths)) {
    const left = sources.filter((source) => !isGone(source, key));
    if (left.length === 0) gone.push(key);
    else if (left.length < sources.length) kept.push({ key, sources: left });
  }
  await table.setSources(kept);
  await table.deleteKeys(gone);
  return gone.length;
}
