import { GmeError, type ModelInfo } from "../index";
import type { WireItem, WireRequest } from "./wire/dialect";

/** What one request may ask for. */
export interface RequestLimits {
  readonly maxItems: number;
  readonly maxImages: number;
  /** Pixels of all pictures together. */
  readonly maxPixels: number;
  /** Bytes of all encoded pictures together, fetched ones too. */
  readonly maxImageBytes: number;
  /** Tokens of all items together, as far as they can be told before anything is tokenised. */
  readonly maxTokens: number;
}

export const requestLimits: RequestLimits = {
  maxItems: 256,
  maxImages: 16,
  maxPixels: 128e6,
  maxImageBytes: 64 * 2 ** 20,
  maxTokens: 1_048_576,
};

/** Before a picture is decoded or a text tokenised: counts, lengths of texts, the fewest tokens that they can be. */
export function checkRequest(request: WireRequest, limits: RequestLimits, info: ModelInfo): void {
  const { items } = request;
  if (items.length === 0)
    throw new GmeError("GME_INPUT_INVALID", "the request has no input", { field: "input", value: 0 });
  const images = items.filter(({ image }) => image !== undefined);
  checkCount("inputs", items.length, limits.maxItems, "input");
  checkCount("pictures", images.length, limits.maxImages, images.at(-1)?.field ?? "input");
  if (images.length > 0 && !info.vision)
    throw new GmeError("GME_MODEL_NO_VISION", "the model has no vision tower: it takes no pictures", {
      field: images[0].field,
    });
  let tokens = 0;
  for (const item of items) {
    checkTexts(item, info, request.overflow);
    tokens += leastTokens(item, info);
  }
  if (tokens > limits.maxTokens)
    throw new GmeError(
      "GME_TEXT_TOO_LONG",
      `the request has ${tokens} tokens or more, allowed are ${limits.maxTokens}`,
      {
        field: "input",
        value: tokens,
        expected: `at most ${limits.maxTokens}`,
      },
    );
}

function checkCount(what: string, count: number, most: number, field: string): void {
  if (count <= most) return;
  throw new GmeError("GME_INPUT_INVALID", `the request has ${count} ${what}, allowed are ${most}`, {
    field,
    value: count,
    expected: `at most ${most}`,
  });
}

/** A text that will be cut may be longer than the library's limit; an instruction never. */
function checkTexts(item: WireItem, { limits }: ModelInfo, overflow: WireRequest["overflow"]): void {
  for (const [name, text] of [
    ["text", overflow === "truncate" ? undefined : item.text],
    ["instruction", item.instruction],
  ] as const) {
    if (text === undefined || text.length <= limits.maxTextLength) continue;
    const field = name === "text" ? item.field : `${item.field}.${name}`;
    throw new GmeError(
      "GME_TEXT_TOO_LONG",
      `${field}: a text of ${text.length} UTF-16 units, allowed are ${limits.maxTextLength}`,
      { field, value: text.length, expected: `at most ${limits.maxTextLength} UTF-16 units` },
    );
  }
}

/** Of a text in common words a token has four; long runs of blanks come near to this. */
const unitsPerToken = 16;

/** A low guess: a request is refused by it only when it is far over. */
function leastTokens({ text = "", image }: WireItem, { limits, defaults }: ModelInfo): number {
  const ofText = Math.min(Math.floor(text.length / unitsPerToken), limits.maxTokens);
  return ofText + (image === undefined ? 0 : defaults.minImageTokens);
}

/** What an item will take of the engine, for queues that are bounded by it: tokens of a text of common words, and of its picture. */
export function likelyTokens(text: string | undefined, pixels: number, { limits, defaults }: ModelInfo): number {
  const ofText = Math.min(Math.ceil((text?.length ?? 0) / 4), limits.maxTokens);
  if (pixels === 0) return ofText;
  const ofImage = Math.min(Math.max(pixels / (28 * 28), defaults.minImageTokens), defaults.maxImageTokens);
  return ofText + Math.ceil(ofImage);
}
