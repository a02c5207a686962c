// The Vercel AI SDK's embedding models on a loaded GmeModel. The interfaces are met by shape, so that this file needs no package: V3 is what
// `ai` 6 and `ai` 7 take, V4 what `ai` 7 speaks itself.
import { GmeError, type EmbedOptions, type GmeInput, type GmeModel, printable } from "../index.js";

/** What `providerOptions.gme` may hold: the library's own options, as far as they are JSON. */
export type GmeProviderOptions = Pick<
  EmbedOptions,
  "instruction" | "isQuery" | "dimensions" | "allowTruncation" | "overflow" | "specialTokens" | "batchSize"
>;

export interface GmeEmbedCall {
  values: string[];
  abortSignal?: AbortSignal;
  providerOptions?: Record<string, Record<string, unknown>>;
  /** There is no request, hence nothing that they could be sent with. */
  headers?: Record<string, string | undefined>;
  /** Of interface V4. */
  dimensions?: number;
}

export interface GmeEmbedAnswer {
  embeddings: number[][];
  /** Of texts and pictures, the template included. */
  usage: { tokens: number };
  warnings: { type: "unsupported"; feature: string; details: string }[];
}

export interface GmeEmbeddingModel<Version extends "v3" | "v4" = "v3"> {
  readonly specificationVersion: Version;
  readonly provider: string;
  readonly modelId: string;
  readonly maxEmbeddingsPerCall: number;
  readonly supportsParallelCalls: boolean;
  doEmbed(call: GmeEmbedCall): Promise<GmeEmbedAnswer>;
}

export interface GmeProvider<Version extends "v3" | "v4" = "v3"> {
  /** Each value is a text. */
  textEmbeddingModel(): GmeEmbeddingModel<Version>;
  /** Each value is a picture: a `data:` or `file:` URL, or a path of this machine. */
  imageEmbeddingModel(): GmeEmbeddingModel<Version>;
  /** Each value is what `multimodal` made: a text, a picture or both in one vector. */
  multimodalEmbeddingModel(): GmeEmbeddingModel<Version>;
}

/** An item of `multimodalEmbeddingModel`: the bytes of a picture, or where it is. */
export interface MultimodalItem {
  text?: string;
  image?: string | URL | Uint8Array;
  /** The item's own instruction. */
  prompt?: string;
}

/** Models of the AI SDK on a loaded model, which stays the caller's to close. */
export function gmeProvider(model: GmeModel, options?: { specificationVersion?: "v3" }): GmeProvider<"v3">;
export function gmeProvider(model: GmeModel, options: { specificationVersion: "v4" }): GmeProvider<"v4">;
export function gmeProvider(
  model: GmeModel,
  { specificationVersion = "v3" }: { specificationVersion?: "v3" | "v4" } = {},
): GmeProvider<"v3" | "v4"> {
  if (specificationVersion !== "v3" && specificationVersion !== "v4") {
    throw new GmeError("GME_OPTION_INVALID", 'expected "v3" or "v4" for options.specificationVersion', {
      field: "options.specificationVersion",
      value: printable(String(specificationVersion)),
      expected: '"v3" or "v4"',
    });
  }
  const modelOf = (kind: string, read: (value: string, index: number) => GmeInput) => ({
    specificationVersion,
    provider: `gme.${kind}`,
    modelId: model.info.name,
    maxEmbeddingsPerCall: Number.POSITIVE_INFINITY,
    supportsParallelCalls: true,
    doEmbed: (call: GmeEmbedCall) => embedValues(model, call, read),
  });
  return {
    textEmbeddingModel: () => modelOf("text", (text) => ({ text })),
    imageEmbeddingModel: () => modelOf("image", (image) => ({ image })),
    multimodalEmbeddingModel: () => modelOf("multimodal", readMultimodal),
  };
}

/** The string that stands for an item with `multimodalEmbeddingModel`, since the AI SDK's values are strings. */
export function multimodal({ text, image, prompt }: MultimodalItem): string {
  return JSON.stringify({ text, image: image === undefined ? undefined : addressOf(image), prompt });
}

/** The formats of pictures are told by their bytes, so that the label need not say more. */
function addressOf(image: string | URL | Uint8Array): string {
  if (typeof image === "string") return image;
  if (image instanceof URL) return image.href;
  return `data:image/*;base64,${Buffer.from(image.buffer, image.byteOffset, image.byteLength).toString("base64")}`;
}

function readMultimodal(value: string, index: number): GmeInput {
  try {
    const item: unknown = JSON.parse(value);
    if (typeof item === "object" && item !== null && !Array.isArray(item)) return item as GmeInput;
  } catch {
    // Refused below; the text of a stranger is not repeated.
  }
  throw new GmeError("GME_INPUT_INVALID", `values[${index}] was not made by multimodal({ text, image })`, {
    field: `values[${index}]`,
    expected: "what multimodal({ text, image }) returned",
  });
}

async function embedValues(
  model: GmeModel,
  { values, abortSignal: signal, providerOptions, dimensions }: GmeEmbedCall,
  read: (value: string, index: number) => GmeInput,
): Promise<GmeEmbedAnswer> {
  const given = providerOptions?.gme as GmeProviderOptions | undefined;
  const options = { ...(dimensions !== undefined && { dimensions }), ...given, countTokens: true, signal };
  const answer: GmeEmbedAnswer = { embeddings: [], usage: { tokens: 0 }, warnings: warningsOf(given) };
  for await (const result of model.embedMany(values.map(read), options)) {
    if (result.error !== undefined) throw values.length > 1 ? result.error.forItem(result.index) : result.error;
    answer.embeddings.push(Array.from(result.embedding));
    answer.usage.tokens += result.tokens?.total ?? 0;
  }
  return answer;
}

function warningsOf(options: GmeProviderOptions | undefined): GmeEmbedAnswer["warnings"] {
  if (options?.isQuery !== false || options.instruction === undefined) return [];
  const details = "a document always has the model's default instruction; leave isQuery out, or the instruction";
  return [{ type: "unsupported", feature: "instruction", details }];
}
