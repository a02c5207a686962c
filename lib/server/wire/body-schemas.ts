// JSON Schemas, draft 7, of what the dialects read and answer: for /openapi.json. body-fields.ts says why bodies are not checked by them.

type Schema = Readonly<Record<string, unknown>>;

export const text: Schema = { type: "string" };
const nullable = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });
const describe = (schema: Schema, description: string): Schema => ({ ...schema, description });
const choice = (...values: unknown[]): Schema => ({ enum: [...values, null] });
const listOf = (items: Schema): Schema => ({ type: "array", minItems: 1, items });

/** Known fields only, as `read` has it. */
const object = (properties: Record<string, Schema>, required: string[] = []): Schema => ({
  type: "object",
  additionalProperties: false,
  properties,
  ...(required.length > 0 ? { required } : {}),
});

const truth = nullable({ type: "boolean" });
const optionalText = nullable(text);
const model = describe(optionalText, "A name of the loaded model.");
const dimensions = describe(
  nullable({ type: "integer", minimum: 1 }),
  "Length of the vectors: the model's own, others only where the server allows it.",
);
const ignored = (description = "Accepted, without effect."): Schema => ({ description });
const inputType = describe(choice("query", "document"), "Whether the items are queries or documents.");
const instruction = describe(optionalText, "The instruction of a query. Without input_type it makes the item a query.");
const itemTags = { instruction, prompt: describe(optionalText, "Another name of instruction."), input_type: inputType };

const pictureAddress = describe(text, "A data: URL, or an address where the server allows those.");
const imageUrl: Schema = { anyOf: [pictureAddress, object({ url: pictureAddress, detail: ignored() }, ["url"])] };

const textPart = (tags: Record<string, Schema> = {}) =>
  object({ type: { enum: ["text", "input_text"] }, text, ...tags }, ["type", "text"]);
const imagePart = (tags: Record<string, Schema> = {}) =>
  object({ type: { enum: ["image_url", "input_image"] }, image_url: imageUrl, detail: ignored(), ...tags }, [
    "type",
    "image_url",
  ]);
const base64Part = object({ type: { const: "image_base64" }, image_base64: text }, ["type", "image_base64"]);

const partsOf = (...parts: Schema[]): Schema =>
  describe({ type: "array", minItems: 1, items: { anyOf: [text, ...parts] } }, "One item: its texts and its picture.");
const openAiParts = partsOf(textPart(), imagePart());
const content = (parts: Schema): Schema => ({ anyOf: [text, parts] });

const message = object(
  {
    role: { enum: ["system", "user", "assistant"] },
    content: { anyOf: [text, { type: "array", items: { anyOf: [text, textPart(), imagePart()] } }, { type: "null" }] },
    name: ignored(),
  },
  ["role"],
);
const conversation = describe(
  { type: "array", minItems: 1, maxItems: 3, items: message },
  "One item: a system message (the instruction), a user message, an empty assistant message.",
);

const jinaItem = object({
  text: optionalText,
  image: optionalText,
  url: optionalText,
  bytes: optionalText,
  ...itemTags,
});
const contentItem = (parts: Schema) => object({ content: content(parts), ...itemTags }, ["content"]);
const inputItem: Schema = {
  anyOf: [
    text,
    textPart(itemTags),
    imagePart(itemTags),
    contentItem(openAiParts),
    object({ messages: conversation, ...itemTags }, ["messages"]),
    jinaItem,
    openAiParts,
    conversation,
  ],
};

const encoding = choice("float", "base64", "binary", "ubinary");

export const embeddingsBodySchema: Schema = object({
  model,
  input: { anyOf: [inputItem, listOf(inputItem), { type: "null" }] },
  messages: { anyOf: [conversation, listOf(conversation), { type: "null" }] },
  encoding_format: choice("float", "base64"),
  embedding_type: encoding,
  encoding_type: encoding,
  dimensions,
  truncate: truth,
  truncate_prompt_tokens: describe(choice(-1), "-1 cuts a text at the model's limit of tokens."),
  truncation_side: choice("right"),
  task: describe(optionalText, "Jina's: retrieval.query makes the items queries, others documents."),
  normalized: choice(true),
  normalize: { type: "null" },
  use_activation: choice(true),
  late_chunking: choice(false),
  mm_processor_kwargs: nullable(
    object({ min_pixels: nullable({ type: "integer" }), max_pixels: nullable({ type: "integer" }) }),
  ),
  embed_dtype: choice("float32"),
  endianness: choice("native", "little"),
  instruction,
  input_type: inputType,
  user: ignored("Accepted, ignored, never logged."),
  add_generation_prompt: ignored(),
  continue_final_message: ignored(),
  add_special_tokens: ignored(),
  request_id: ignored(),
  priority: ignored(),
  cache_salt: ignored(),
});

const numbers: Schema = { type: "array", items: { type: "number" } };
const integers: Schema = { type: "array", items: { type: "integer" } };
const count: Schema = { type: "integer" };

const embeddingList = (usage: Record<string, Schema>, more: Record<string, Schema> = {}): Schema =>
  object(
    {
      ...more,
      object: { const: "list" },
      model: text,
      data: {
        type: "array",
        items: object(
          {
            object: { const: "embedding" },
            index: count,
            embedding: { anyOf: [numbers, describe(text, "Base64 of little-endian float32.")] },
          },
          ["object", "index", "embedding"],
        ),
      },
      usage: object(usage, Object.keys(usage)),
    },
    ["object", "model", "data", "usage"],
  );

export const embeddingsAnswerSchema = embeddingList(
  { prompt_tokens: count, total_tokens: count },
  { id: describe(text, "Of `messages` only."), created: count },
);

export const cohereBodySchema: Schema = object({
  model,
  texts: nullable(listOf(text)),
  images: nullable(listOf(pictureAddress)),
  inputs: nullable(listOf(contentItem(partsOf(textPart(), imagePart())))),
  input_type: choice("search_query", "search_document", "classification", "clustering", "image"),
  embedding_types: nullable(listOf({ enum: ["float", "base64", "binary", "ubinary"] })),
  output_dimension: dimensions,
  max_tokens: { type: "null" },
  truncate: choice("NONE", "END"),
  priority: ignored(),
  instruction,
});

export const cohereAnswerSchema: Schema = object(
  {
    id: text,
    embeddings: object({
      float: { type: "array", items: numbers },
      base64: { type: "array", items: text },
      binary: { type: "array", items: integers },
      ubinary: { type: "array", items: integers },
    }),
    texts: { type: "array", items: text },
    meta: object({
      api_version: object({ version: { const: "2" } }),
      billed_units: object({ input_tokens: count, image_tokens: count }),
    }),
    response_type: { const: "embeddings_by_type" },
  },
  ["id", "embeddings", "texts", "meta", "response_type"],
);

export const voyageBodySchema: Schema = object(
  {
    model,
    inputs: listOf(contentItem(partsOf(textPart(), imagePart(), base64Part))),
    input_type: inputType,
    instruction,
    truncation: truth,
    output_encoding: choice("base64"),
    encoding_format: choice("base64"),
    output_dimension: dimensions,
    output_dtype: choice("float"),
  },
  ["inputs"],
);

export const voyageAnswerSchema = embeddingList({ text_tokens: count, image_pixels: count, total_tokens: count });

const texts: Schema = { anyOf: [text, listOf(text)] };

export const teiBodySchema: Schema = object(
  {
    inputs: texts,
    normalize: choice(true),
    truncate: truth,
    truncation_direction: choice("right", "Right"),
    prompt_name: choice("query", "document"),
    dimensions,
    instruction,
  },
  ["inputs"],
);

export const teiAnswerSchema: Schema = { type: "array", items: numbers };

export const ollamaBodySchema: Schema = object({
  model,
  input: nullable(texts),
  images: describe(nullable(listOf(optionalText)), "Base64: the picture of the text at the same index."),
  truncate: truth,
  dimensions,
  keep_alive: ignored(),
  options: ignored(),
  input_type: inputType,
  instruction,
});

export const ollamaAnswerSchema: Schema = object(
  {
    model: text,
    embeddings: { type: "array", items: numbers },
    total_duration: describe(count, "Nanoseconds."),
    load_duration: count,
    prompt_eval_count: count,
  },
  ["model", "embeddings"],
);
