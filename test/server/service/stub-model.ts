import type { EmbedOptions, EmbedResult, EngineProcessReport, GmeInput, ModelInfo } from "../../../lib";
import { GmeError } from "../../../lib";
import type { EmbedCall, ReadyItem, ServedModel } from "../../../lib/server/service/embed-service";

/** What the stub was asked to compute in one call. */
export interface StubBatch {
  readonly texts: readonly string[];
  readonly pictures: number;
  readonly options: EmbedOptions;
  wasAborted: boolean;
}

export interface StubSettings {
  /** Of a call, beside its items. */
  readonly callMs?: number;
  readonly textMs?: number;
  readonly pictureMs?: number;
}

/** A model that computes one call after the other and takes a known time for it. Vectors hold the length of the text. */
export class StubModel implements ServedModel {
  readonly dimensions = 4;
  readonly info = {
    device: "cpu",
    limits: { maxTokens: 32_768 },
    defaults: { instruction: "You are a helpful assistant.", minImageTokens: 256, maxImageTokens: 1280 },
  } as unknown as ModelInfo;
  readonly batches: StubBatch[] = [];
  probes = 0;
  /** Calls wait until it is resolved. */
  gate: Promise<void> = Promise.resolve();
  /** What a call rejects with, if anything. */
  fault: ((batch: StubBatch) => GmeError | undefined) | undefined;
  /** Processes that ended. */
  ends = 0;
  private last: Promise<unknown> = Promise.resolve();

  constructor(readonly settings: StubSettings = {}) {}

  engineProcesses(): EngineProcessReport[] {
    return [{ state: "ready", silentMs: 0, ends: this.ends }];
  }

  async *embedMany(
    source: Iterable<GmeInput>,
    options: EmbedOptions = {},
  ): AsyncGenerator<EmbedResult, void, undefined> {
    const items = [...source].map((input) => (typeof input === "string" ? { text: input } : input));
    const texts = items.map(({ text }) => text ?? "");
    const pictures = items.filter((item) => "image" in item).length;
    const batch: StubBatch = { texts, pictures, options, wasAborted: false };
    const isProbe = /^health \d+$/.test(texts[0]);
    if (isProbe) this.probes++;
    else this.batches.push(batch);
    const turn = this.last.then(() => this.compute(batch, isProbe));
    this.last = turn.catch(() => undefined);
    await turn;
    for (const [index, text] of texts.entries()) {
      if (text.includes("bad"))
        yield { index, error: new GmeError("GME_TEXT_TOO_LONG", `inputs[${index}].text is too long`, { field: `inputs[${index}].text`, value: 9, expected: "at most 8" }) }; // biome-ignore format: one line says it
      else yield { index, embedding: Float32Array.of(text.length, 0, 0, 1), tokens: { text: 1, image: 0, total: 28 } };
    }
  }

  private async compute(batch: StubBatch, isProbe: boolean): Promise<void> {
    const { callMs = 0, textMs = 0, pictureMs = 0 } = this.settings;
    const { signal } = batch.options;
    const aborted = () => new GmeError("GME_ABORTED", "the call was aborted");
    if (signal?.aborted) {
      batch.wasAborted = true;
      throw aborted();
    }
    if (!isProbe) await this.gate;
    const ms = isProbe ? 0 : callMs + textMs * (batch.texts.length - batch.pictures) + pictureMs * batch.pictures;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      const onAbort = () => {
        batch.wasAborted = true;
        clearTimeout(timer);
        reject(aborted());
      };
      if (signal?.aborted) onAbort();
      signal?.addEventListener("abort", onAbort, { once: true });
    });
    const error = this.fault?.(batch);
    if (error !== undefined) throw error;
  }
}

export function texts(count: number, word = "text"): ReadyItem[] {
  return Array.from({ length: count }, (_, i) => ({ field: `input[${i}]`, text: `${word} ${i}`, pixels: 0 }));
}

export function picture(pixels: number, bytes = 100): ReadyItem {
  return { field: "input[0]", image: new Uint8Array(bytes), pixels };
}

export function call(client = "a", more: Partial<EmbedCall> = {}): EmbedCall {
  return { client, overflow: "error", signal: new AbortController().signal, ...more };
}
