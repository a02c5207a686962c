import { DecodeAhead, type ReadyItem } from "../decode-ahead";
import { type EmbedResult, iteratorOf, streamPatienceMs, streamReader } from "../embed-run";
import { GmeError } from "../errors";
import type { CheckedInput } from "../input";
import type { TokenCount } from "../model-work";
import type { ReadEmbedOptions } from "../options";
import type { RemotePolicy } from "../remote-image";
import { dealItems } from "./batch-pieces";
import type { WireResult } from "./call-request";
import { fromWire } from "./wire-error";

type EmbedEach = (inputs: CheckedInput[], signal: AbortSignal) => Promise<WireResult[]>;

/** One chunk is computed while the pictures of the next are decoded. */
const chunksOpen = 2;

/**
 * The stream behind embedMany of an isolated model: results in order, a bad item's error in its place. An item that ends the
 * engine's process twice is such an item: those that were computed beside it go again, in halves. With several engines a chunk is a
 * batch for each of them.
 */
export async function* isolatedStream(
  source: unknown,
  options: ReadEmbedOptions,
  remote: RemotePolicy | undefined,
  embedEach: EmbedEach,
  engines: number,
): AsyncGenerator<EmbedResult, void, undefined> {
  const read = streamReader(options, remote);
  const leaving = new AbortController();
  const signal = options.signal === undefined ? leaving.signal : AbortSignal.any([options.signal, leaving.signal]);
  const ahead = new DecodeAhead(iteratorOf(source), {
    ...{
      read,
      batchSize: options.batchSize * (options.keepTogether ? 1 : engines),
      patienceMs: streamPatienceMs,
      signal: options.signal,
    },
    decode: async () => undefined,
  });
  const total = Array.isArray(source) ? source.length : undefined;
  const deal = async (items: ReadyItem[], outcomes: Outcomes) => {
    const pieces = dealItems(items.map(withImage), options.keepTogether ? 1 : engines, options.batchSize);
    const embed = options.keepTogether ? embedWhole : embedHalves;
    const start = (piece: (typeof pieces)[number]) =>
      embed(piece.items.map(({ item }) => item), embedEach, AbortSignal.any([signal]), outcomes); // biome-ignore format: one line says it
    await Promise.all(pieces.map(start)); // a signal has few listeners, but as many signals as it likes that follow it
  };
  const running: Promise<EmbedResult[]>[] = [];
  let upcoming: Promise<ReadyItem[]> | undefined = ahead.nextChunk();
  let [done, failed] = [0, 0];
  try {
    while (upcoming !== undefined || running.length > 0) {
      const turn = await nextTurn(running.length < chunksOpen ? upcoming : undefined, running[0]);
      if ("chunk" in turn) {
        if (turn.chunk.length > 0) running.push(handled(embedChunk(turn.chunk, deal)));
        ahead.release(turn.chunk);
        upcoming = turn.chunk.length > 0 ? handled(ahead.nextChunk()) : undefined;
      } else {
        running.shift();
        done += turn.results.length;
        failed += turn.results.filter(({ error }) => error !== undefined).length;
        options.onProgress?.({ done, ...(total === undefined ? {} : { total }), failed });
        yield* turn.results;
      }
    }
  } finally {
    leaving.abort();
    await ahead.stop();
  }
}

type Turn = { chunk: ReadyItem[] } | { results: EmbedResult[] };

/** What comes first: the source's next chunk, or the results of the oldest one. */
function nextTurn(
  upcoming: Promise<ReadyItem[]> | undefined,
  oldest: Promise<EmbedResult[]> | undefined,
): Promise<Turn> {
  const turns: Promise<Turn>[] = [];
  if (oldest !== undefined) turns.push(oldest.then((results) => ({ results })));
  if (upcoming !== undefined) turns.push(upcoming.then((chunk) => ({ chunk })));
  return Promise.race(turns);
}

/** Its failure is seen when its turn comes. */
function handled<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}

type Outcome = { readonly embedding: Float32Array; readonly tokens?: TokenCount } | GmeError;
type Outcomes = Map<number, Outcome>;

function withImage(item: ReadyItem): { item: ReadyItem; image?: unknown } {
  return { item, image: item.input?.image };
}

async function embedChunk(
  chunk: ReadyItem[],
  deal: (items: ReadyItem[], outcomes: Outcomes) => Promise<void>,
): Promise<EmbedResult[]> {
  const outcomes: Outcomes = new Map();
  for (const { index, error } of chunk) if (error !== undefined) outcomes.set(index, error);
  await deal(
    chunk.filter(({ error }) => error === undefined),
    outcomes,
  );
  return chunk.map(({ index, id }) => {
    const outcome = outcomes.get(index) as Outcome;
    const named = id === undefined ? { index } : { index, id };
    return outcome instanceof GmeError ? { ...named, error: outcome } : { ...named, ...outcome };
  });
}

/** The vector in memory of its own: the message's goes with the message. */
function outcomeOf({ embedding, tokens, error }: WireResult): Outcome {
  if (error !== undefined) return fromWire(error);
  return { embedding: Float32Array.from(embedding as Float32Array), ...(tokens !== undefined && { tokens }) };
}

async function embedWhole(
  items: readonly ReadyItem[],
  embedEach: EmbedEach,
  signal: AbortSignal,
  outcomes: Outcomes,
): Promise<void> {
  if (items.length === 0) return;
  const inputs = items.map(({ input }) => input as CheckedInput);
  for (const result of await embedEach(inputs, signal)) outcomes.set(items[result.index].index, outcomeOf(result));
}

/** One item is tried twice; a group over which the process ended goes again in halves. */
async function embedHalves(
  items: readonly ReadyItem[],
  embedEach: EmbedEach,
  signal: AbortSignal,
  outcomes: Outcomes,
  isSecondTry = false,
): Promise<void> {
  try {
    await embedWhole(items, embedEach, signal, outcomes);
  } catch (caught) {
    const error = GmeError.from(caught);
    if (error.code !== "GME_ENGINE_CRASHED" || error.field !== "call") throw error;
    if (items.length === 1 && isSecondTry) {
      outcomes.set(items[0].index, error);
      return;
    }
    const middle = Math.ceil(items.length / 2);
    const parts = items.length === 1 ? [items] : [items.slice(0, middle), items.slice(middle)];
    for (const part of parts) await embedHalves(part, embedEach, signal, outcomes, items.length === 1);
  }
}
