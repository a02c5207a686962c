import type { WireItem, WireRequest, WireRules } from "../../../lib/server/wire/dialect";

/** Bodies as http.md and the clients write them, and what they are read into; `rules` has vectors of 16 numbers. */

export const rules: WireRules = {
  maxItems: 256,
  maxImages: 16,
  dimensions: 16,
  minImageTokens: 256,
  maxImageTokens: 1280,
  allowTruncation: false,
};

export interface Golden {
  readonly title: string;
  readonly body: unknown;
  readonly items: readonly WireItem[];
  /** Of the request, beside the items; `overflow` is "error" where it is not named. */
  readonly request?: Partial<WireRequest>;
  readonly form?: unknown;
}

const png = "data:image/png;base64,iVBORw0KGgo=";
const picture = { kind: "base64", base64: "iVBORw0KGgo=" } as const;
const web = { kind: "address", address: "https://example.org/a.png" } as const;
const part = (url: unknown = { url: png }) => ({ type: "image_url", image_url: url });
const text = (words: string) => ({ type: "text", text: words });
const float = { encoding: "float", chat: false };
const chat = { encoding: "float", chat: true };

const openaiStrings: readonly Golden[] = [
  {
    title: "a string, with every field of OpenAI's reference",
    body: { model: "gme-qwen2-vl-2b", input: "text", encoding_format: "float", dimensions: 16, user: "somebody" },
    items: [{ field: "input", text: "text" }],
    request: { model: "gme-qwen2-vl-2b", dimensions: 16 },
    form: float,
  },
  {
    title: "strings, base64, as the openai client sends them",
    body: { model: "m", input: ["a", "", "c"], encoding_format: "base64" },
    items: [
      { field: "input[0]", text: "a" },
      { field: "input[1]", text: "" },
      { field: "input[2]", text: "c" },
    ],
    request: { model: "m" },
    form: { encoding: "base64", chat: false },
  },
  { title: "the empty text", body: { input: "" }, items: [{ field: "input", text: "" }], form: float },
  {
    title: "truncate, and null for what is not set",
    body: { input: "a", truncate: true, model: null, dimensions: null, encoding_format: null, messages: null },
    items: [{ field: "input", text: "a" }],
    request: { overflow: "truncate" },
    form: float,
  },
  {
    title: "instruction and input_type of the request",
    body: { input: ["a"], instruction: "Find it.", input_type: "query" },
    items: [{ field: "input[0]", text: "a", instruction: "Find it.", inputType: "query" }],
    form: float,
  },
];

const contentParts: readonly Golden[] = [
  {
    title: "the document's list of content parts",
    body: {
      input: [
        "plain text",
        text("a text"),
        part(),
        [part(), text("caption")],
        { content: [text("b")], instruction: "Find.", input_type: "query" },
      ],
    },
    items: [
      { field: "input[0]", text: "plain text" },
      { field: "input[1]", text: "a text" },
      { field: "input[2]", image: picture },
      { field: "input[3]", text: "caption", image: picture },
      { field: "input[4]", text: "b", instruction: "Find.", inputType: "query" },
    ],
    form: float,
  },
  {
    title: "input_image, addresses as strings, detail, several texts in one item",
    body: {
      input: [
        { type: "input_image", image_url: png, detail: "high" },
        part("https://example.org/a.png"),
        part({ url: "https://example.org/a.png", detail: "low" }),
        [{ type: "input_text", text: "a" }, "b", part(), text("c")],
      ],
    },
    items: [
      { field: "input[0]", image: picture },
      { field: "input[1]", image: web },
      { field: "input[2]", image: web },
      { field: "input[3]", text: "a\nb\nc", image: picture },
    ],
    form: float,
  },
  {
    title: "tags on items win over those of the request, and both stay where they do not meet",
    body: {
      input: ["a", { ...text("b"), input_type: "document" }, { content: "c", instruction: "own" }],
      instruction: "all",
      input_type: "query",
    },
    items: [
      { field: "input[0]", text: "a", instruction: "all", inputType: "query" },
      { field: "input[1]", text: "b", instruction: "all", inputType: "document" },
      { field: "input[2]", text: "c", instruction: "own", inputType: "query" },
    ],
    form: float,
  },
  {
    title: "one object alone",
    body: { input: { content: [text("a")] } },
    items: [{ field: "input", text: "a" }],
    form: float,
  },
];

const system = { role: "system", content: "Find an image that matches the given text." };
const user = { role: "user", content: [part(), text("Represent the given image.")] };
const found = { text: "Represent the given image.", image: picture, instruction: system.content };

const chats: readonly Golden[] = [
  {
    title: "the document's messages with all of vLLM's fields",
    body: {
      model: "m",
      messages: [system, user],
      encoding_format: "float",
      dimensions: null,
      add_generation_prompt: false,
      continue_final_message: false,
      add_special_tokens: false,
      mm_processor_kwargs: { min_pixels: 200704, max_pixels: 1003520 },
      truncate_prompt_tokens: -1,
      embed_dtype: "float32",
      endianness: "native",
    },
    items: [{ field: "messages", ...found }],
    request: { model: "m", overflow: "truncate" },
    form: chat,
  },
  {
    title: "a batch of conversations, a trailing empty assistant message, content as a string",
    body: {
      messages: [
        [system, user, { role: "assistant", content: [text("")] }],
        [
          { role: "user", content: "b", name: "someone" },
          { role: "assistant", content: "" },
        ],
        [{ role: "user", content: [text("c")] }, { role: "assistant" }],
      ],
      use_activation: true,
      endianness: "little",
    },
    items: [
      { field: "messages[0]", ...found },
      { field: "messages[1]", text: "b" },
      { field: "messages[2]", text: "c" },
    ],
    form: chat,
  },
  {
    title: "a system message of text parts, and mm_processor_kwargs that say nothing",
    body: {
      messages: [
        { role: "system", content: [text("Find it.")] },
        { role: "user", content: "a" },
      ],
      mm_processor_kwargs: { min_pixels: null },
    },
    items: [{ field: "messages", text: "a", instruction: "Find it." }],
    form: chat,
  },
  {
    title: "one conversation as input",
    body: { input: [system, user] },
    items: [{ field: "input", ...found }],
    form: float,
  },
  {
    title: "chat objects and conversations inside input",
    body: {
      input: [
        { messages: [system, user] },
        { messages: [{ role: "user", content: "b" }], instruction: "I", input_type: "query" },
        [{ role: "user", content: "c" }],
      ],
    },
    items: [
      { field: "input[0].messages", ...found },
      { field: "input[1].messages", text: "b", instruction: "I", inputType: "query" },
      { field: "input[2]", text: "c" },
    ],
    form: float,
  },
];

const jina: readonly Golden[] = [
  {
    title: "the document's Jina items",
    body: {
      model: "m",
      input: [
        { text: "a" },
        { image: "https://example.org/a.png" },
        { image: "iVBORw0KGgo=" },
        { image: png },
        { url: "https://example.org/a.png" },
        { url: png },
        { bytes: "iVBORw0KGgo=" },
      ],
      task: "retrieval.query",
      dimensions: 16,
      normalized: true,
      embedding_type: "float",
      late_chunking: false,
      truncate: true,
    },
    items: [
      { field: "input[0]", text: "a", inputType: "query" },
      { field: "input[1]", image: web, inputType: "query" },
      { field: "input[2]", image: picture, inputType: "query" },
      { field: "input[3]", image: picture, inputType: "query" },
      { field: "input[4]", image: web, inputType: "query" },
      { field: "input[5]", image: picture, inputType: "query" },
      { field: "input[6]", image: picture, inputType: "query" },
    ],
    request: { model: "m", dimensions: 16, overflow: "truncate" },
    form: float,
  },
  ...["retrieval.passage", "text-matching"].map((task) => ({
    title: `the task ${task} makes documents, strings are items too, encoding_type is read`,
    body: { input: ["a"], task, encoding_type: "ubinary" },
    items: [{ field: "input[0]", text: "a", inputType: "document" }] as const,
    form: { encoding: "ubinary", chat: false },
  })),
  {
    title: "the keys of the model's card",
    body: {
      input: [
        { text: "a", image: png, prompt: "Find." },
        { text: "b", instruction: "I" },
        { text: "", image: null },
      ],
    },
    items: [
      { field: "input[0]", text: "a", image: picture, instruction: "Find." },
      { field: "input[1]", text: "b", instruction: "I" },
      { field: "input[2]", text: "" },
    ],
    form: float,
  },
  {
    title: "an input_type goes before the task",
    body: { input: [{ text: "a" }], task: "retrieval.query", input_type: "document", embedding_type: "binary" },
    items: [{ field: "input[0]", text: "a", inputType: "document" }],
    form: { encoding: "binary", chat: false },
  },
];

const cohere: readonly Golden[] = [
  {
    title: "texts, as the document has them",
    body: {
      model: "m",
      texts: ["a", "b"],
      input_type: "search_query",
      embedding_types: ["float", "binary"],
      output_dimension: 16,
      truncate: "NONE",
    },
    items: [
      { field: "texts[0]", text: "a", inputType: "query" },
      { field: "texts[1]", text: "b", inputType: "query" },
    ],
    request: { model: "m", dimensions: 16 },
    form: { encodings: ["float", "binary"], texts: ["a", "b"] },
  },
  {
    title: "images; cut at the end unless told otherwise",
    body: { model: "m", images: [png, "https://example.org/a.png"], input_type: "image", texts: null, inputs: null },
    items: [
      { field: "images[0]", image: picture, inputType: "document" },
      { field: "images[1]", image: web, inputType: "document" },
    ],
    request: { model: "m", overflow: "truncate" },
    form: { encodings: ["float"], texts: [] },
  },
  {
    title: "inputs, one vector each, with an instruction of our own",
    body: {
      inputs: [{ content: [text("a"), part()] }, { content: [part(png)], instruction: "own" }],
      input_type: "search_document",
      embedding_types: ["base64", "ubinary", "base64"],
      truncate: "END",
      priority: 3,
      instruction: "all",
    },
    items: [
      { field: "inputs[0]", text: "a", image: picture, instruction: "all", inputType: "document" },
      { field: "inputs[1]", image: picture, instruction: "own", inputType: "document" },
    ],
    request: { overflow: "truncate" },
    form: { encodings: ["base64", "ubinary"], texts: [] },
  },
];

const voyage: readonly Golden[] = [
  {
    title: "the document's inputs",
    body: {
      model: "m",
      inputs: [
        { content: [text("a"), part("https://example.org/a.png")] },
        { content: [{ type: "image_base64", image_base64: png }] },
        { content: [{ type: "image_base64", image_base64: "iVBORw0KGgo=" }, text("b")] },
      ],
      input_type: null,
      truncation: true,
      output_encoding: null,
    },
    items: [
      { field: "inputs[0]", text: "a", image: web },
      { field: "inputs[1]", image: picture },
      { field: "inputs[2]", text: "b", image: picture },
    ],
    request: { model: "m", overflow: "truncate" },
    form: { encoding: "float" },
  },
  ...["output_encoding", "encoding_format"].map((name) => ({
    title: `base64 by ${name}, no truncation, a query`,
    body: { inputs: [{ content: [text("a")] }], input_type: "query", truncation: false, [name]: "base64" },
    items: [{ field: "inputs[0]", text: "a", inputType: "query" }] as const,
    form: { encoding: "base64" },
  })),
];

const tei: readonly Golden[] = [
  {
    title: "a string with all of TEI's fields",
    body: {
      inputs: "text",
      normalize: true,
      truncate: false,
      truncation_direction: "right",
      prompt_name: null,
      dimensions: null,
    },
    items: [{ field: "inputs", text: "text" }],
  },
  {
    title: "strings, cut, as queries",
    body: { inputs: ["a", "b"], truncate: true, truncation_direction: "Right", prompt_name: "query", dimensions: 16 },
    items: [
      { field: "inputs[0]", text: "a", inputType: "query" },
      { field: "inputs[1]", text: "b", inputType: "query" },
    ],
    request: { overflow: "truncate", dimensions: 16 },
  },
];

const ollama: readonly Golden[] = [
  {
    title: "the document's request",
    body: { model: "m", input: ["text"], truncate: true, dimensions: 16, keep_alive: "5m" },
    items: [{ field: "input[0]", text: "text" }],
    request: { model: "m", dimensions: 16, overflow: "truncate" },
  },
  {
    title: "images beside texts, one without",
    body: { model: "m", input: ["a", "b", "c"], images: ["iVBORw0KGgo=", null], options: { num_ctx: 1 } },
    items: [
      { field: "input[0]", text: "a", image: picture },
      { field: "input[1]", text: "b" },
      { field: "input[2]", text: "c" },
    ],
    request: { model: "m", overflow: "truncate" },
  },
  {
    title: "images alone, no truncation",
    body: { images: [png], truncate: false, input_type: "query" },
    items: [{ field: "images[0]", image: picture, inputType: "query" }],
  },
];

export const goldens: Readonly<Record<string, readonly Golden[]>> = {
  openai: [...openaiStrings, ...contentParts, ...chats, ...jina],
  cohere,
  voyage,
  tei,
  ollama,
};
