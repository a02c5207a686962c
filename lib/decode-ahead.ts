import type { NativeImage } from "./binding";
import { abortError, GmeError } from "./errors";
import type { CheckedInput } from "./input";

/** What is pulled from a source; without `image` there is nothing to decode. */
interface AheadInput {
  id?: string | number;
  image?: unknown;
}

/** An item ready for the engine, or what is wrong with it. */
export interface ReadyItem<Input extends AheadInput = CheckedInput, Picture extends NativeImage = NativeImage> {
  index: number;
  id?: string | number;
  input?: Input;
  image?: Picture;
  error?: GmeError;
}

export interface DecodeAheadSettings<
  Input extends AheadInput = CheckedInput,
  Picture extends NativeImage = NativeImage,
> {
  /** The checked input, or throws. */
  read(value: unknown, index: number): Input;
  /** `signal` is aborted when the picture is no longer wanted. */
  decode(input: Input, signal: AbortSignal): Promise<Picture | undefined>;
  batchSize: number;
  /** How long a begun chunk waits for more items before it goes as it is; Infinity: chunks are always full, but for hurry(). */
  patienceMs: number;
  /** Pixels that may lie decoded and not yet released; beyond it at most the pictures being decoded come on top. */
  pixelBudget?: number;
  /** A chunk takes no further item once it has so many pixels. */
  chunkPixels?: number;
  /** A picture counts in its chunk as so many pixels at least: small ones are enlarged. */
  leastPixels?: number;
  signal?: AbortSignal;
}

interface Entry<Input extends AheadInput, Picture extends NativeImage> {
  state: "waiting" | "decoding" | "ready";
  ready: ReadyItem<Input, Picture>;
}

/** Beside the chunk that the engine holds, the next photographs of 12 million pixels are decoded while it runs. */
const defaultPixelBudget = 48e6;
/** Such photographs go one by one: the engine begins with the first, and no call copies more than it needs at once. */
const defaultChunkPixels = 12e6;
const decodesAtOnce = 2;
/** Items with pictures that may wait: each may hold megabytes, be it encoded or pixels. */
const picturesAhead = 16;
/** Even in a hurry a chunk waits for the items that the source has at hand. */
const hurriedMs = 1;

/** Pulls items from a source, decodes their pictures ahead of the engine within bounds, and hands them out in order as chunks. */
export class DecodeAhead<Input extends AheadInput = CheckedInput, Picture extends NativeImage = NativeImage> {
  private readonly entries: Entry<Input, Picture>[] = [];
  private decoding = 0;
  private heldPixels = 0;
  private ended = false;
  private pulling = false;
  private hurried = false;
  private failure: GmeError | undefined;
  private readonly pixelBudget: number;
  private readonly chunkPixels: number;
  private readonly listeners = new Set<() => void>();
  private readonly unwanted = new AbortController();

  constructor(
    private readonly source: AsyncIterator<unknown> | Iterator<unknown>,
    private readonly settings: DecodeAheadSettings<Input, Picture>,
  ) {
    this.pixelBudget = settings.pixelBudget ?? defaultPixelBudget;
    this.chunkPixels = settings.chunkPixels ?? defaultChunkPixels;
    settings.signal?.addEventListener("abort", this.onAbort, { once: true });
    void this.pump();
  }

  /** The next items in order, at most a batch of them; none: the source has ended. A failing source rejects, after its last item. */
  async nextChunk(): Promise<ReadyItem<Input, Picture>[]> {
    const chunk: ReadyItem<Input, Picture>[] = [];
    let pixels = 0;
    let deadline = Date.now() + this.settings.patienceMs;
    let begun = Infinity;
    const full = () => chunk.length === this.settings.batchSize || pixels >= this.chunkPixels;
    for (;;) {
      while (!full() && this.entries[0]?.state === "ready") {
        const { ready } = this.entries.shift() as Entry<Input, Picture>;
        chunk.push(ready);
        if (ready.image !== undefined) pixels += Math.max(this.settings.leastPixels ?? 0, pixelsOf(ready));
        this.changed();
      }
      if (chunk.length > 0) begun = Math.min(begun, Date.now());
      if (this.hurried) deadline = Math.min(deadline, begun + hurriedMs);
      if (this.settings.signal?.aborted) throw abortError(this.settings.signal);
      const isOver = this.ended && this.entries.length === 0;
      if (isOver && chunk.length === 0 && this.failure !== undefined) throw this.failure;
      const left = chunk.length === 0 ? Infinity : deadline - Date.now();
      if (isOver || full() || left <= 0) {
        this.hurried = false;
        return chunk;
      }
      await this.change(left);
    }
  }

  /** The engine has nothing to do: the next chunk goes as soon as it has an item. */
  hurry(): void {
    this.hurried = true;
    this.changed();
  }

  /** The engine has copied the chunk's pictures: others may be decoded. */
  release(chunk: readonly ReadyItem<Input, Picture>[]): void {
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
    try {
      for (let index = 0; !this.ended; index++) {
        while (this.isFarAhead() && !this.ended) await this.change(Infinity);
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

  private isFarAhead(): boolean {
    const pictures = this.entries.filter(({ ready }) => ready.input?.image !== undefined);
    return this.entries.length >= this.settings.batchSize * 2 || pictures.length >= picturesAhead;
  }

  private entryOf(value: unknown, index: number): Entry<Input, Picture> {
    try {
      const input = this.settings.read(value, index);
      const ready: ReadyItem<Input, Picture> = { index, input };
      if (input.id !== undefined) ready.id = input.id;
      return { state: input.image === undefined ? "ready" : "waiting", ready };
    } catch (error) {
      const ready: ReadyItem<Input, Picture> = { index, error: GmeError.from(error, "GME_INPUT_INVALID") };
      const id = idOf(value);
      if (id !== undefined) ready.id = id;
      return { state: "ready", ready };
    }
  }

  private startDecodes(): void {
    for (const entry of this.entries) {
      if (this.decoding >= decodesAtOnce || this.heldPixels >= this.pixelBudget) return;
      if (entry.state === "waiting") void this.decode(entry);
    }
  }

  private async decode(entry: Entry<Input, Picture>): Promise<void> {
    const { ready } = entry;
    entry.state = "decoding";
    this.decoding++;
    try {
      ready.image = await this.settings.decode(ready.input as Input, this.unwanted.signal);
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

function pixelsOf({ image }: { image?: NativeImage }): number {
  return image === undefined ? 0 : image.width * image.height;
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
