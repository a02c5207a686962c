import { GmeError } from "../../index";
import { isLoading, isRefusal, type ItemOutcome, runBatch } from "./batch-run";
import { restartedError, stoppingError } from "./busy-error";
import { type CrashItem, CrashRecord } from "./crash-record";
import type { EmbedCall, EmbeddedItem, EmbedService, ReadyItem, ServedModel, ServiceState } from "./embed-service";
import { EngineRate } from "./engine-rate";
import { type EngineHealth, EngineWatch } from "./engine-watch";
import { OpenRequest, reasonOf } from "./open-request";
import { groupOf, type ItemSize, type Lane, type QueuedItem, sizeOf } from "./queued-item";
import { type Batch, RunningBatches } from "./running-batches";
import { type ServiceSettings, serviceDefaults } from "./service-settings";
import { type QueueDepth, WorkQueue } from "./work-queue";

/** Batches that nobody waits for may still be with the engine for so long: then its process is ended. */
const leftMs = 30_000;
const maxLeft = 100;
/** Smaller batches gain nothing, however slow the engine seems to be. */
const leastBatchTokens = 256;
/** What a batch can be refused with at the library's door; anything else is the engine's trouble. */
const ofTheCall: readonly string[] = ["GME_OPTION_INVALID", "GME_INPUT_INVALID", "GME_MODEL_CLOSED"];

/** Requests → items that wait in their lanes → batches → the model → outcomes of the requests. */
export class BatchingService implements EmbedService {
  private readonly settings: ServiceSettings;
  private readonly queue: WorkQueue;
  private readonly running: RunningBatches;
  private readonly record = new CrashRecord();
  private readonly rate = new EngineRate();
  private readonly watch: EngineWatch;
  private readonly engines: number;
  private readonly open = new Set<OpenRequest>();
  private lastLane: Lane = "picture";
  /** A suspect is with the engine, alone. */
  private isAlone = false;
  private wasAlone = false;
  /** Batches that failed with the engine's process, until all that did are known. */
  private crash: { error: GmeError; batches: Batch[] } | undefined;
  /** Batches that were given up lately: one of them may yet end the engine's process. */
  private left: { batch: Batch; at: number }[] = [];
  private pumpTimer: NodeJS.Timeout | undefined;
  private stopping: Promise<void> | undefined;
  private stopTimer: NodeJS.Timeout | undefined;
  private onDrained: (() => void) | undefined;

  constructor(
    private readonly model: ServedModel,
    settings: Partial<ServiceSettings> = {},
  ) {
    this.settings = { ...serviceDefaults, ...settings };
    this.engines = model.info.device.split(",").length;
    this.queue = new WorkQueue(this.settings);
    this.running = new RunningBatches(this.engines, () => this.costPerMs());
    const listener = {
      crashed: (error: GmeError) => this.crashed(error),
      stuck: (error: GmeError) => this.giveUpRunning(error),
      changed: () => this.watchChanged(),
    };
    this.watch = new EngineWatch(model, this.settings, listener, () => this.running.expectedMs());
    this.settings.metrics?.observe(this);
  }

  get state(): ServiceState {
    if (this.stopping !== undefined) return "stopping";
    if (this.watch.isBroken) return "broken";
    return this.watch.isDown ? "restarting" : "ready";
  }

  /** Of the engine; a server that stops is not healthy either. */
  get health(): EngineHealth {
    const health = this.watch.health();
    return this.stopping === undefined ? health : { ...health, healthy: false, reason: "the server is stopping" };
  }

  get depth(): QueueDepth {
    return this.queue.depth;
  }

  get engineRestarts(): number {
    return this.watch.restarts;
  }

  async embed(items: readonly ReadyItem[], call: EmbedCall): Promise<EmbeddedItem[]> {
    if (call.signal.aborted) throw reasonOf(call.signal);
    this.checkState();
    if (items.length === 0) return [];
    const sizes = items.map((item) => sizeOf(item, this.model.info));
    const size = sumOf(sizes);
    this.queue.check(size, this.rate.perSecond);
    for (const item of items) if (this.record.isFatal({ ...item, overflow: call.overflow })) throw refusedError(item);
    const request = new OpenRequest(call, (settled) => this.settled(settled));
    const { client } = call;
    const group = groupOf(call);
    const queued = items.map((item, index): QueuedItem => {
      const lane = item.image === undefined ? "text" : "picture";
      return { ...sizes[index], request, index, item, lane, group, client, overflow: call.overflow, dimensions: call.dimensions, place: "neither", isSmall: false }; // biome-ignore format: one line says it
    });
    request.expect(queued);
    this.open.add(request);
    this.queue.add(queued, size.cost);
    this.pump();
    return request.outcome;
  }

  stop(graceMs: number): Promise<void> {
    clearTimeout(this.stopTimer);
    this.stopTimer = setTimeout(() => this.failAll(stoppingError()), graceMs);
    this.stopping ??= this.drain();
    // A later call may find everything done: its timer would keep the process alive.
    return this.stopping.finally(() => clearTimeout(this.stopTimer));
  }

  private async drain(): Promise<void> {
    await undefined; // first `stopping` is set: what waits does not begin
    for (const request of [...this.open]) if (!request.hasBegun) request.fail(stoppingError());
    if (this.open.size > 0) {
      await new Promise<void>((drained) => {
        this.onDrained = drained;
      });
    }
    clearTimeout(this.stopTimer);
    clearTimeout(this.pumpTimer);
    this.watch.stop();
  }

  private checkState(): void {
    const { state } = this;
    if (state === "stopping") throw stoppingError();
    if (state === "broken")
      throw restartedError(`${this.watch.health().reason}; it is tried again later`, this.settings.breakMs / 2000);
    if (state === "restarting") throw restartedError(`${this.watch.health().reason}; the request may be repeated`);
  }

  /** Gives the engine what it may have now. */
  private pump(): void {
    clearTimeout(this.pumpTimer);
    if (!this.watch.isUp || this.isAlone || this.crash !== undefined) return;
    const hasOthers = this.queue.has("text") || this.queue.has("picture");
    if (this.queue.hasLone && !(this.wasAlone && hasOthers)) {
      if (this.running.size > 0 || this.startLone()) return;
    }
    let wait = Infinity;
    for (let lane = this.nextLane(); lane !== undefined; lane = this.nextLane()) this.startNext(lane);
    if (this.running.size === 0 && this.startLone()) return; // the lanes held nothing but suspects
    for (const lane of ["text", "picture"] as const)
      if (this.queue.has(lane)) wait = Math.min(wait, this.running.waitMs(lane, performance.now()));
    if (wait < Infinity) this.pumpTimer = setTimeout(() => this.pump(), wait);
  }

  /** The lanes take turns. */
  private nextLane(): Lane | undefined {
    const lanes: Lane[] = this.lastLane === "text" ? ["picture", "text"] : ["text", "picture"];
    const now = performance.now();
    return lanes.find((lane) => this.queue.has(lane) && this.running.waitMs(lane, now) === 0);
  }

  private startNext(lane: Lane): void {
    this.lastLane = lane;
    const { maxBatchTokens, maxBatchPictureTokens, targetBatchMs } = this.settings;
    const most = lane === "text" ? maxBatchTokens : maxBatchPictureTokens;
    const rate = this.costPerMs();
    const limit = rate === undefined ? most : Math.min(most, Math.max(leastBatchTokens, rate * targetBatchMs));
    const taken = this.queue.take(lane, limit, rate);
    const clean: QueuedItem[] = [];
    for (const item of taken) {
      const deaths = this.record.deathsOf(crashItem(item));
      if (!item.request.isOpen) continue; // another item of it was refused just now
      if (deaths === 0) clean.push(item);
      else if (this.record.isFatal(crashItem(item))) item.request.fail(refusedError(item.item as ReadyItem));
      else this.queue.addLone(item);
    }
    const wanted = clean.filter(({ request }) => request.isOpen);
    if (wanted.length > 0) this.start(lane, wanted);
  }

  /** Returns false where there is none. */
  private startLone(): boolean {
    for (let item = this.queue.takeLone(); item !== undefined; item = this.queue.takeLone()) {
      if (this.record.isFatal(crashItem(item))) {
        item.request.fail(refusedError(item.item as ReadyItem));
        continue;
      }
      this.isAlone = true;
      this.start(item.lane, [item]);
      return true;
    }
    return false;
  }

  private start(lane: Lane, items: readonly QueuedItem[]): void {
    if (!this.isAlone) this.wasAlone = false;
    const cost = sumOf(items).cost;
    const startedAt = performance.now();
    const batch: Batch = { lane, items, cost, startedAt, abort: new AbortController(), wanted: items.length };
    for (const item of items) item.place = "engine";
    this.running.add(batch);
    this.watch.batchStarted();
    void this.run(batch);
  }

  private async run(batch: Batch): Promise<void> {
    const { items, abort } = batch;
    const { overflow, dimensions } = items[0];
    const options = { overflow, dimensions, signal: abort.signal };
    let failure: GmeError | undefined;
    try {
      await runBatch(this.model, items, options, (at, outcome) => this.itemDone(batch, items[at], outcome));
    } catch (error) {
      failure = GmeError.from(error);
    }
    this.ended(batch, failure);
  }

  private itemDone(batch: Batch, item: QueuedItem, outcome: ItemOutcome): void {
    const ready = item.item;
    if (this.record.size > 0 && ready !== undefined) this.record.clear(crashItem(item));
    if (item.place === "engine") batch.wanted--;
    item.place = "neither";
    item.item = undefined;
    if (outcome instanceof GmeError) item.request.fail(outcome);
    else item.request.fulfil(item.index, outcome);
  }

  private ended(batch: Batch, failure: GmeError | undefined): void {
    this.running.remove(batch);
    for (const item of batch.items) item.place = item.place === "engine" ? "neither" : item.place;
    const now = performance.now();
    if (failure === undefined) {
      this.rate.finished(batch.cost, batch.startedAt, now);
      this.left = this.left.filter(({ at }) => at > batch.startedAt);
    }
    this.watch.batchEnded(failure === undefined);
    this.settings.metrics?.batch(batch.lane, batch.items.length, (now - batch.startedAt) / 1000, sumOf(batch.items));
    if (this.isAlone) [this.isAlone, this.wasAlone] = [false, true];
    if (failure !== undefined && !batch.abort.signal.aborted) this.failed(batch, failure);
    this.pump();
  }

  private failed(batch: Batch, failure: GmeError): void {
    if (isRefusal(failure)) this.tryAlone(batch);
    else if (ofTheCall.includes(failure.code)) for (const { request } of batch.items) request.fail(failure);
    else this.crashed(failure, batch);
  }

  /** The library refuses the batch since these items ended two processes together; here each of them has its own record. */
  private tryAlone({ items }: Batch): void {
    for (const item of items) {
      if (!item.request.isOpen) continue;
      if (items.length === 1) item.request.fail(refusedError(item.item as ReadyItem));
      else this.queue.addLone(item);
    }
  }

  /** The engine's process ended. All batches that were with it fail in the same turn; the crash is one. */
  private crashed(error: GmeError, batch?: Batch): void {
    if (this.crash === undefined) {
      this.crash = { error, batches: [] };
      setImmediate(() => this.endCrash());
    }
    if (batch !== undefined) this.crash.batches.push(batch);
  }

  private endCrash(): void {
    const { error, batches } = this.crash as { error: GmeError; batches: Batch[] };
    this.crash = undefined;
    const items = batches.flatMap((batch) => batch.items).filter(({ item }) => item !== undefined);
    const left = this.left.filter(({ at }) => at > performance.now() - leftMs).flatMap(({ batch }) => batch.items);
    this.left = [];
    const suspects = isLoading(error) ? [] : [...items, ...left.filter(({ item }) => item !== undefined)];
    const digests = this.record.countDeaths(suspects.map(crashItem));
    this.watch.crashed();
    this.settings.onCrash?.({ reason: error.message, digests });
    const words = this.watch.isBroken ? this.watch.health().reason : "the engine's process ended and is started again";
    for (const { request } of items) request.fail(restartedError(words));
    if (this.stopping !== undefined) this.failAll(stoppingError());
    this.pump();
  }

  private giveUpRunning({ message }: GmeError): void {
    for (const { items } of [...this.running]) for (const { request } of items) request.fail(restartedError(message));
  }

  private watchChanged(): void {
    if (this.watch.isBroken) this.failAll(restartedError(this.watch.health().reason, this.settings.breakMs / 2000));
    this.pump();
  }

  private failAll(error: GmeError): void {
    for (const request of [...this.open]) request.fail(error);
  }

  /** Nobody waits for the request any more: what waits is dropped, a batch of which nothing is wanted is stopped. */
  private settled(request: OpenRequest): void {
    this.open.delete(request);
    for (const item of request.items) {
      if (item.place === "queue") this.queue.drop(item);
      const batch = item.place === "engine" ? this.running.of(item) : undefined;
      item.place = "neither";
      if (batch !== undefined && --batch.wanted === 0) this.abandon(batch);
    }
    if (this.open.size === 0) this.onDrained?.();
    else if (request.items.length > 0) this.pump();
  }

  private abandon(batch: Batch): void {
    this.left = [...this.left, { batch, at: performance.now() }].slice(-maxLeft);
    batch.abort.abort();
  }

  private costPerMs(): number | undefined {
    const { perSecond } = this.rate;
    return perSecond === undefined ? undefined : perSecond / 1000 / this.engines;
  }
}

function crashItem({ item, overflow }: QueuedItem): CrashItem {
  return { ...(item as ReadyItem), overflow };
}

function sumOf(sizes: readonly ItemSize[]): ItemSize {
  const sum = { tokens: 0, pixels: 0, bytes: 0, cost: 0 };
  for (const { tokens, pixels, bytes, cost } of sizes) {
    sum.tokens += tokens;
    sum.pixels += pixels;
    sum.bytes += bytes;
    sum.cost += cost;
  }
  return sum;
}

function refusedError({ field }: ReadyItem): GmeError {
  const words = `${field} ended the engine's process twice and is not tried again`;
  return new GmeError("GME_ITEM_REFUSED", words, { field, expected: "an item that the engine survives" });
}
