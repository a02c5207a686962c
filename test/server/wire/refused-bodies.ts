/** Bodies that are refused: the place that the error names, and a part of what it says. The secret in some must never come back. */

export interface Refused {
  readonly body: unknown;
  readonly field?: string;
  readonly says: RegExp;
  /** GME_INPUT_INVALID unless named. */
  readonly code?: string;
}

export const secret = "correct horse battery staple";

const option = "GME_OPTION_INVALID";
const tokens = /^token array input is not supported; send strings \(LangChain: check_embedding_ctx_length=False\)$/;
const part = (url: unknown) => ({ type: "image_url", image_url: url });
const png = "data:image/png;base64,iVBORw0KGgo=";
const many = (count: number, value: unknown) => Array.from({ length: count }, () => value);

/** What every dialect's options have in common, under the names it has for them. */
function sharedOptions(base: object, dimensions: string): Refused[] {
  return [
    { body: { ...base, [dimensions]: 8 }, field: dimensions, code: option, says: /is 8: .*16 numbers.*--allow-trunc/ },
    { body: { ...base, [dimensions]: 17 }, field: dimensions, code: option, says: /is 17: .*16/ },
    { body: { ...base, [dimensions]: 0 }, field: dimensions, code: option, says: /is 0: / },
    { body: { ...base, [dimensions]: -1 }, field: dimensions, code: option, says: /is -1: / },
    { body: { ...base, [dimensions]: 1e9 }, field: dimensions, code: option, says: /is 1000000000: / },
    { body: { ...base, [dimensions]: 1.5 }, field: dimensions, code: option, says: /expected an integer/ },
    { body: { ...base, [dimensions]: "16" }, field: dimensions, code: option, says: /expected an integer/ },
    { body: { ...base, n: 3 }, field: "n", code: option, says: /unknown field n/ },
    { body: { ...base, dimensoins: 3 }, field: "dimensoins", code: option, says: /unknown field dimensoins/ },
    { body: { ...base, instruction: 3 }, field: "instruction", code: option, says: /expected a string/ },
    { body: null, says: /expected an object for the body, got null/ },
    { body: [secret], says: /expected an object for the body, got an array of 1/ },
    { body: secret, says: /expected an object for the body, got a text of 28/ },
  ];
}

/** Lists of texts. */
function texts(name: string, base: object = {}): Refused[] {
  return [
    { body: { ...base, [name]: [] }, field: name, says: /is an empty array/ },
    {
      body: { ...base, [name]: many(257, secret) },
      field: name,
      says: /has 257 items; a request may have at most 256/,
    },
    { body: { ...base, [name]: [1, 2] }, field: name, says: tokens },
    { body: { ...base, [name]: [[1, 2], [3]] }, field: name, says: tokens },
    { body: { ...base, [name]: [secret, [1, 2]] }, field: `${name}[1]`, says: tokens },
    { body: { ...base, [name]: [secret, 5] }, field: `${name}[1]`, says: tokens },
    { body: { ...base, [name]: [secret, null] }, field: `${name}[1]`, says: /got null/ },
    { body: { ...base, [name]: true }, field: name, says: /got a boolean/ },
  ];
}

/** Pictures of content parts, `at` being the place of the first part. */
function pictures(inside: (...parts: unknown[]) => object, at: string): Refused[] {
  const url = `${at}[0].image_url.url`;
  const one = (image: unknown) => inside(part({ url: image }));
  return [
    { body: one(`data:text/html;base64,${secret}`), field: url, code: "GME_IMAGE_FORMAT", says: /another kind/ },
    { body: one("data:;base64,AAAA"), field: url, code: "GME_IMAGE_FORMAT", says: /another kind/ },
    { body: one(`data:image/png,${secret}`), field: url, says: /not base64/ },
    { body: one("data:image/png;base64"), field: url, says: /no comma/ },
    { body: one(`data:${"x".repeat(1e6)},`), field: url, says: /no comma/ },
    { body: one("data:image/png;base64,"), field: url, says: /without data/ },
    { body: one("/etc/passwd"), field: url, says: /neither a data: URL nor an address/ },
    { body: one(" https://example.org/"), field: url, says: /neither a data: URL nor an address/ },
    { body: one(""), field: url, says: /is empty/ },
    { body: one(5), field: url, says: /expected a string/ },
    { body: inside(part({})), field: url, says: /expected a string .*got nothing/ },
    { body: inside(part({ url: png, src: png })), field: `${at}[0].image_url.src`, says: /unknown field/ },
    { body: inside(part([png])), field: `${at}[0].image_url`, says: /expected an object .*an array of 1/ },
    { body: inside(part(png), part(png)), field: `${at}[1]`, says: /second picture/ },
    { body: inside({ type: secret }), field: `${at}[0].type`, says: /"text" or "image_url"/ },
    { body: inside({ text: secret }), field: `${at}[0].type`, says: /"text" or "image_url"/ },
    { body: inside({ type: "text" }), field: `${at}[0].text`, says: /expected a string/ },
    { body: inside({ type: "text", text: [1, 2] }), field: `${at}[0].text`, says: tokens },
    { body: inside({ type: "text", text: "a", txt: secret }), field: `${at}[0].txt`, says: /did you mean text/ },
    { body: inside("a", 2), field: `${at}[1]`, says: tokens },
    { body: inside("a", null), field: `${at}[1]`, says: /expected a content part .*null/ },
    { body: inside(), field: at, says: /has no content parts/ },
    { body: inside(...many(65, "a")), field: at, says: /has 65 content parts, at most 64/ },
  ];
}

const input = { input: secret };

const openaiOptions: readonly Refused[] = [
  ...sharedOptions(input, "dimensions"),
  { body: {}, field: "input", says: /got nothing/ },
  { body: { input: null }, field: "input", says: /got null/ },
  { body: { ...input, inputs: 1 }, field: "inputs", code: option, says: /did you mean input\?/ },
  { body: { ...input, model: 5 }, field: "model", code: option, says: /expected a string for model, got a number/ },
  { body: { ...input, encoding_format: secret }, field: "encoding_format", code: option, says: /"float" or "base64"/ },
  { body: { ...input, encoding_format: "binary" }, field: "encoding_format", code: option, says: /"float" or/ },
  { body: { ...input, embedding_type: "int8" }, field: "embedding_type", code: option, says: /"ubinary"/ },
  { body: { ...input, encoding_type: ["float"] }, field: "encoding_type", code: option, says: /"ubinary"/ },
  {
    body: { ...input, encoding_format: "float", embedding_type: "binary" },
    field: "embedding_type",
    code: option,
    says: /different encodings/,
  },
  { body: { ...input, truncate: "yes" }, field: "truncate", code: option, says: /true or false/ },
  { body: { ...input, truncate_prompt_tokens: 5 }, field: "truncate_prompt_tokens", code: option, says: /only be -1/ },
  { body: { ...input, truncation_side: "left" }, field: "truncation_side", code: option, says: /"right"/ },
  { body: { ...input, normalize: true }, field: "normalize", code: option, says: /unit length/ },
  { body: { ...input, normalize: false }, field: "normalize", code: option, says: /unit length/ },
  { body: { ...input, normalized: false }, field: "normalized", code: option, says: /unit length/ },
  { body: { ...input, use_activation: false }, field: "use_activation", code: option, says: /unit length/ },
  { body: { ...input, late_chunking: true }, field: "late_chunking", code: option, says: /not supported/ },
  { body: { ...input, embed_dtype: "float16" }, field: "embed_dtype", code: option, says: /"float32"/ },
  { body: { ...input, endianness: "big" }, field: "endianness", code: option, says: /"native" or "little"/ },
  { body: { ...input, input_type: secret }, field: "input_type", code: option, says: /"query" or "document"/ },
  { body: { ...input, task: 5, input_type: "query" }, field: "task", code: option, says: /expected a string/ },
  { body: { ...input, prompt: "p" }, field: "prompt", code: option, says: /unknown field prompt/ },
  {
    body: { ...input, mm_processor_kwargs: { min_pixels: 3136 } },
    field: "mm_processor_kwargs.min_pixels",
    code: option,
    says: /200704 pixels \(256 image tokens\); gme serve --min-image-tokens sets it/,
  },
  {
    body: { ...input, mm_processor_kwargs: { min_pixels: 200704, max_pixels: "1003520" } },
    field: "mm_processor_kwargs.max_pixels",
    code: option,
    says: /1003520 pixels \(1280 image tokens\); gme serve --max-image-tokens sets it/,
  },
  { body: { ...input, mm_processor_kwargs: { size: 1 } }, field: "mm_processor_kwargs.size", says: /unknown field/ },
  { body: { ...input, mm_processor_kwargs: [] }, field: "mm_processor_kwargs", says: /expected an object/ },
];

const item = (value: unknown) => ({ input: [value] });

const openaiItems: readonly Refused[] = [
  ...texts("input"),
  ...pictures((...parts) => item(parts), "input[0]"),
  ...pictures((...parts) => item({ content: parts }), "input[0].content"),
  { body: { input: 5 }, field: "input", says: tokens },
  { body: { input: [1.5, -1, 1e300] }, field: "input", says: tokens },
  { body: { input: [[]] }, field: "input[0]", says: /has no content parts/ },
  { body: item({}), field: "input[0]", says: /neither text nor image/ },
  { body: item({ text: null }), field: "input[0]", says: /neither text nor image/ },
  { body: item({ txt: secret }), field: "input[0].txt", says: /did you mean text\?/ },
  { body: item({ text: 5 }), field: "input[0].text", says: /expected a string/ },
  { body: item({ image: 5 }), field: "input[0].image", says: /expected a string/ },
  { body: item({ image: "" }), field: "input[0].image", says: /is empty/ },
  { body: item({ url: "AAAA" }), field: "input[0].url", says: /neither a data: URL nor an address/ },
  { body: item({ image: png, bytes: "AAAA" }), field: "input[0].bytes", says: /second picture/ },
  {
    body: item({ image: "data:text/html;base64,AAAA" }),
    field: "input[0].image",
    code: "GME_IMAGE_FORMAT",
    says: /kind/,
  },
  { body: item({ text: "a", prompt: "p", instruction: "i" }), field: "input[0].prompt", says: /two names/ },
  { body: item({ text: "a", input_type: secret }), field: "input[0].input_type", says: /"query" or "document"/ },
  { body: item({ content: [1, 2] }), field: "input[0].content", says: tokens },
  { body: item({ content: 5 }), field: "input[0].content", says: tokens },
  { body: item({ content: {} }), field: "input[0].content", says: /expected an array of content parts/ },
  { body: item({ content: ["a"], text: "b" }), field: "input[0].text", says: /unknown field/ },
  { body: { input: many(17, { image: png }) }, field: "input", says: /has 17 pictures; a request may have at most 16/ },
];

const user = { role: "user", content: secret };
const chatAt = (messages: unknown) => ({ messages });

const chats: readonly Refused[] = [
  ...pictures((...parts) => chatAt([{ role: "user", content: parts }]), "messages[0].content"),
  { body: { messages: [user], input: "a" }, field: "messages", code: option, says: /and input cannot/ },
  { body: chatAt([]), field: "messages", says: /has no messages/ },
  { body: chatAt("a"), field: "messages", says: /expected an array of messages/ },
  { body: chatAt(["a"]), field: "messages[0]", says: /expected an object/ },
  { body: chatAt([[]]), field: "messages[0]", says: /has no messages/ },
  { body: chatAt(many(257, [user])), field: "messages", says: /has 257 items/ },
  { body: chatAt([user, user]), field: "messages[1]", says: /second user message/ },
  { body: chatAt(many(4, user)), field: "messages", says: /has 4 messages/ },
  { body: chatAt([{ role: "system", content: "a" }]), field: "messages", says: /no user message/ },
  { body: chatAt([user, { role: "system", content: "a" }]), field: "messages[1]", says: /can only be the first/ },
  { body: chatAt([user, { role: "assistant", content: secret }]), field: "messages[1]", says: /empty assistant/ },
  { body: chatAt([{ role: "assistant", content: "" }, user]), field: "messages[0]", says: /empty assistant/ },
  { body: chatAt([{ role: "tool", content: "a" }]), field: "messages[0].role", says: /"system" or "user"/ },
  { body: chatAt([{ content: "a" }]), field: "messages[0].role", says: /got nothing/ },
  { body: chatAt([{ role: "user", content: "a", audio: 1 }]), field: "messages[0].audio", says: /unknown field/ },
  { body: chatAt([{ role: "user" }]), field: "messages[0].content", says: /got nothing/ },
  {
    body: chatAt([{ role: "system", content: [part(png)] }, user]),
    field: "messages[0].content[0].type",
    says: /expected "text"/,
  },
  { body: { input: [user, user] }, field: "input[1]", says: /second user message/ },
  { body: { input: ["a", user] }, field: "input[1].role", says: /unknown field/ },
  {
    body: item({ messages: [{ role: "system", content: "a" }, user], instruction: "b" }),
    field: "input[0]",
    says: /give one/,
  },
];

const cohereBase = { texts: [secret] };

const cohere: readonly Refused[] = [
  ...sharedOptions(cohereBase, "output_dimension"),
  ...texts("texts"),
  ...pictures((...parts) => ({ inputs: [{ content: parts }] }), "inputs[0].content"),
  { body: {}, field: "texts", code: option, says: /nothing to embed/ },
  { body: { texts: ["a"], images: [png] }, field: "images", code: option, says: /and texts cannot/ },
  { body: { images: [], inputs: [] }, field: "inputs", code: option, says: /and images cannot/ },
  { body: { texts: secret }, field: "texts", says: /expected an array of strings/ },
  { body: { images: png }, field: "images", says: /expected an array/ },
  { body: { images: ["AAAA"] }, field: "images[0]", says: /neither a data: URL nor an address/ },
  { body: { images: many(17, png) }, field: "images", says: /has 17 pictures/ },
  { body: { images: many(257, png) }, field: "images", says: /has 257 items/ },
  { body: { inputs: ["a"] }, field: "inputs[0]", says: /expected an object/ },
  { body: { inputs: [{}] }, field: "inputs[0].content", says: /got nothing/ },
  { body: { ...cohereBase, truncate: "START" }, field: "truncate", code: option, says: /cannot be START/ },
  { body: { ...cohereBase, truncate: "end" }, field: "truncate", code: option, says: /"NONE" or "END"/ },
  { body: { ...cohereBase, max_tokens: 5 }, field: "max_tokens", code: option, says: /not supported/ },
  { body: { ...cohereBase, input_type: "query" }, field: "input_type", code: option, says: /"search_query"/ },
  { body: { ...cohereBase, embedding_types: [] }, field: "embedding_types", code: option, says: /array of types/ },
  { body: { ...cohereBase, embedding_types: "float" }, field: "embedding_types", code: option, says: /array of types/ },
  ...["int8", "uint8"].map((type) => ({
    body: { ...cohereBase, embedding_types: ["float", type] },
    field: "embedding_types[1]",
    code: option,
    says: /no calibrated scale/,
  })),
  { body: { ...cohereBase, embedding_types: [secret] }, field: "embedding_types[0]", code: option, says: /"float" or/ },
];

const voyageBase = { inputs: [{ content: [{ type: "text", text: secret }] }] };

const voyage: readonly Refused[] = [
  ...sharedOptions(voyageBase, "output_dimension"),
  ...pictures((...parts) => ({ inputs: [{ content: parts }] }), "inputs[0].content"),
  { body: {}, field: "inputs", says: /expected an array/ },
  { body: { inputs: [] }, field: "inputs", says: /empty array/ },
  { body: { inputs: many(257, {}) }, field: "inputs", says: /has 257 items/ },
  { body: { inputs: [{}] }, field: "inputs[0].content", says: /got nothing/ },
  { body: { inputs: many(17, { content: [part(png)] }) }, field: "inputs", says: /has 17 pictures/ },
  {
    body: { inputs: [{ content: [{ type: "image_base64", image_base64: "data:text/html;base64,AAAA" }] }] },
    field: "inputs[0].content[0].image_base64",
    code: "GME_IMAGE_FORMAT",
    says: /another kind/,
  },
  {
    body: { inputs: [{ content: [{ type: "video_url", video_url: "https://example.org/a.mp4" }] }] },
    field: "inputs[0].content[0].type",
    says: /"image_base64"/,
  },
  { body: { ...voyageBase, output_encoding: "float" }, field: "output_encoding", code: option, says: /"base64"/ },
  { body: { ...voyageBase, output_dtype: "int8" }, field: "output_dtype", code: option, says: /"float"/ },
  { body: { ...voyageBase, truncation: 1 }, field: "truncation", code: option, says: /true or false/ },
  { body: { ...voyageBase, input_type: "search" }, field: "input_type", code: option, says: /"query" or "document"/ },
];

const teiBase = { inputs: secret };

const tei: readonly Refused[] = [
  ...sharedOptions(teiBase, "dimensions"),
  ...texts("inputs"),
  { body: {}, field: "inputs", says: /got nothing/ },
  { body: { inputs: [{ text: "a" }] }, field: "inputs[0]", says: /expected a string .*an object/ },
  { body: { ...teiBase, normalize: false }, field: "normalize", code: option, says: /unit length/ },
  ...["left", "Left"].map((direction) => ({
    body: { ...teiBase, truncation_direction: direction },
    field: "truncation_direction",
    code: option,
    says: /cannot be left/,
  })),
  { body: { ...teiBase, truncation_direction: 1 }, field: "truncation_direction", code: option, says: /"right"/ },
  { body: { ...teiBase, prompt_name: secret }, field: "prompt_name", code: option, says: /"query" or "document"/ },
  { body: { ...teiBase, truncate: "false" }, field: "truncate", code: option, says: /true or false/ },
];

const ollama: readonly Refused[] = [
  ...sharedOptions({ input: secret }, "dimensions"),
  ...texts("input"),
  ...texts("input", { images: [null] }),
  { body: {}, field: "input", says: /got nothing/ },
  { body: { input: "a", images: ["AAAA", "AAAA"] }, field: "images", says: /2 pictures for 1 texts/ },
  { body: { input: "a", images: "AAAA" }, field: "images", says: /expected an array/ },
  { body: { images: [null] }, field: "images[0]", says: /got null/ },
  { body: { images: [[1]] }, field: "images[0]", says: /expected a string/ },
  { body: { images: many(17, "AAAA") }, field: "images", says: /has 17 pictures/ },
  { body: { images: many(257, "AAAA") }, field: "images", says: /has 257 items/ },
  { body: { input: "a", prompt: "b" }, field: "prompt", code: option, says: /unknown field prompt/ },
];

export const refused: Readonly<Record<string, readonly Refused[]>> = {
  openai: [...openaiOptions, ...openaiItems, ...chats],
  cohere,
  voyage,
  tei,
  ollama,
};
