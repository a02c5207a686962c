import type { ModelInfo } from "../../index";
import type { EmbedCall, ReadyItem } from "./embed-service";
import type { OpenRequest } from "./open-request";

export type Lane = "text" | "picture";

/** What an item is expected to take. */
export interface ItemSize {
  /** Of the text with its template, and of the picture. */
  readonly tokens: number;
  readonly pixels: number;
  /** Of the encoded picture. */
  readonly bytes: number;
  /** In what a token of text costs. */
  readonly cost: number;
}

/** One item of a request, from its acceptance to its outcome. */
export interface QueuedItem extends ItemSize {
  readonly request: OpenRequest;
  /** Its place in the request. */
  readonly index: number;
  /** Undefined once nobody waits for it, so that its picture is let go. */
  item: ReadyItem | undefined;
  /** Out of the queue and not with the engine: taken for a batch that is being made, or done. */
  place: "queue" | "engine" | "neither";
  /** Of a client that had nothing else waiting and asks for little. */
  isSmall: boolean;
  readonly lane: Lane;
  readonly overflow: EmbedCall["overflow"];
  readonly dimensions: number | undefined;
  /** Only items of one group can be in a batch. */
  readonly group: string;
  readonly client: string;
}

/** Bytes of UTF-8 per token: about right for English (4 letters) and for Chinese (4 bytes in 1.3 characters) alike. */
const bytesPerToken = 4;
/** Control tokens and role names of the template. */
const templateTokens = 12;
const pixelsPerToken = 28 * 28;
/** An image token is four patches of the vision tower before it is one token of the decoder: for a 2B model about three times the work. */
const imageTokenCost = 3;

/** Estimates without a tokenizer: the queue's bounds and the turns of clients need no more. */
export function sizeOf({ text, image, pixels, prompt }: ReadyItem, { defaults, limits }: ModelInfo): ItemSize {
  const words = Buffer.byteLength(text ?? "") + Buffer.byteLength(prompt ?? defaults.instruction);
  const textTokens = Math.min(limits.maxTokens, templateTokens + Math.ceil(words / bytesPerToken));
  if (image === undefined) return { tokens: textTokens, pixels: 0, bytes: 0, cost: textTokens };
  const { minImageTokens, maxImageTokens } = defaults;
  const imageTokens = Math.min(maxImageTokens, Math.max(minImageTokens, Math.ceil(pixels / pixelsPerToken)));
  const cost = textTokens + imageTokens * imageTokenCost;
  return { tokens: textTokens + imageTokens, pixels, bytes: image.byteLength, cost };
}

export function groupOf({ overflow, dimensions }: EmbedCall): string {
  return `${overflow} ${dimensions ?? ""}`;
}
