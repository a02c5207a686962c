import type { EngineUse } from "../embed-tasks/embed-task";
import type { GmeError } from "../errors";
import type { AddFilesOptions, IndexEvent, IndexProgress, IndexSummary } from "./index-types";

const progressEveryMs = 200;
/** Rates are those of about the last half minute, or of the last items where those took longer. */
const rateWindowMs = 30_000;
const rateItems = 16;
const sampleMs = 1_000;

interface RateSample {
  readonly at: number;
  readonly settled: number;
  readonly embedded: number;
  readonly tokens: number;
}

/** Counts what a run does and tells the caller about it. */
export class RunReport {
  private readonly start = Date.now();
  private readonly samples: RateSample[] = [];
  private readonly timer: NodeJS.Timeout;
  private readonly skippedBy = new Map<string, number>();
  private thrown: { readonly error: unknown } | undefined;
  done = 0;
  total = 0;
  counted = false;
  files = 0;
  unchanged = 0;
  failed = 0;
  failedBefore = 0;
  embedded = 0;
  tokens = 0;
  duplicates = 0;
  current: string | undefined;

  constructor(private readonly listeners: Pick<AddFilesOptions, "onProgress" | "onEvent">) {
    this.timer = setInterval(() => this.tell(), progressEveryMs);
    this.timer.unref();
  }

  skip(path: string, reason: string): void {
    this.skippedBy.set(reason, (this.skippedBy.get(reason) ?? 0) + 1);
    this.emit({ type: "skipped", path, reason });
  }

  fail(path: string, part: number | undefined, error: GmeError): void {
    this.failed++;
    this.emit({ type: "failed", path, ...(part !== undefined && { part }), error });
  }

  emit(event: IndexEvent): void {
    this.guard(() => this.listeners.onEvent?.(event));
  }

  /** An error of the caller's own functions ends the run as that error. */
  rethrow(): void {
    if (this.thrown !== undefined) throw this.thrown.error;
  }

  progress(): IndexProgress {
    const { done, total, counted, unchanged, failed, embedded, current } = this;
    const { settledPerSecond, itemsPerSecond, tokensPerSecond } = this.rates();
    const secondsLeft = counted && settledPerSecond > 0 ? (total - done) / settledPerSecond : undefined;
    return {
      ...{ done, total: Math.max(total, done), counted, unchanged, skipped: this.skipped, failed, embedded },
      ...{ itemsPerSecond, tokensPerSecond },
      ...(secondsLeft !== undefined && { secondsLeft }),
      ...(current !== undefined && { current }),
    };
  }

  summary(rows: number, use: EngineUse | undefined): IndexSummary {
    const { files, embedded, tokens, duplicates, unchanged, failed, failedBefore } = this;
    const { busySeconds, spanSeconds, restarts } = use ?? { busySeconds: 0, spanSeconds: 0, restarts: 0 };
    return {
      ...{ files, embedded, tokens, duplicates, unchanged, failed, failedBefore, rows, restarts },
      skipped: Object.fromEntries(this.skippedBy),
      seconds: (Date.now() - this.start) / 1_000,
      idleShare: spanSeconds > 0 ? Math.max(0, 1 - busySeconds / spanSeconds) : 0,
    };
  }

  /** Tells the last state; nothing is told after it. */
  stop(): void {
    clearInterval(this.timer);
    this.tell();
  }

  private get skipped(): number {
    let count = 0;
    for (const files of this.skippedBy.values()) count += files;
    return count;
  }

  private tell(): void {
    const { done, unchanged, embedded, tokens } = this;
    const at = Date.now();
    const settled = done - unchanged;
    if (at - (this.samples.at(-1)?.at ?? 0) >= sampleMs) this.samples.push({ at, settled, embedded, tokens });
    while (
      this.samples.length > 2 &&
      at - this.samples[1].at > rateWindowMs &&
      settled - this.samples[1].settled >= rateItems
    )
      this.samples.shift();
    if (this.listeners.onProgress !== undefined) this.guard(() => this.listeners.onProgress?.(this.progress()));
  }

  private rates() {
    const first = this.samples[0] ?? { at: this.start, settled: 0, embedded: 0, tokens: 0 };
    const seconds = Math.max((Date.now() - first.at) / 1_000, 1e-3);
    const settled = this.done - this.unchanged;
    return {
      settledPerSecond: (settled - first.settled) / seconds,
      itemsPerSecond: (this.embedded - first.embedded) / seconds,
      tokensPerSecond: (this.tokens - first.tokens) / seconds,
    };
  }

  private guard(call: () => void): void {
    try {
      if (this.thrown === undefined) call();
    } catch (error) {
      this.thrown = { error };
    }
  }
}
