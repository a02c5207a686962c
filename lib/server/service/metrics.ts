import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EngineHealth } from "./engine-watch";
import type { ItemSize, Lane } from "./queued-item";
import type { QueueDepth } from "./work-queue";

/** What the gauges are read from when somebody asks. */
export interface MeasuredService {
  readonly depth: QueueDepth;
  readonly health: EngineHealth;
  readonly engineRestarts: number;
}

/** One request that was answered. Names of models and keys are not here: what a client can choose freely is no label. */
export interface AnsweredRequest {
  /** The route's pattern, not the path that was asked for. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  /** Of an error. */
  readonly code?: string;
}

const secondBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const sizeBuckets = [1, 2, 4, 8, 16, 32, 64];

/** The figures of one server, in a registry of its own. */
export class ServerMetrics {
  private readonly registry = new Registry();
  private service: MeasuredService | undefined;
  private readonly requests = this.counter("requests_total", "requests that were answered", ["route", "status"]);
  private readonly refusals = this.counter("refusals_total", "requests that were answered with an error", ["code"]);
  private readonly requestSeconds = this.histogram("request_seconds", "from a request to its answer", ["route"], secondBuckets); // biome-ignore format: one line says it
  private readonly items = this.counter("items_total", "items that were handed to the engine", ["kind"]);
  private readonly tokens = this.counter("tokens_total", "tokens of items handed to the engine, estimated", []);
  private readonly pixels = this.counter("pixels_total", "pixels of pictures handed to the engine", []);
  private readonly batchItems = this.histogram("batch_items", "items of a batch", ["kind"], sizeBuckets);
  private readonly batchSeconds = this.histogram("batch_seconds", "from a batch's start to its end", ["kind"], secondBuckets); // biome-ignore format: one line says it

  constructor() {
    const depth = (name: keyof QueueDepth) => () => this.service?.depth[name] ?? 0;
    this.gauge("queue_items", "items that wait", depth("items"));
    this.gauge("queue_tokens", "tokens that wait, estimated", depth("tokens"));
    this.gauge("queue_pixels", "pixels that wait", depth("pixels"));
    this.gauge("queue_bytes", "bytes of encoded pictures that wait", depth("bytes"));
    this.gauge("engine_ends", "processes of the engine that ended", () => this.service?.engineRestarts ?? 0);
    this.gauge("healthy", "1 while the engine answers", () => (this.service?.health.healthy ? 1 : 0));
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  observe(service: MeasuredService): void {
    this.service = service;
  }

  answered({ route, status, seconds, code }: AnsweredRequest): void {
    this.requests.inc({ route, status });
    this.requestSeconds.observe({ route }, seconds);
    if (code !== undefined) this.refusals.inc({ code });
  }

  batch(kind: Lane, items: number, seconds: number, size: ItemSize): void {
    this.items.inc({ kind }, items);
    this.tokens.inc(size.tokens);
    this.pixels.inc(size.pixels);
    this.batchItems.observe({ kind }, items);
    this.batchSeconds.observe({ kind }, seconds);
  }

  private counter(name: string, help: string, labelNames: string[]): Counter {
    return new Counter({ name: `gme_${name}`, help, labelNames, registers: [this.registry] });
  }

  private histogram(name: string, help: string, labelNames: string[], buckets: number[]): Histogram {
    return new Histogram({ name: `gme_${name}`, help, labelNames, buckets, registers: [this.registry] });
  }

  private gauge(name: string, help: string, read: () => number): void {
    const registers = [this.registry];
    new Gauge({
      name: `gme_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
}
