import {
  checkImageCount,
  type Fields,
  given,
  looksLikeTokens,
  optionError,
  readFields,
  readList,
  tokensRefused,
  withRequestTags,
  wrongKind,
} from "./body-fields";
import { embeddingsAnswerSchema, embeddingsBodySchema } from "./body-schemas";
import { isConversation, readChatItem, readConversation, readMessages } from "./chat";
import { openAiParts, readContent, readContentItem, readPartItem } from "./content-parts";
import type { Dialect, WireItem, WireRules } from "./dialect";
import { sumOf, writeEmbeddingList } from "./embedding-list";
import { embeddingsFields, readEmbeddingsOptions } from "./embeddings-options";
import { readJinaItem } from "./jina";
import { openAiError } from "./openai-error";
import type { VectorEncoding } from "./vector-encoding";

// POST /v1/embeddings: OpenAI's strings, and what other servers and services put in their place. An item's keys tell which file reads it.

interface EmbeddingsForm {
  readonly encoding: VectorEncoding;
  /** vLLM's answer to `messages` has an id and a time. */
  readonly chat: boolean;
}

export const openai: Dialect<EmbeddingsForm> = {
  name: "openai",
  path: "/v1/embeddings",
  bodySchema: embeddingsBodySchema,
  answerSchema: embeddingsAnswerSchema,
  read(body, rules) {
    const fields = readFields(body, "", embeddingsFields);
    const chat = given(fields.messages) !== undefined;
    if (chat && given(fields.input) !== undefined)
      throw optionError("messages", "and input cannot stand in one request");
    const options = readEmbeddingsOptions(fields, rules);
    const name = chat ? "messages" : "input";
    const items = chat ? readMessages(fields.messages, name, rules) : readInput(fields.input, name, rules);
    checkImageCount(items, name, rules);
    return {
      request: { ...options.request, items: withRequestTags(items, options.tags) },
      form: { encoding: options.encoding, chat },
    };
  },
  write(answer, { encoding, chat }) {
    const tokens = sumOf(answer.tokens, ({ total }) => total);
    const head = chat ? { id: answer.id, created: answer.created } : {};
    return writeEmbeddingList(answer, encoding, head, { prompt_tokens: tokens, total_tokens: tokens });
  },
  writeError: openAiError,
};

function readInput(value: unknown, field: string, rules: WireRules): WireItem[] {
  // Before the count: clients that send ids send many, and should hear why they are refused.
  if (looksLikeTokens(value) || (Array.isArray(value) && looksLikeTokens(value[0]))) throw tokensRefused(field);
  if (!Array.isArray(value)) return [readItem(value, field)];
  if (isConversation(value)) return [readConversation(value, field)];
  return readList(value, field, rules).map((item, i) => readItem(item, `${field}[${i}]`));
}

function readItem(value: unknown, field: string): WireItem {
  if (typeof value === "string") return { field, text: value };
  if (looksLikeTokens(value)) throw tokensRefused(field);
  if (isConversation(value)) return readConversation(value, field);
  if (Array.isArray(value)) return { field, ...readContent(value, field, openAiParts) };
  if (typeof value !== "object" || value === null)
    throw wrongKind(field, "a string, an object or an array of content parts", value, "GME_INPUT_INVALID");
  const item = value as Fields;
  if ("messages" in item) return readChatItem(item, field);
  if ("content" in item) return readContentItem(item, field);
  if ("type" in item) return readPartItem(item, field);
  return readJinaItem(item, field);
}
