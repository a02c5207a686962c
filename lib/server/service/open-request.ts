import { GmeError } from "../../index";
import type { EmbedCall, EmbeddedItem } from "./embed-service";
import type { QueuedItem } from "./queued-item";

/** A request that was accepted: its items, the outcomes so far, and the promise of its caller. */
export class OpenRequest {
  readonly outcome: Promise<EmbeddedItem[]>;
  items: readonly QueuedItem[] = [];
  private readonly done: EmbeddedItem[] = [];
  private left = 0;
  private resolve!: (items: EmbeddedItem[]) => void;
  private reject!: (error: GmeError) => void;
  private isSettled = false;

  constructor(
    private readonly call: EmbedCall,
    /** Told once, when nobody waits for the items any more. */
    private readonly onSettled: (request: OpenRequest) => void,
  ) {
    this.outcome = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    call.signal.addEventListener("abort", this.onAbort, { once: true });
  }

  get isOpen(): boolean {
    return !this.isSettled;
  }

  /** Whether something of it runs or is done. */
  get hasBegun(): boolean {
    return this.left < this.items.length || this.items.some(({ place }) => place === "engine");
  }

  expect(items: readonly QueuedItem[]): void {
    this.items = items;
    this.left = items.length;
  }

  fulfil(index: number, outcome: EmbeddedItem): void {
    if (this.isSettled) return;
    this.done[index] = outcome;
    if (--this.left > 0) return;
    this.settle();
    this.resolve(this.done);
  }

  fail(error: GmeError): void {
    if (this.isSettled) return;
    this.settle();
    this.reject(error);
  }

  private readonly onAbort = () => this.fail(reasonOf(this.call.signal));

  private settle(): void {
    this.isSettled = true;
    this.call.signal.removeEventListener("abort", this.onAbort);
    this.onSettled(this);
  }
}

export function reasonOf({ reason }: AbortSignal): GmeError {
  if (reason instanceof GmeError) return reason;
  return new GmeError("GME_ABORTED", "the request was given up", { cause: reason });
}
