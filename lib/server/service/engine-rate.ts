/** Each batch counts this much less than the next. */
const decay = 0.9;
/** Fewer batches than this say little. */
const enough = 3;

/** How much work the engine does in a second, by its last batches. Milliseconds are those of a monotonic clock. */
export class EngineRate {
  private cost = 0;
  private ms = 0;
  private batches = 0;
  private lastEnd = Number.NEGATIVE_INFINITY;

  /** A batch was finished now. Batches overlap, but the engine computes one after the other. */
  finished(cost: number, startedAt: number, now: number): void {
    this.cost = this.cost * decay + cost;
    this.ms = this.ms * decay + Math.max(0.01, now - Math.max(startedAt, this.lastEnd));
    this.lastEnd = now;
    this.batches++;
  }

  /** Cost per second; undefined as long as too little is known. */
  get perSecond(): number | undefined {
    return this.batches < enough ? undefined : (this.cost / this.ms) * 1000;
  }
}
