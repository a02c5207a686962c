import { GmeError } from "../../index";
import { BusyError } from "./busy-error";
import { FairLane } from "./fair-lane";
import type { ItemSize, Lane, QueuedItem } from "./queued-item";
import type { ServiceSettings } from "./service-settings";

/** What waits. */
export interface QueueDepth extends ItemSize {
  readonly items: number;
}

/** In tokens of text: some twenty short texts in a row. */
const longestTurn = 512;
/**
 * While clients come who ask for little, those who ask for much get so much of a batch, or what takes so long, but an item at least: the
 * others do not wait for full ones.
 */
const shareBesideSmall = 256;
const shareBesideSmallMs = 25;
const smallMs = 2_000;

/** Items that wait for the engine: bounded, in a lane for texts and one for pictures, and apart those that must run alone. */
export class WorkQueue {
  private readonly lanes = { text: new FairLane<QueuedItem>(), picture: new FairLane<QueuedItem>() };
  private lone: QueuedItem[] = [];
  /** When a client that had nothing else waiting asked for little. */
  private lastSmall = { at: Number.NEGATIVE_INFINITY, client: "" };
  private readonly sum = { items: 0, tokens: 0, pixels: 0, bytes: 0, cost: 0 };

  constructor(private readonly settings: ServiceSettings) {}

  get depth(): QueueDepth {
    return this.sum;
  }

  get hasLone(): boolean {
    return this.lone.length > 0;
  }

  has(lane: Lane): boolean {
    return this.lanes[lane].length > 0;
  }

  /** Throws GME_QUEUE_FULL, or GME_INPUT_INVALID for what could never be accepted. `rate`: cost per second, as far as it is known. */
  check(size: ItemSize, rate: number | undefined): void {
    const { sum, settings } = this;
    const bounds = [
      [sum.tokens, size.tokens, settings.maxQueuedTokens, "tokens (estimated)"],
      [sum.pixels, size.pixels, settings.maxQueuedPixels, "pixels"],
      [sum.bytes, size.bytes, settings.maxQueuedBytes, "bytes of pictures"],
    ] as const;
    const waitSeconds = rate === undefined ? 1 : sum.cost / rate;
    for (const [, wanted, most, unit] of bounds) if (wanted > most) throw tooLarge(wanted, most, unit);
    for (const [waiting, wanted, most, unit] of bounds) {
      if (waiting + wanted > most) throw full(`${waiting} ${unit} wait, and at most ${most} may`, waitSeconds);
    }
    // A rate measured on single texts says little of a batch: half a batch may always wait.
    const isMuch = sum.cost > settings.maxBatchTokens / 2;
    if (isMuch && rate !== undefined && waitSeconds > settings.maxWaitSeconds)
      throw full(`what waits takes about ${Math.ceil(waitSeconds)} s, and at most ${settings.maxWaitSeconds} s may wait`, waitSeconds); // biome-ignore format: one line says it
  }

  add(items: readonly QueuedItem[], cost: number): void {
    const isSmall = cost <= longestTurn && !items.some(({ lane, client }) => this.lanes[lane].isWaiting(client));
    if (isSmall) this.lastSmall = { at: performance.now(), client: items[0].client };
    for (const item of items) {
      item.isSmall = isSmall;
      item.place = "queue";
      this.count(item, 1);
      this.lanes[item.lane].add(item);
    }
  }

  /** An item that was taken and must run alone. */
  addLone(item: QueuedItem): void {
    item.place = "queue";
    this.count(item, 1);
    this.lone.push(item);
  }

  /** Items of one group for the next batch; none: the lane is empty. `costPerMs`: what an engine does, as far as it is known. */
  take(lane: Lane, maxTokens: number, costPerMs = Infinity): QueuedItem[] {
    let group: string | undefined;
    let [tokens, large] = [0, 0];
    const isShared = performance.now() - this.lastSmall.at < smallMs;
    const most = isShared ? Math.min(shareBesideSmall, costPerMs * shareBesideSmallMs) : Infinity;
    const turnCost = Math.min(longestTurn, maxTokens / 4);
    const taken = this.lanes[lane].take(this.settings.maxBatchItems, turnCost, (item) => {
      group ??= item.group;
      if (item.group !== group || (tokens > 0 && tokens + item.tokens > maxTokens)) return false;
      const isLarge = !item.isSmall && item.client !== this.lastSmall.client;
      if (isLarge && large > 0 && large + item.cost > most) return false;
      if (isLarge) large += item.cost;
      tokens += item.tokens;
      return true;
    });
    for (const item of taken) this.leave(item);
    return taken;
  }

  takeLone(): QueuedItem | undefined {
    const item = this.lone.shift();
    if (item !== undefined) this.leave(item);
    return item;
  }

  /** Nobody waits for it any more. */
  drop(item: QueuedItem): void {
    item.item = undefined;
    this.leave(item);
    const at = this.lone.indexOf(item);
    if (at >= 0) this.lone.splice(at, 1);
    else this.lanes[item.lane].dropped(item);
  }

  private leave(item: QueuedItem): void {
    item.place = "neither";
    this.count(item, -1);
  }

  private count({ tokens, pixels, bytes, cost }: QueuedItem, sign: 1 | -1): void {
    this.sum.items += sign;
    this.sum.tokens += sign * tokens;
    this.sum.pixels += sign * pixels;
    this.sum.bytes += sign * bytes;
    this.sum.cost += sign * cost;
  }
}

function tooLarge(wanted: number, most: number, unit: string): GmeError {
  return new GmeError("GME_INPUT_INVALID", `the request has ${wanted} ${unit}, and at most ${most} may wait at all`, {
    field: "input",
    value: wanted,
    expected: `at most ${most} ${unit}`,
  });
}

/** Half of it is done when half the time has passed: then there is room again. */
function full(words: string, waitSeconds: number): BusyError {
  return new BusyError("GME_QUEUE_FULL", `the queue is full: ${words}`, Math.min(60, waitSeconds / 2));
}
