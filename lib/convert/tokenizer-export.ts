import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { GmeError, ioError, printable } from "../errors";
import { array, bool, type GgufMetadata, text, u32 } from "./gguf-types";
import { isObject, type JsonObject, readJsonFile } from "./json-file";

const maxTokenizerBytes = 64 << 20;
/** Qwen2's split of a text before the merges; readers of GGUF know it as "qwen2". */
const qwen2Pattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
/** tokenizer.ggml.token_type */
const tokenTypes = { normal: 1, control: 3, userDefined: 4, unused: 5 } as const;

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

interface Vocabulary {
  /** The file that the tokens came from, for errors. */
  readonly file: string;
  readonly tokens: JsonObject;
  readonly merges: readonly unknown[];
  readonly added: readonly AddedToken[];
}

/** The tokenizer.ggml.* keys of a checkpoint folder; the tokens are filled up to `size` with [PAD…]. */
export async function exportTokenizer(folder: string, size: number, bosTokenId?: number): Promise<GgufMetadata> {
  const configFile = join(folder, "tokenizer_config.json");
  const config = (await readJsonFile(configFile, maxTokenizerBytes)) ?? {};
  const vocabulary = (await readTokenizerJson(folder)) ?? (await readVocabAndMerges(folder, config));
  const { tokens, types, idOf } = fillTokens(vocabulary, size);
  const metadata: GgufMetadata = new Map([
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text("qwen2")],
    ["tokenizer.ggml.tokens", array("string", tokens)],
    ["tokenizer.ggml.token_type", array("i32", types)],
    [
      "tokenizer.ggml.merges",
      array(
        "string",
        vocabulary.merges.map((merge, i) => mergeText(vocabulary.file, merge, i)),
      ),
    ],
  ]);
  for (const [role, key] of [
    ["eos", "tokenizer.ggml.eos_token_id"],
    ["pad", "tokenizer.ggml.padding_token_id"],
    ["bos", "tokenizer.ggml.bos_token_id"],
  ] as const) {
    const content = contentOf(config[`${role}_token`]);
    const id = content === undefined ? (role === "bos" ? bosTokenId : undefined) : idOf.get(content);
    if (content !== undefined && id === undefined) {
      throw bad(configFile, `${role}_token`, `${printable(content)} is not in the vocabulary`, content);
    }
    if (id !== undefined && id < size) metadata.set(key, u32(id));
  }
  if (typeof config.add_bos_token === "boolean")
    metadata.set("tokenizer.ggml.add_bos_token", bool(config.add_bos_token));
  return metadata;
}

async function readTokenizerJson(folder: string): Promise<Vocabulary | undefined> {
  const file = join(folder, "tokenizer.json");
  const json = await readJsonFile(file, maxTokenizerBytes);
  if (json === undefined) return undefined;
  const model = isObject(json.model) ? json.model : {};
  if (model.type !== undefined && model.type !== "BPE")
    throw bad(file, "model.type", "not a BPE tokenizer", String(model.type));
  if (!isObject(model.vocab) || !Array.isArray(model.merges)) throw bad(file, "model", "vocab or merges are missing");
  checkPipeline(file, json);
  const added = Array.isArray(json.added_tokens) ? json.added_tokens : [];
  return {
    file,
    tokens: model.vocab,
    merges: model.merges,
    added: added.map((entry, i) => addedToken(file, i, entry, undefined)),
  };
}

/** Another split or normalisation would give other ids than the engine's tokenizer. */
function checkPipeline(file: string, json: JsonObject): void {
  const normalizer = isObject(json.normalizer) ? json.normalizer.type : undefined;
  if (normalizer !== "NFC") throw bad(file, "normalizer.type", "not Qwen2-VL's tokenizer", String(normalizer), "NFC");
  const pre = isObject(json.pre_tokenizer) ? json.pre_tokenizer : {};
  const steps = (Array.isArray(pre.pretokenizers) ? pre.pretokenizers : [pre]).filter(isObject);
  const split = steps.find((step) => step.type === "Split");
  const pattern = isObject(split?.pattern) ? split.pattern.Regex : undefined;
  const byteLevel = steps.find((step) => step.type === "ByteLevel");
  if (pattern !== qwen2Pattern || byteLevel === undefined || byteLevel.add_prefix_space === true) {
    throw bad(file, "pre_tokenizer", "not Qwen2-VL's tokenizer", String(pattern), qwen2Pattern);
  }
}

async function readVocabAndMerges(folder: string, config: JsonObject): Promise<Vocabulary> {
  const file = join(folder, "vocab.json");
  const tokens = await readJsonFile(file, maxTokenizerBytes);
  if (tokens === undefined) {
    const expected = "tokenizer.json, or vocab.json with merges.txt";
    throw new GmeError("GME_TOKENIZER_BAD", `${printable(folder)}: no tokenizer`, { file: folder, expected });
  }
  const decoder = isObject(config.added_tokens_decoder) ? Object.entries(config.added_tokens_decoder) : [];
  const added = decoder.map(([id, entry], i) =>
    addedToken(join(folder, "tokenizer_config.json"), i, entry, Number(id)),
  );
  return { file, tokens, merges: await readMergesTxt(folder), added };
}

async function readMergesTxt(folder: string): Promise<string[]> {
  const file = join(folder, "merges.txt");
  try {
    const lines = (await readFile(file, "utf8")).split("\n").map((line) => line.replace(/\r$/, ""));
    return lines.filter((line, i) => line !== "" && !(i === 0 && line.startsWith("#version")));
  } catch (error) {
    throw ioError(error, file);
  }
}

function addedToken(file: string, index: number, entry: unknown, id: number | undefined): AddedToken {
  const { content, special, id: ownId } = (isObject(entry) ? entry : {}) as JsonObject;
  const number = id ?? ownId;
  if (typeof content !== "string" || typeof number !== "number" || !Number.isInteger(number)) {
    throw bad(file, `added_tokens[${index}]`, "an added token has no text or no id");
  }
  return { id: number, content, special: special === true };
}

function fillTokens({ file, tokens: vocab, added }: Vocabulary, size: number) {
  const tokens = new Array<string | undefined>(size);
  const types = new Array<number>(size).fill(tokenTypes.normal);
  const idOf = new Map<string, number>();
  const place = (content: string, id: unknown, type: number) => {
    const field = `token ${JSON.stringify(printable(content))}`;
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= size) {
      throw bad(
        file,
        field,
        "its id is outside the vocabulary",
        String(id),
        `0..${size - 1} (vocab_size of config.json is ${size})`,
      );
    }
    if (tokens[id] !== undefined && tokens[id] !== content) {
      throw bad(file, field, `its id is also that of ${printable(tokens[id])}`, String(id), "an id of its own");
    }
    tokens[id] = content;
    types[id] = type;
    idOf.set(content, id);
  };
  for (const [content, id] of Object.entries(vocab)) place(content, id, tokenTypes.normal);
  for (const { content, id, special } of added)
    place(content, id, special ? tokenTypes.control : tokenTypes.userDefined);
  for (let id = 0; id < size; id++) if (tokens[id] === undefined) types[id] = tokenTypes.unused;
  return { tokens: Array.from(tokens, (token, id) => token ?? `[PAD${id}]`), types, idOf };
}

/** "a b", whether the file has it so or as ["a", "b"]. */
function mergeText(file: string, merge: unknown, index: number): string {
  if (typeof merge === "string" && /^[^ ]+ [^ ]+$/.test(merge)) return merge;
  if (
    Array.isArray(merge) &&
    merge.length === 2 &&
    merge.every((part) => typeof part === "string" && /^[^ ]+$/.test(part))
  ) {
    return `${merge[0]} ${merge[1]}`;
  }
  throw bad(file, `merges[${index}]`, "not a pair of tokens", JSON.stringify(merge));
}

/** "text", or { "content": "text" } of older writers. */
function contentOf(token: unknown): string | undefined {
  const content = isObject(token) ? token.content : token;
  return typeof content === "string" ? content : undefined;
}

function bad(file: string, field: string, what: string, value?: string, expected?: string): GmeError {
  const found = value === undefined ? undefined : printable(value);
  return new GmeError("GME_TOKENIZER_BAD", `${printable(file)}: ${field}: ${what}`, {
    file,
    field,
    value: found,
    expected,
  });
}
