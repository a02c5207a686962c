import type { Embedder, EmbedOutcome, EmbedSuccess } from "../embed-tasks/embed-task";
import { abortError, GmeError } from "../errors";
import type { CrashPoints } from "./crash-points";
import type { Source } from "./entry-row";
import type { EntryTable } from "./entry-table";
import type { FailureLog } from "./failure-log";
import type { FileRun } from "./file-run";
import type { FreshRow, IndexWriter } from "./index-writer";
import { readAhead } from "./read-ahead";
import type { RunReport } from "./run-report";
import type { WorkItem } from "./work-item";

/** A row on its way: other items with the same content wait for it instead of being embedded again. */
interface PendingRow {
  readonly item: WorkItem;
  readonly joined: WorkItem[];
  readonly sources: Source[];
}

export interface RunParts {
  readonly table: EntryTable;
  readonly writer: IndexWriter;
  readonly failures: FailureLog;
  readonly report: RunReport;
  readonly crash: CrashPoints;
  readonly embedder: () => Promise<Embedder>;
  /** Takes the path of a file that changed between being hashed and being embedded, where the run tolerates that. */
  readonly onChanged?: (path: string) => void;
  readonly maxErrors?: number;
  readonly signal?: AbortSignal;
  /** Items that the engine gets at a time; no more than a commit takes. */
  readonly largestBatch: number;
  /** Vectors that may be with the engine or wait for their commit: what a kill costs at most. At least `largestBatch`. */
  readonly mostUncommitted: number;
  /** So many batches are computed at the same time. */
  readonly engines: number;
}

/** Items that are planned ahead of the engine, and keys that one look-up asks for. */
const itemsAhead = 128;
const groupSize = 64;
/** The engine gets so many items at a time as it computes in about this time, so that a kill costs little and short texts share passes. */
const batchMs = 4_000;
const firstBatch = 4;
/** With each engine. */
const batchesAtOnce = 2;

/** items → already there? → engine → rows → commits, each stage ahead of the next. */
export class IndexRun {
  private readonly pending = new Map<string, PendingRow>();
  private queue: PendingRow[] = [];
  private readonly inFlight = new Set<Promise<void>>();
  /** No more items will come: what waits need not wait for company. */
  private isDrained = false;
  private batchSize: number;
  private toleratesChange = true;
  private failure: { readonly error: unknown } | undefined;

  constructor(private readonly parts: RunParts) {
    this.batchSize = Math.min(firstBatch, parts.largestBatch);
  }

  /** Resolves when everything is committed or failed; a file that changed meanwhile is no failure if `toleratesChange`. When aborted, commits what has its vector, then rejects with GME_ABORTED. */
  async run(items: AsyncGenerator<WorkItem>, toleratesChange = true): Promise<void> {
    const { writer } = this.parts;
    this.toleratesChange = toleratesChange;
    this.isDrained = false;
    try {
      for await (const group of readAhead(items, itemsAhead, groupSize)) await this.resolve(group);
      this.isDrained = true;
      this.startBatches();
      while (this.inFlight.size + this.queue.length > 0) {
        await this.nextChange();
        this.checkState();
      }
      this.checkState();
      await writer.finish();
    } catch (error) {
      this.failure ??= { error }; // no further batch starts
      await Promise.allSettled(this.inFlight);
      await this.commitRest(error);
      throw error;
    }
  }

  /** What has its vector is not lost when a run ends early; a store that cannot be written has said so already. */
  private async commitRest(error: unknown): Promise<void> {
    const { code } = GmeError.from(error);
    if (code === "GME_DISK_FULL" || code === "GME_INDEX_LOCKED" || code === "GME_STORE_CORRUPT") return;
    await this.parts.writer.commit().catch(() => undefined);
  }

  /** Called by the writer: these keys are on disk. */
  async committed(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const row = this.pending.get(key);
      this.pending.delete(key);
      for (const item of row === undefined ? [] : [row.item, ...row.joined]) this.settle(item.run);
    }
    this.startBatches();
  }

  private checkState(): void {
    const { signal, report, maxErrors } = this.parts;
    if (this.failure !== undefined) throw this.failure.error;
    report.rethrow();
    if (signal?.aborted) throw abortError(signal);
    if (maxErrors !== undefined && report.failed > maxErrors) throw tooManyErrors(report.failed, maxErrors);
  }

  private settle(run: FileRun): void {
    this.parts.report.done++;
    run.end();
  }

  /** Sorts items into those whose content is there, those that wait for the same content, and those to embed. */
  private async resolve(items: readonly WorkItem[]): Promise<void> {
    for (let open = items; open.length > 0; ) {
      const unknown = new Set(open.filter(({ key }) => !this.pending.has(key)));
      const present = await this.findKeys([...new Set([...unknown].map(({ key }) => key))]);
      const again: WorkItem[] = [];
      for (const item of open) {
        const row = this.pending.get(item.key);
        if (row !== undefined) this.join(row, item);
        else if (!unknown.has(item))
          again.push(item); // it was committed while we looked
        else if (present.has(item.key)) this.foundAgain(item, present.get(item.key) ?? []);
        else this.enqueue(item);
      }
      open = again;
    }
    this.startBatches();
    await this.parts.writer.commitIfDue();
    while (this.queue.length >= this.parts.largestBatch && this.failure === undefined) await this.nextChange();
    this.checkState();
  }

  /** Read again when a commit came between: a source that it added would be taken for missing, and lost. */
  private async findKeys(keys: readonly string[]): Promise<Map<string, Source[]>> {
    const { table, writer } = this.parts;
    for (;;) {
      const { generation } = writer;
      const present = await table.findKeys(keys);
      if (writer.generation === generation) return present;
    }
  }

  private join(row: PendingRow, item: WorkItem): void {
    row.joined.push(item);
    row.sources.unshift(item.source);
    this.parts.report.duplicates++;
  }

  private foundAgain(item: WorkItem, present: readonly Source[]): void {
    const { writer, report } = this.parts;
    if (!writer.addSource(item.key, item.source, present)) report.unchanged++;
    else if (!present.some(({ path, row }) => path === item.source.path && row === item.source.row))
      report.duplicates++;
    this.settle(item.run);
  }

  private enqueue(item: WorkItem): void {
    const row: PendingRow = { item, joined: [], sources: [item.source] };
    this.pending.set(item.key, row);
    if (item.embedding !== undefined) this.insert(row, { embedding: item.embedding, tokens: 0 });
    else this.queue.push(row);
  }

  /**
   * Keeps up to two batches with each engine; a small one goes only when an engine has nothing else, or nothing more will come. None goes
   * while so many vectors are not committed that a kill would cost more than `mostUncommitted`.
   */
  private startBatches(): void {
    const { engines } = this.parts;
    while (this.queue.length > 0 && this.inFlight.size < batchesAtOnce * engines && this.failure === undefined) {
      if (this.queue.length < this.batchSize && this.inFlight.size >= engines && !this.isDrained) return;
      const uncommitted = this.pending.size - this.queue.length;
      if (uncommitted + Math.min(this.batchSize, this.queue.length) > this.parts.mostUncommitted) return;
      const batch = this.queue.splice(0, this.batchSize);
      const work: Promise<void> = this.embed(batch)
        .catch((error) => {
          this.failure ??= { error };
        })
        .finally(() => {
          this.inFlight.delete(work);
          this.startBatches();
        });
      this.inFlight.add(work);
    }
  }

  /** Until the engine has finished a batch; where it has none, what waits is waiting for a commit. */
  private async nextChange(): Promise<void> {
    if (this.inFlight.size > 0) await Promise.race(this.inFlight);
    else await this.parts.writer.commit();
  }

  private async embed(batch: readonly PendingRow[]): Promise<void> {
    const { embedder, signal, crash, report, writer } = this.parts;
    const engine = await embedder();
    const start = performance.now();
    report.current = batch[0].item.source.path;
    const outcomes = await engine.embed(batch.map(({ item }) => item.task), signal); // biome-ignore format: one line says it
    this.adaptBatch(batch.length, performance.now() - start);
    crash.reach("batch.embedded");
    for (const [i, outcome] of outcomes.entries()) await this.receive(batch[i], outcome);
    await writer.commitIfDue();
  }

  /** Two batches are with an engine, so each takes about twice its own time. */
  private adaptBatch(size: number, ms: number): void {
    if (ms > batchMs * 4) this.batchSize = Math.max(1, this.batchSize >> 1);
    else if (ms < batchMs && size === this.batchSize)
      this.batchSize = Math.min(this.parts.largestBatch, this.batchSize * 2);
  }

  private async receive(row: PendingRow, outcome: EmbedOutcome): Promise<void> {
    if (outcome.error !== undefined) return this.fail(row, outcome.error);
    const fault = vectorFault(outcome.embedding);
    if (fault !== undefined) return this.fail(row, fault);
    this.insert(row, outcome);
    this.parts.report.embedded++;
    this.parts.report.tokens += outcome.tokens;
  }

  private insert({ item, sources }: PendingRow, outcome: EmbedSuccess): void {
    const { key, kind, page, passage, snippet, caption } = item;
    const { embedding, width, height, thumbnail } = outcome;
    const fresh: FreshRow = {
      row: {
        key,
        kind,
        vector: embedding,
        page: page ?? null,
        passage: passage ?? null,
        snippet: snippet ?? null,
        caption: caption ?? null,
        width: width === undefined ? null : Math.round(width),
        height: height === undefined ? null : Math.round(height),
        thumbnail: thumbnail ?? null,
        time: Date.now(),
      },
      sources,
    };
    this.parts.writer.insert(fresh);
  }

  private async fail(row: PendingRow, error: GmeError): Promise<void> {
    this.pending.delete(row.item.key);
    for (const item of [row.item, ...row.joined]) await this.failItem(item.run, item.part, error);
  }

  /** Also for what fails before it has a key. The run goes on. */
  async failItem(run: FileRun, part: number | undefined, error: GmeError): Promise<void> {
    const { failures, report, onChanged } = this.parts;
    const { path, size, mtime } = run;
    if (error.code === "GME_CHANGED_WHILE_OPEN" && this.toleratesChange && onChanged !== undefined) {
      onChanged(path);
      run.fail(part);
      return;
    }
    await failures.add({ path, size, mtime, part, error });
    report.fail(path, part, error);
    report.done++;
    run.fail(part);
  }
}

const unitTolerance = 1e-3;

/** GME_NON_FINITE for a vector with NaN or infinity, or whose length is not 1. */
export function vectorFault(vector: Float32Array): GmeError | undefined {
  let squares = 0;
  for (const x of vector) squares += x * x;
  if (Math.abs(squares - 1) <= 2 * unitTolerance) return undefined;
  const value = Number.isFinite(squares) ? `length ${Math.sqrt(squares)}` : "NaN or infinity";
  return new GmeError("GME_NON_FINITE", `the vector is not of unit length (${value})`, { field: "embedding", value, expected: "a finite vector of unit length" }); // biome-ignore format: one line says it
}

function tooManyErrors(failed: number, maxErrors: number): GmeError {
  const message = `stopped after ${failed} failures, more than the ${maxErrors} allowed; what was embedded is kept`;
  return new GmeError("GME_TOO_MANY_FAILURES", message, {
    field: "options.maxErrors",
    value: failed,
    expected: `at most ${maxErrors}`,
  });
}
