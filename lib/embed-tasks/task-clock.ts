/** Seconds in which the model computed, and in which it had work: what its idle share is taken from. */
export class TaskClock {
  private busyMs = 0;
  private spanMs = 0;
  /** Since the model stopped, while tasks were there; counts once it computes again. */
  private pausedMs = 0;
  private at = performance.now();
  private open = 0;
  private computing = false;
  private hasComputed = false;

  get busySeconds(): number {
    this.advance();
    return this.busyMs / 1000;
  }

  get spanSeconds(): number {
    this.advance();
    return this.spanMs / 1000;
  }

  /** So many tasks came (negative: are settled). */
  tasks(count: number): void {
    this.advance();
    this.open += count;
  }

  begin(): void {
    this.advance();
    this.spanMs += this.pausedMs;
    this.pausedMs = 0;
    this.computing = true;
    this.hasComputed = true;
  }

  end(): void {
    this.advance();
    this.computing = false;
  }

  private advance(): void {
    const now = performance.now();
    const passed = now - this.at;
    this.at = now;
    if (this.computing) {
      this.busyMs += passed;
      this.spanMs += passed;
    } else if (this.hasComputed && this.open > 0) this.pausedMs += passed;
  }
}
