import { type EmbedOptions, type EmbedResult, GmeError, type GmeInput, type TokenCount } from "../../index";
import type { EmbeddedItem, ReadyItem, ServedModel } from "./embed-service";
import type { QueuedItem } from "./queued-item";

/** What a batch is run with. */
export interface BatchOptions extends Pick<EmbedOptions, "overflow" | "dimensions"> {
  readonly signal: AbortSignal;
}

/** The vector of an item, or what was wrong with it. */
export type ItemOutcome = EmbeddedItem | GmeError;

/**
 * One call of the model for a batch; `settle` is told each item's outcome. Rejects with what is wrong with the batch as a whole:
 * GME_ENGINE_CRASHED, GME_ABORTED, or why the engine cannot be started.
 */
export async function runBatch(
  model: ServedModel,
  items: readonly QueuedItem[],
  { overflow, dimensions, signal }: BatchOptions,
  settle: (at: number, outcome: ItemOutcome) => void,
): Promise<void> {
  const options: EmbedOptions = {
    overflow,
    signal,
    batchSize: items.length,
    keepTogether: true,
    ...(dimensions !== undefined && { dimensions, allowTruncation: true }),
    countTokens: true,
  };
  const ready = items.map(({ item }) => item as ReadyItem);
  for await (const result of model.embedMany(ready.map(toInput), options))
    settle(result.index, outcomeOf(result, ready[result.index]));
}

function toInput({ text, image, prompt }: ReadyItem): GmeInput {
  return { ...(text !== undefined && { text }), ...(image && { image }), ...(prompt !== undefined && { prompt }) };
}

function outcomeOf(result: EmbedResult, item: ReadyItem): ItemOutcome {
  if (result.error !== undefined) return inRequest(result.error, result.index, item);
  return { embedding: result.embedding, tokens: result.tokens as TokenCount };
}

/** The engine's error names the place in the batch, which means nothing to the client: there it is the place in the body. */
function inRequest(error: GmeError, at: number, { field: place }: ReadyItem): GmeError {
  const inBatch = `inputs[${at}]`;
  const { code, message, field, offset, value, expected, errno, cause } = error;
  const words = message.replaceAll(inBatch, place).replaceAll("<buffer>", place);
  const named = words.includes(place) ? words : `${place}: ${words}`;
  const found = field?.startsWith(inBatch) ? place + field.slice(inBatch.length) : place;
  return new GmeError(code, named, { field: found, offset, value, expected, errno, cause });
}

/** Whether the engine did not even come up again: no item is to blame. */
export function isLoading({ code, field }: GmeError): boolean {
  return code !== "GME_ENGINE_CRASHED" || field !== "call";
}

/** Whether the batch was not even tried, since these same items together ended two processes. */
export function isRefusal({ code, field, value }: GmeError): boolean {
  return code === "GME_ENGINE_CRASHED" && field === "call" && value === undefined;
}
