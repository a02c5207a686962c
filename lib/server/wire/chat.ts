import {
  choiceField,
  type Fields,
  inputError,
  itemTagNames,
  placeOf,
  readFields,
  readList,
  readTags,
  wrongKind,
} from "./body-fields";
import { openAiParts, readContent } from "./content-parts";
import type { WireItem, WireRules } from "./dialect";

// vLLM's chat form: a conversation of one user message is one item; its system message is the instruction.

const roles = ["system", "user", "assistant"] as const;

/** system, user, and the empty assistant message that clients of newer models append. */
const maxMessages = roles.length;

/** `messages: […]` is one item, `messages: [[…], […]]` one item each. */
export function readMessages(value: unknown, field: string, rules: WireRules): WireItem[] {
  if (!Array.isArray(value) || !Array.isArray(value[0])) return [readConversation(value, field)];
  return readList(value, field, rules).map((conversation, i) => readConversation(conversation, `${field}[${i}]`));
}

/** An array of messages is a conversation wherever it stands. */
export function isConversation(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && isObject(value[0]) && "role" in value[0];
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `{ "messages": […], "instruction": … }` inside `input`. */
export function readChatItem(value: Fields, field: string): WireItem {
  const fields = readFields(value, field, ["messages", ...itemTagNames]);
  const item = readConversation(fields.messages, placeOf(field, "messages"));
  const own = readTags(fields, field);
  if (item.instruction !== undefined && own.instruction !== undefined)
    throw inputError(field, "has an instruction and a system message: give one", { expected: "one instruction" });
  return { ...item, ...own };
}

export function readConversation(value: unknown, field: string): WireItem {
  if (!Array.isArray(value)) throw wrongKind(field, "an array of messages", value, "GME_INPUT_INVALID");
  if (value.length === 0) throw inputError(field, "has no messages", { expected: "one user message" });
  if (value.length > maxMessages) {
    const expected = "a system message, one user message, an empty assistant message";
    throw inputError(field, `has ${value.length} messages; a conversation is one item with one user message`, {
      expected,
    });
  }
  let instruction: string | undefined;
  let item: WireItem | undefined;
  value.forEach((message: unknown, i) => {
    const place = `${field}[${i}]`;
    const fields = readFields(message, place, ["role", "content", "name"]);
    const role = choiceField(fields, "role", roles, place);
    if (role === "system") {
      if (i > 0) throw inputError(place, "is a system message; it can only be the first one");
      instruction = readSystem(fields.content, placeOf(place, "content"));
    } else if (role === "user") {
      if (item !== undefined) throw inputError(place, "is a second user message; a conversation is one item");
      item = { field, ...readContent(fields.content, placeOf(place, "content"), openAiParts) };
    } else if (role === "assistant") {
      if (item === undefined || !isEmptyContent(fields.content))
        throw inputError(place, "is an answer; only an empty assistant message after the user's is tolerated");
    } else throw wrongKind(placeOf(place, "role"), roles.join(" or "), undefined, "GME_INPUT_INVALID");
  });
  if (item === undefined) throw inputError(field, "has no user message", { expected: "one user message" });
  return instruction === undefined ? item : { ...(item as WireItem), instruction };
}

function readSystem(value: unknown, field: string): string {
  const { text } = readContent(value, field, ["text"]);
  return text ?? "";
}

function isEmptyContent(value: unknown): boolean {
  if (value === undefined || value === null || value === "") return true;
  if (!Array.isArray(value) || value.length > 1) return false;
  return value.length === 0 || (isObject(value[0]) && (value[0] as Fields).text === "");
}
