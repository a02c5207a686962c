import {
  choiceField,
  dimensionsField,
  type Fields,
  given,
  type ItemTags,
  optionError,
  readFields,
  readTags,
  refuseOtherThan,
  stringField,
  booleanField,
  tagNames,
  tags,
} from "./body-fields";
import type { WireRequest, WireRules } from "./dialect";
import { taskType } from "./jina";
import { checkEncoding, type VectorEncoding } from "./vector-encoding";

// Everything on /v1/embeddings beside the items. The clients of that path mix their fields freely, so all are read for all of them.

/** Known fields whose value changes nothing here: the template is fixed, requests have ids of the server's own, nothing is cached. */
const withoutEffect = [
  "user",
  "add_generation_prompt",
  "continue_final_message",
  "add_special_tokens",
  "request_id",
  "priority",
  "cache_salt",
] as const;

export const embeddingsFields = [
  "model",
  "input",
  "messages",
  "encoding_format",
  "embedding_type",
  "encoding_type",
  "dimensions",
  "truncate",
  "truncate_prompt_tokens",
  "truncation_side",
  "task",
  "normalized",
  "normalize",
  "use_activation",
  "late_chunking",
  "mm_processor_kwargs",
  "embed_dtype",
  "endianness",
  ...tagNames,
  ...withoutEffect,
] as const;

export interface EmbeddingsOptions {
  readonly request: Omit<WireRequest, "items">;
  readonly encoding: VectorEncoding;
  readonly tags: ItemTags;
}

export function readEmbeddingsOptions(fields: Fields, rules: WireRules): EmbeddingsOptions {
  refuseFixed(fields, rules);
  const model = stringField(fields, "model");
  const dimensions = dimensionsField(fields, "dimensions", rules);
  const { instruction, inputType } = readTags(fields);
  const task = stringField(fields, "task");
  return {
    request: {
      ...(model === undefined ? {} : { model }),
      ...(dimensions === undefined ? {} : { dimensions }),
      overflow: readOverflow(fields),
    },
    encoding: readEncoding(fields, dimensions ?? rules.dimensions),
    tags: tags(instruction, inputType ?? taskType(task)),
  };
}

function readOverflow(fields: Fields): "error" | "truncate" {
  const tokens = given(fields.truncate_prompt_tokens);
  if (tokens !== undefined && tokens !== -1) {
    throw optionError("truncate_prompt_tokens", "can only be -1, the model's own limit of tokens", { expected: "-1" });
  }
  choiceField(fields, "truncation_side", ["right"]); // the closing tokens are what is pooled: only the text's end is cut
  return booleanField(fields, "truncate") === true || tokens === -1 ? "truncate" : "error";
}

const encodings = ["float", "base64", "binary", "ubinary"] as const;

/** One thing under three names: OpenAI's, and Jina's two. */
function readEncoding(fields: Fields, dimensions: number): VectorEncoding {
  const values = [
    ["encoding_format", choiceField(fields, "encoding_format", ["float", "base64"] as const)],
    ["embedding_type", choiceField(fields, "embedding_type", encodings)],
    ["encoding_type", choiceField(fields, "encoding_type", encodings)],
  ] as const;
  const set = values.filter(([, value]) => value !== undefined);
  for (const [name, value] of set.slice(1)) {
    if (value !== set[0][1]) throw optionError(name, `and ${set[0][0]} ask for different encodings`);
  }
  if (set.length === 0) return "float";
  const [name, encoding] = set[0] as readonly [string, VectorEncoding];
  checkEncoding(encoding, dimensions, name);
  return encoding;
}

function refuseFixed(fields: Fields, rules: WireRules): void {
  if (given(fields.normalize) !== undefined)
    throw optionError("normalize", "is not supported: vectors always have unit length", { expected: "no such field" });
  refuseOtherThan(fields, "normalized", true);
  refuseOtherThan(fields, "use_activation", true);
  refuseOtherThan(fields, "late_chunking", false);
  choiceField(fields, "embed_dtype", ["float32"]);
  choiceField(fields, "endianness", ["native", "little"]);
  const processor = given(fields.mm_processor_kwargs);
  if (processor !== undefined) checkProcessor(processor, rules);
}

/** Pixels of one image token: 28 × 28. */
const tokenPixels = 784;

/** The limits of image tokens belong to the loaded model; a request may name them, not change them. */
function checkProcessor(value: unknown, rules: WireRules): void {
  const place = "mm_processor_kwargs";
  const fields = readFields(value, place, ["min_pixels", "max_pixels"]);
  for (const [name, tokens, flag] of [
    ["min_pixels", rules.minImageTokens, "--min-image-tokens"],
    ["max_pixels", rules.maxImageTokens, "--max-image-tokens"],
  ] as const) {
    const pixels = given(fields[name]);
    if (pixels === undefined || pixels === tokens * tokenPixels) continue;
    const runs = `the server runs the model with ${tokens * tokenPixels} pixels (${tokens} image tokens)`;
    throw optionError(`${place}.${name}`, `cannot be changed by a request: ${runs}; gme serve ${flag} sets it`, {
      ...(typeof pixels === "number" ? { value: pixels } : {}),
      expected: String(tokens * tokenPixels),
    });
  }
}
