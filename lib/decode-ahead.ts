import type { NativeImage } from "./binding";
import { abortError, GmeError } from "./errors";
import type { CheckedInput } from "./input";

/** An item ready for the engine, or what is wrong with it. */
export interface ReadyItem {
  index: number;
  id?: string | number;
  input?: CheckedInput;
  image?: NativeImage;
  error?: GmeError;
}

export interface DecodeAheadSettings {
  /** The checked input, or throws. */
  read(value: unknown, index: number): CheckedInput;
  /** `signal` is aborted when the picture is no longer wanted. */
  decode(input: CheckedInput, signal: AbortSignal): Promise<NativeImage | undefined>;
  batchSize: number;
  /** How long a begun chunk waits for more items before it goes as it is; Infinity: chunks are always full. */
  patienceMs: number;
  signal?: AbortSignal;
}

interface Entry {
  state: "waiting" | "decoding" | "ready";
  ready: ReadyItem;
}

/** Pixels that may lie decoded and not yet taken by the engine; beyond it at most the pictures being decoded come on top. */
const pixelBudget = 64e6;
const decodesAtOnce = 2;

/** Pulls items from a source, decodes their pictures ahead of the engine within bounds, and hands them out in order as chunks. */
export class DecodeAhead {
  private readonly entries: Entry[] = [];
  private decoding = 0;
  private heldPixels = 0;
  private ended = false;
  private pulling = false;
  private failure: GmeError | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly unwanted = new AbortController();

  constructor(
    private readonly source: AsyncIterator<unknown> | Iterator<unknown>,
    private readonly settings: DecodeAheadSettings,
  ) {
    settings.signal?.addEventListener("abort", this.onAbort, { once: true });
    void this.pump();
  }

  /** The next items in order, at most a batch of them; none: the source has ended. A failing source rejects, after its last item. */
  async nextChunk(): Promise<ReadyItem[]> {
    const chunk: ReadyItem[] = [];
    let pixels = 0;
    const deadline = Date.now() + this.settings.patienceMs;
    for (;;) {
      while (chunk.length < this.settings.batchSize && pixels < pixelBudget && this.entries[0]?.state === "ready") {
        const { ready } = this.entries.shift() as Entry;
        chunk.push(ready);
        pixels += pixelsOf(ready);
        this.changed();
      }
      if (this.settings.signal?.aborted) throw abortError(this.settings.signal);
      if (chunk.length === this.settings.batchSize || pixels >= pixelBudget) return chunk;
      if (this.ended && this.entries.length === 0) {
        if (chunk.length === 0 && this.failure !== undefined) throw this.failure;
        return chunk;
      }
      const left = chunk.length === 0 ? Infinity : deadline - Date.now();
      if (left <= 0) return chunk;
      await this.change(left);
    }
  }

  /** The engine has copied the chunk's pictures: others may be decoded. */
  release(chunk: readonly ReadyItem[]): void {
    for (const ready of chunk) {
      this.heldPixels -= pixelsOf(ready);
      ready.image = undefined;
    }
    this.startDecodes();
  }

  /** Ends early; tells the source. */
  async stop(): Promise<void> {
    this.settings.signal?.removeEventListener("abort", this.onAbort);
    this.ended = true;
    this.unwanted.abort();
    this.entries.length = 0;
    this.changed();
    const returned = Promise.resolve(this.source.return?.());
    if (!this.pulling) await returned;
    else returned.catch(() => undefined); // a generator that waits for its own input answers only after it came
  }

  private readonly onAbort = (): void => {
    this.ended = true;
    this.unwanted.abort();
    this.changed();
  };

  private async pump(): Promise<void> {
    const window = this.settings.batchSize * 2;
    try {
      for (let index = 0; !this.ended; index++) {
        while (this.entries.length >= window && !this.ended) await this.change(Infinity);
        if (this.ended) break;
        this.pulling = true;
        const next = await this.source.next();
        this.pulling = false;
        if (next.done || this.ended) break;
        this.entries.push(this.entryOf(next.value, index));
        this.startDecodes();
        this.changed();
      }
    } catch (error) {
      this.pulling = false;
      this.failure = GmeError.from(error, "GME_INPUT_INVALID");
    }
    this.ended = true;
    this.changed();
  }

  private entryOf(value: unknown, index: number): Entry {
    try {
      const input = this.settings.read(value, index);
      const ready: ReadyItem = { index, input };
      if (input.id !== undefined) ready.id = input.id;
      return { state: input.image === undefined ? "ready" : "waiting", ready };
    } catch (error) {
      const ready: ReadyItem = { index, error: GmeError.from(error, "GME_INPUT_INVALID") };
      const id = idOf(value);
      if (id !== undefined) ready.id = id;
      return { state: "ready", ready };
    }
  }

  private startDecodes(): void {
    for (const entry of this.entries) {
      if (this.decoding >= decodesAtOnce || this.heldPixels >= pixelBudget) return;
      if (entry.state === "waiting") void this.decode(entry);
    }
  }

  private async decode(entry: Entry): Promise<void> {
    const { ready } = entry;
    entry.state = "decoding";
    this.decoding++;
    try {
      ready.image = await this.settings.decode(ready.input as CheckedInput, this.unwanted.signal);
    } catch (error) {
      ready.error = GmeError.from(error, "GME_IMAGE_CORRUPT");
    }
    this.heldPixels += pixelsOf(ready);
    this.decoding--;
    entry.state = "ready";
    this.startDecodes();
    this.changed();
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener();
  }

  private change(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        this.listeners.delete(finish);
        clearTimeout(timer);
        resolve();
      };
      const timer = milliseconds === Infinity ? undefined : setTimeout(finish, milliseconds);
      this.listeners.add(finish);
    });
  }
}

function pixelsOf(ready: ReadyItem): number {
  return ready.image === undefined ? 0 : ready.image.width * ready.image.height;
}

/** The id of an item that is otherwise unusable, so that its error can be told apart. */
function idOf(value: unknown): string | number | undefined {
  try {
    const id = typeof value === "object" && value !== null ? (value as { id?: unknown }).id : undefined;
    return typeof id === "string" || typeof id === "number" ? id : undefined;
  } catch {
    return undefined;
  }
}
