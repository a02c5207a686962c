import type { Lane, QueuedItem } from "./queued-item";

/** A batch that the engine has. */
export interface Batch {
  readonly lane: Lane;
  readonly items: readonly QueuedItem[];
  readonly cost: number;
  /** By performance.now(). */
  readonly startedAt: number;
  readonly abort: AbortController;
  /** Items that somebody waits for. */
  wanted: number;
}

/** One that the engine computes, and one whose pictures it decodes meanwhile. */
const perEngine = 2;
/** A lane leaves one to the other: small texts are not held up by a row of large pictures. */
const perEngineInAll = 3;
/** The next batch is handed over so long before the one at work should be done: later comers can still be in it. */
const leadMs = { text: 5, picture: 400 } as const;

/** The batches that the engine has, and when it may be given the next. */
export class RunningBatches {
  private readonly batches = new Set<Batch>();
  private readonly byItem = new Map<QueuedItem, Batch>();

  constructor(
    private readonly engines: number,
    /** What one engine does in a millisecond, as far as that is known. */
    private readonly costPerMs: () => number | undefined,
  ) {}

  get size(): number {
    return this.batches.size;
  }

  [Symbol.iterator](): IterableIterator<Batch> {
    return this.batches.values();
  }

  of(item: QueuedItem): Batch | undefined {
    return this.byItem.get(item);
  }

  add(batch: Batch): void {
    this.batches.add(batch);
    for (const item of batch.items) this.byItem.set(item, batch);
  }

  remove(batch: Batch): void {
    this.batches.delete(batch);
    for (const item of batch.items) this.byItem.delete(item);
  }

  /** Milliseconds until the lane may have another batch: 0 now, Infinity when one of those at work is done. */
  waitMs(lane: Lane, now: number): number {
    const own = [...this.batches].filter((batch) => batch.lane === lane);
    if (own.length >= perEngine * this.engines || this.batches.size >= perEngineInAll * this.engines) return Infinity;
    if (own.length < this.engines) return 0;
    const rate = this.costPerMs();
    if (rate === undefined) return 0;
    // One engine computes one after the other: what all of them have is done at about the same time.
    const started = Math.min(...own.map(({ startedAt }) => startedAt));
    const cost = own.reduce((sum, batch) => sum + batch.cost, 0) / this.engines;
    return Math.max(0, started + cost / rate - leadMs[lane] - now);
  }

  /** How long all of it should take; undefined: there is nothing, or nothing is known. */
  expectedMs(): number | undefined {
    const rate = this.costPerMs();
    if (rate === undefined || this.batches.size === 0) return undefined;
    return [...this.batches].reduce((sum, { cost }) => sum + cost, 0) / rate;
  }
}
