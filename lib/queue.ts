import { abortError, GmeError } from "./errors";

/** One call: `prepare` may run ahead of its turn (decoding), `run` waits for it (the engine). */
export interface QueuedCall<P, R> {
  prepare(): Promise<P>;
  run(prepared: P): Promise<R>;
  signal?: AbortSignal;
}

interface Entry {
  prepared?: Promise<unknown>;
  readonly call: QueuedCall<unknown, unknown>;
  readonly settle: (result: Promise<unknown>) => void;
  cancelled: boolean;
}

/** How many waiting calls prepare ahead of the one that runs: enough to keep the engine busy, few enough to bound memory. */
const lookahead = 2;

/** Calls of one model, run one at a time in the order in which they were added. */
export class CallQueue {
  private readonly waiting: Entry[] = [];
  private running: Promise<unknown> | undefined;
  private closing: Promise<void> | undefined;

  get closed(): boolean {
    return this.closing !== undefined;
  }

  add<P, R>(call: QueuedCall<P, R>): Promise<R> {
    if (this.closed) return Promise.reject(closedError());
    const { signal } = call;
    if (signal?.aborted) return Promise.reject(abortError(signal));
    return new Promise<R>((resolve, reject) => {
      const onAbort = () => {
        const at = this.waiting.indexOf(entry);
        if (at >= 0) this.waiting.splice(at, 1);
        entry.cancelled = true;
        reject(abortError(signal));
      };
      const settle = (result: Promise<unknown>) => {
        result
          .then(resolve as (value: unknown) => void, reject)
          .finally(() => signal?.removeEventListener("abort", onAbort));
      };
      const entry: Entry = { call: call as QueuedCall<unknown, unknown>, settle, cancelled: false };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.waiting.push(entry);
      this.advance();
    });
  }

  /** Refuses new calls, lets the accepted ones finish, then runs `free`; every call of close() gets the same promise. */
  close(free: () => Promise<void>): Promise<void> {
    this.closing ??= this.drained().then(free);
    return this.closing;
  }

  private async drained(): Promise<void> {
    while (this.running !== undefined) await this.running;
  }

  private advance(): void {
    if (this.running === undefined) {
      const entry = this.waiting.shift();
      if (entry === undefined) return;
      const result = this.execute(entry);
      entry.settle(result);
      this.running = result
        .catch(() => undefined)
        .then(() => {
          this.running = undefined;
          this.advance();
        });
    }
    for (const entry of this.waiting.slice(0, lookahead)) this.prepare(entry);
  }

  private prepare(entry: Entry): Promise<unknown> {
    if (entry.prepared === undefined) {
      entry.prepared = entry.call.prepare();
      entry.prepared.catch(() => undefined); // reported when its turn comes
    }
    return entry.prepared;
  }

  private async execute(entry: Entry): Promise<unknown> {
    const prepared = await this.prepare(entry);
    if (entry.cancelled) throw abortError(entry.call.signal);
    return entry.call.run(prepared);
  }
}

export function closedError(): GmeError {
  return new GmeError("GME_MODEL_CLOSED", "the model has been closed");
}

/** The promise of a native job; the signal aborts it between graph nodes. */
export async function untilAborted<T>(job: { promise: Promise<T>; abort(): void }, signal?: AbortSignal): Promise<T> {
  const onAbort = () => job.abort();
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) job.abort();
  try {
    return await job.promise;
  } catch (error) {
    throw GmeError.from(error);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
