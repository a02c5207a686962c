import { type CallRequest, digestOf } from "./call-request";

/** A call on its way through the engine's process. */
export interface WaitingCall {
  readonly request: CallRequest;
}

/** So many calls are with the process at once: the one that runs, and two whose pictures are decoded meanwhile. */
const window = 3;
/** Requests that were with a process when it died; the oldest is forgotten. */
const maxSuspects = 1_000;
/** So many processes that ended over a request are no chance any more. */
const fatalDeaths = 2;

/** Requests that were with a process when it died, and how often. */
export class CallRecord {
  private readonly deaths = new Map<string, number>();

  deathsOf(request: CallRequest): number {
    return this.deaths.size === 0 ? 0 : (this.deaths.get(digestOf(request)) ?? 0);
  }

  /** Whether the request ended two processes. */
  isFatal(request: CallRequest): boolean {
    return this.deathsOf(request) >= fatalDeaths;
  }

  clear(request: CallRequest): void {
    if (this.deaths.size > 0) this.deaths.delete(digestOf(request));
  }

  countDeath(request: CallRequest): void {
    const digest = digestOf(request);
    const times = (this.deaths.get(digest) ?? 0) + 1;
    this.deaths.delete(digest); // anew at the end: the one that is longest ago goes first
    this.deaths.set(digest, times);
    if (this.deaths.size > maxSuspects) this.deaths.delete(this.deaths.keys().next().value as string);
  }
}

/**
 * Which calls the engine's process is given when: in their order, a few at a time. A request that was there when a process
 * died goes alone from then on, so that the next death is surely its own and one that did no harm is cleared.
 */
export class CallLine<Call extends WaitingCall> {
  private waiting: Call[] = [];
  private readonly sent = new Set<Call>();
  private isAlone = false;

  constructor(private readonly record: CallRecord) {}

  get hasWaiting(): boolean {
    return this.waiting.length > 0;
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0 && this.sent.size === 0;
  }

  add(call: Call): void {
    this.waiting.push(call);
  }

  /** What may be sent now. */
  next(): Call[] {
    const calls: Call[] = [];
    while (this.waiting.length > 0 && this.sent.size < window) {
      const isSuspect = this.record.deathsOf(this.waiting[0].request) > 0;
      if ((isSuspect || this.isAlone) && this.sent.size > 0) break;
      const call = this.waiting.shift() as Call;
      this.isAlone = isSuspect;
      this.sent.add(call);
      calls.push(call);
    }
    return calls;
  }

  /** The process has answered: the request is cleared of what happened while it was there. */
  done(call: Call): void {
    this.sent.delete(call);
    this.record.clear(call.request);
  }

  /** Nobody waits for the call any more. Returns false where the process has it. */
  drop(call: Call): boolean {
    const at = this.waiting.indexOf(call);
    if (at >= 0) this.waiting.splice(at, 1);
    return at >= 0;
  }

  /** Whether the request ended two processes. */
  isFatal(request: CallRequest): boolean {
    return this.record.isFatal(request);
  }

  /** The process died: the calls that it had. */
  crashed(): Call[] {
    const calls = [...this.sent];
    this.sent.clear();
    this.isAlone = false;
    for (const { request } of calls) this.record.countDeath(request);
    return calls;
  }

  /** All calls that were not sent yet; they are forgotten. */
  takeWaiting(): Call[] {
    const calls = this.waiting;
    this.waiting = [];
    return calls;
  }
}
