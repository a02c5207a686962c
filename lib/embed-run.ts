import type { NativeEmbedParams, NativeItem, NativeModel } from "./binding";
import { DecodeAhead, type ReadyItem } from "./decode-ahead";
import { cutEmbedding } from "./embedding";
import { badArgument, GmeError } from "./errors";
import { type DecodeSettings, decodeImage } from "./image-decode";
import { type CheckedInput, describeUnread, type GmeInput, readInput } from "./input";
import type { TokenCount } from "./model-work";
import type { EmbedOptions, ReadEmbedOptions } from "./options";
import type { RemotePolicy } from "./remote-image";
import { type CallQueue, type QueuedCall, untilAborted } from "./queue";

/** What a call needs of its model. */
export interface EngineAccess {
  readonly native: NativeModel;
  readonly queue: CallQueue;
  readonly decode: DecodeSettings;
  /** For pictures at http(s) addresses; absent: they are refused. */
  readonly remote?: RemotePolicy;
  readonly dimensions: number;
  /** The tower runs on a device: chunks of pictures are larger. */
  readonly onDevice?: boolean;
}

/** One result of embedMany: the vector or what was wrong with the item. */
export type EmbedResult =
  | {
      index: number;
      id?: string | number;
      embedding: Float32Array;
      /** With the option `countTokens`. */
      tokens?: TokenCount;
      error?: undefined;
    }
  | { index: number; id?: string | number; error: GmeError; embedding?: undefined };

/** A stream's begun chunk waits this long for more items, so that a slow source still gets its answers at once. */
export const streamPatienceMs = 50;
/**
 * A chunk takes no further item once it has so many pixels: a large picture goes alone, three of 640×480 go together. Each of them keeps a
 * large model busy for seconds, so that a chunk of 64 would leave a stream without a result for minutes, and pictures hardly gain from
 * sharing a pass, as texts do.
 */
const chunkPixels = 0.9e6;
/** 32 of the smallest pictures at once, so that a batch is one pass of the tower; not measured on a card so far. */
const deviceChunkPixels = 6.4e6;
/** What a small picture is enlarged to: 256 tokens of 28×28, if the model's file says nothing else. */
const leastPixels = 256 * 28 * 28;

export function nativeParams(options: ReadEmbedOptions): NativeEmbedParams {
  return { overflow: options.overflow, parseSpecial: options.specialTokens === "parse", batchTokens: 0 };
}

/** A document always has the default instruction; a query its item's prompt, else the call's instruction, else the default. */
export function instructionOf(
  input: CheckedInput,
  options: Pick<EmbedOptions, "instruction" | "isQuery">,
): string | undefined {
  return options.isQuery === false ? undefined : (input.prompt ?? options.instruction);
}

/** Where a part of a batch stands in the whole. */
export interface BatchPlace {
  readonly first: number;
  readonly total: number;
}

/** The call behind embed and embedBatch: pictures are decoded a chunk ahead of the engine; vectors in the order of `inputs`. */
export function batchCall(
  access: EngineAccess,
  inputs: CheckedInput[],
  options: ReadEmbedOptions,
  { first: place, total }: BatchPlace = { first: 0, total: inputs.length },
): QueuedCall<ReadyItem[], Float32Array[]> {
  let ahead: DecodeAhead | undefined;
  const prepare = () => {
    ahead = openAhead(access, inputs[Symbol.iterator](), (value) => value as CheckedInput, options, Infinity);
    return ahead.nextChunk();
  };
  const run = async (first: ReadyItem[]) => {
    const source = ahead as DecodeAhead;
    const vectors: Float32Array[] = [];
    try {
      for (let chunk = first; chunk.length > 0; ) {
        const bad = chunk.find((ready) => ready.error !== undefined);
        if (bad?.error !== undefined) throw total > 1 ? bad.error.forItem(place + bad.index) : bad.error;
        const next = { chunk: undefined as Promise<ReadyItem[]> | undefined };
        const begun = () => {
          source.release(chunk);
          next.chunk = source.nextChunk();
          next.chunk.catch(() => undefined); // awaited below
        };
        const report = (done: number) =>
          options.onProgress?.({ done: chunk[0].index + done, total: inputs.length, failed: 0 });
        try {
          vectors.push(...(await runChunk(access, chunk, options, begun, report)));
        } catch (error) {
          throw total > 1 ? namingItem(error, chunk, place) : error;
        }
        chunk = await (next.chunk ?? source.nextChunk());
      }
    } finally {
      await source.stop();
    }
    return vectors;
  };
  return { prepare, run, signal: options.signal };
}

/** The stream behind embedMany: results in order, a bad item's error in its place; only abort, close and a failing source end it. */
export async function* streamCall(
  access: EngineAccess,
  source: unknown,
  options: ReadEmbedOptions,
  read = streamReader(options, access.remote),
): AsyncGenerator<EmbedResult, void, undefined> {
  const ahead = openAhead(access, iteratorOf(source), read, options, streamPatienceMs);
  const total = Array.isArray(source) ? source.length : undefined;
  let failed = 0;
  try {
    for (let chunk = await ahead.nextChunk(); chunk.length > 0; chunk = await ahead.nextChunk()) {
      const results = await runTolerant(access, ahead, chunk, options);
      for (const result of results) if (result.error !== undefined) failed++;
      options.onProgress?.({
        done: chunk[chunk.length - 1].index + 1,
        ...(total === undefined ? {} : { total }),
        failed,
      });
      yield* results;
    }
  } finally {
    await ahead.stop();
  }
}

/** The door of a stream's items: the checked input, or throws. */
export function streamReader(
  options: ReadEmbedOptions,
  remote: RemotePolicy | undefined,
): (value: unknown, index: number) => CheckedInput {
  return (value, index) => readInput(value as GmeInput, `inputs[${index}]`, options.overflow === "truncate", remote);
}

function openAhead(
  access: EngineAccess,
  source: AsyncIterator<unknown> | Iterator<unknown>,
  read: (value: unknown, index: number) => CheckedInput,
  options: ReadEmbedOptions,
  patienceMs: number,
): DecodeAhead {
  const decode = async (input: CheckedInput, signal: AbortSignal) =>
    input.image === undefined ? undefined : decodeImage(input.image, access.decode, signal);
  const { batchSize, signal } = options;
  const pixels = access.onDevice ? deviceChunkPixels : chunkPixels;
  return new DecodeAhead(source, { read, decode, batchSize, patienceMs, chunkPixels: pixels, leastPixels, signal });
}

export function iteratorOf(source: unknown): AsyncIterator<unknown> | Iterator<unknown> {
  const iterable = source as Partial<AsyncIterable<unknown> & Iterable<unknown>> | null | undefined;
  if (typeof source === "object" && source !== null) {
    if (typeof iterable?.[Symbol.asyncIterator] === "function")
      return (iterable as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    if (typeof iterable?.[Symbol.iterator] === "function") return (iterable as Iterable<unknown>)[Symbol.iterator]();
  }
  throw badArgument("GME_INPUT_INVALID", "source", "an iterable or async iterable of inputs", describeUnread(source));
}

/** One pass through the engine; `begun` is called once the engine has its own copy of the pictures. */
async function runChunk(
  access: EngineAccess,
  chunk: readonly ReadyItem[],
  options: ReadEmbedOptions,
  begun: () => void = () => undefined,
  report?: (done: number) => void,
): Promise<Float32Array[]> {
  let thrown: unknown;
  const onProgress = (done: number) => {
    try {
      if (thrown === undefined) report?.(done);
    } catch (error) {
      thrown = error;
    }
  };
  const job = startJob(() =>
    access.native.embed(
      chunk.map((ready) => nativeItem(ready, options)),
      nativeParams(options),
      options.onProgress && report ? onProgress : undefined,
    ),
  );
  begun();
  const flat = await untilAborted(job, options.signal);
  if (thrown !== undefined) throw GmeError.from(thrown, "GME_OPTION_INVALID");
  const length = access.dimensions;
  return chunk.map((_, i) => cutEmbedding(flat.subarray(i * length, (i + 1) * length), options.dimensions ?? length));
}

/** A native method may refuse its arguments at the door; that too is a GmeError. */
export function startJob<T>(start: () => T): T {
  try {
    return start();
  } catch (error) {
    throw GmeError.from(error);
  }
}

function nativeItem(ready: ReadyItem, options: ReadEmbedOptions): NativeItem {
  const input = ready.input as CheckedInput;
  const item: NativeItem = {};
  if (input.text !== undefined) item.text = input.text;
  if (ready.image !== undefined) item.image = ready.image;
  const instruction = instructionOf(input, options);
  if (instruction !== undefined) item.instruction = instruction;
  return item;
}

async function runTolerant(
  access: EngineAccess,
  ahead: DecodeAhead,
  chunk: ReadyItem[],
  options: ReadEmbedOptions,
): Promise<EmbedResult[]> {
  const outcomes = new Map<number, Float32Array | GmeError>();
  for (const ready of chunk) if (ready.error !== undefined) outcomes.set(ready.index, ready.error);
  const good = chunk.filter((ready) => ready.error === undefined);
  const counts = options.countTokens ? await countChunk(access, good, options) : undefined;
  await embedGood(access, good, options, outcomes);
  ahead.release(chunk);
  return chunk.map(({ index, id }) => {
    const outcome = outcomes.get(index) as Float32Array | GmeError;
    const named = id === undefined ? { index } : { index, id };
    if (outcome instanceof GmeError) return { ...named, error: outcome };
    const tokens = counts?.get(index);
    return { ...named, embedding: outcome, ...(tokens !== undefined && { tokens }) };
  });
}

/** Before the vectors: nothing is copied, and what the engine refuses it refuses again when it computes; the others are then counted alone. */
async function countChunk(
  access: EngineAccess,
  items: readonly ReadyItem[],
  options: ReadEmbedOptions,
): Promise<Map<number, TokenCount>> {
  const sizes = items.map((ready) => {
    const { image, ...item } = nativeItem(ready, options);
    return image === undefined ? item : { ...item, image: { width: image.width, height: image.height } };
  });
  const parsed = options.specialTokens === "parse";
  try {
    const counts = await untilAborted(
      startJob(() => access.native.countTokens(sizes, parsed)),
      options.signal,
    );
    return new Map(items.map(({ index }, i) => [index, counts[i]]));
  } catch (caught) {
    const { code } = GmeError.from(caught);
    if (code === "GME_ABORTED" || code === "GME_MODEL_CLOSED") throw caught;
    if (items.length === 1) return new Map();
    const alone = await Promise.all(items.map((item) => countChunk(access, [item], options)));
    return new Map(alone.flatMap((counts) => [...counts]));
  }
}

/**
 * Embeds together; what the engine refuses is set aside and the rest goes again. After a second refusal the others go one by
 * one: a model whose every vector fails would otherwise be run as often as the chunk has pairs.
 */
async function embedGood(
  access: EngineAccess,
  items: ReadyItem[],
  options: ReadEmbedOptions,
  outcomes: Map<number, Float32Array | GmeError>,
  isSecondTry = false,
): Promise<void> {
  if (items.length === 0) return;
  try {
    const vectors = await access.queue.add({
      prepare: async () => undefined,
      run: () => runChunk(access, items, options),
      signal: options.signal,
    });
    items.forEach((ready, i) => void outcomes.set(ready.index, vectors[i]));
  } catch (caught) {
    const error = GmeError.from(caught);
    if (error.code === "GME_ABORTED" || error.code === "GME_MODEL_CLOSED") throw error;
    if (items.length === 1) {
      outcomes.set(items[0].index, error);
      return;
    }
    const bad = error.item === undefined ? undefined : items[error.item];
    if (bad !== undefined) outcomes.set(bad.index, error);
    const others = items.filter((ready) => ready !== bad);
    const rest = bad === undefined || isSecondTry ? others.map((ready) => [ready]) : [others];
    for (const part of rest) await embedGood(access, part, options, outcomes, true);
  }
}

/** The engine counts within the chunk; the caller within the call, of which `place` items are elsewhere before it. */
function namingItem(error: unknown, chunk: readonly ReadyItem[], place: number): unknown {
  if (!(error instanceof GmeError) || error.item === undefined || chunk[error.item] === undefined) return error;
  return error.forItem(place + chunk[error.item].index);
}
