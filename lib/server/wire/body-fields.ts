import { GmeError, type GmeErrorCode, type GmeErrorDetails, nearestName, printable } from "../../index";
import type { WireItem, WireRules } from "./dialect";

// Bodies are checked here and not by their JSON Schemas: those are unions, whose failures name every branch but not the client's mistake.
// So nothing below may assume more of a body than that JSON.parse made it. Texts of a request are never repeated in an error.

export type Fields = Readonly<Record<string, unknown>>;

/** The name of a place in the body: `input[3]` and `text` → `input[3].text`. The body itself has no name. */
export function placeOf(parent: string, name: string): string {
  return parent === "" ? name : `${parent}.${name}`;
}

/** The fields of a request are its options, those of its items their contents. */
function codeOf(parent: string): GmeErrorCode {
  return parent === "" ? "GME_OPTION_INVALID" : "GME_INPUT_INVALID";
}

export function inputError(field: string, message: string, details: GmeErrorDetails = {}): GmeError {
  return new GmeError("GME_INPUT_INVALID", `${field} ${message}`, { field, ...details });
}

export function optionError(field: string, message: string, details: GmeErrorDetails = {}): GmeError {
  return new GmeError("GME_OPTION_INVALID", `${field} ${message}`, { field, ...details });
}

/** What a value is, without what it says. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (typeof value === "string") return `a text of ${value.length} characters`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

export function wrongKind(field: string, expected: string, value: unknown, code: GmeErrorCode): GmeError {
  return new GmeError(code, `expected ${expected} for ${field || "the body"}, got ${kindOf(value)}`, {
    ...(field === "" ? {} : { field }),
    expected,
  });
}

/** The fields of an object that has no others than `known`. */
export function readFields(value: unknown, place: string, known: readonly string[]): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrongKind(place, "an object", value, "GME_INPUT_INVALID");
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) throw unknownField(place, unknown, known);
  return value as Fields;
}

function unknownField(parent: string, key: string, known: readonly string[]): GmeError {
  const name = printable(key.slice(0, 60));
  const nearest = nearestName(key, known);
  const hint = nearest === undefined ? `known: ${known.join(", ")}` : `did you mean ${nearest}?`;
  return new GmeError(codeOf(parent), `unknown field ${placeOf(parent, name)}; ${hint}`, {
    field: placeOf(parent, name),
    expected: nearest ?? known.join(", "),
  });
}

/** null is what many clients write for an option that was not set. */
export function given(value: unknown): unknown {
  return value === null ? undefined : value;
}

export function stringField(fields: Fields, name: string, parent = ""): string | undefined {
  const value = given(fields[name]);
  if (value === undefined || typeof value === "string") return value;
  throw wrongKind(placeOf(parent, name), "a string", value, codeOf(parent));
}

export function booleanField(fields: Fields, name: string): boolean | undefined {
  const value = given(fields[name]);
  if (value === undefined || typeof value === "boolean") return value;
  throw wrongKind(name, "true or false", value, "GME_OPTION_INVALID");
}

export function choiceField<T extends string>(
  fields: Fields,
  name: string,
  choices: readonly T[],
  parent = "",
): T | undefined {
  const value = given(fields[name]);
  if (value === undefined || choices.includes(value as T)) return value as T | undefined;
  throw wrongKind(placeOf(parent, name), choices.map((c) => `"${c}"`).join(" or "), value, codeOf(parent));
}

/** Length of the vectors. GME is not trained for shorter ones, so they are made only where the server was told to. */
export function dimensionsField(fields: Fields, name: string, rules: WireRules): number | undefined {
  const value = given(fields[name]);
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value)) throw wrongKind(name, "an integer", value, "GME_OPTION_INVALID");
  const asked = value as number;
  if (asked === rules.dimensions) return asked;
  if (asked < 1 || asked > rules.dimensions) {
    throw optionError(name, `is ${asked}: this model's vectors have ${rules.dimensions} numbers`, {
      value: asked,
      expected: rules.allowTruncation ? `1 to ${rules.dimensions}` : String(rules.dimensions),
    });
  }
  if (rules.allowTruncation) return asked;
  const reason = `this model's vectors have ${rules.dimensions} numbers and it is not trained for fewer`;
  throw optionError(name, `is ${asked}: ${reason} (gme serve --allow-truncation cuts them all the same)`, {
    value: asked,
    expected: String(rules.dimensions),
  });
}

const neverChanged = ["normalize", "normalized", "use_activation"];

/** Options that clients may send as long as they ask for what is done anyway: vectors always have unit length. */
export function refuseOtherThan(fields: Fields, name: string, expected: boolean): void {
  const value = booleanField(fields, name);
  if (value === undefined || value === expected) return;
  const reason = neverChanged.includes(name) ? "vectors always have unit length" : "it is not supported";
  throw optionError(name, `cannot be ${value}: ${reason}`, { expected: String(expected) });
}

/** A list of items, counted before any of them is looked at. */
export function readList(value: unknown, field: string, rules: WireRules): readonly unknown[] {
  if (!Array.isArray(value)) throw wrongKind(field, "an array", value, "GME_INPUT_INVALID");
  if (value.length === 0)
    throw inputError(field, "is an empty array; there is nothing to embed", { expected: "items" });
  if (value.length > rules.maxItems) throw tooMany(field, value.length, "items", rules.maxItems);
  return value;
}

/** Errors over a count are the only ones of a list that carry a number: TEI gives them a status of their own. */
function tooMany(field: string, count: number, what: string, most: number): GmeError {
  const expected = `at most ${most} ${what}`;
  return inputError(field, `has ${count} ${what}; a request may have at most ${most}`, { value: count, expected });
}

export function checkImageCount(items: readonly WireItem[], field: string, rules: WireRules): void {
  const images = items.filter((item) => item.image !== undefined).length;
  if (images > rules.maxImages) throw tooMany(field, images, "pictures", rules.maxImages);
}

/** Ids of another vocabulary would give a vector that is silently wrong. */
export function tokensRefused(field: string): GmeError {
  const text = "token array input is not supported; send strings (LangChain: check_embedding_ctx_length=False)";
  return new GmeError("GME_INPUT_INVALID", text, { field, expected: "a string" });
}

/** Looks at the first entry only: lists of ids are long. */
export function looksLikeTokens(value: unknown): boolean {
  return typeof value === "number" || (Array.isArray(value) && typeof value[0] === "number");
}

/** One text or many, as every dialect has them. */
export function readTexts(value: unknown, field: string, rules: WireRules): WireItem[] {
  if (typeof value === "string") return [{ field, text: value }];
  if (looksLikeTokens(value) || (Array.isArray(value) && looksLikeTokens(value[0]))) throw tokensRefused(field);
  if (!Array.isArray(value)) throw wrongKind(field, "a string or an array of strings", value, "GME_INPUT_INVALID");
  return readList(value, field, rules).map((text, i) => {
    const place = `${field}[${i}]`;
    if (typeof text === "string") return { field: place, text };
    if (looksLikeTokens(text)) throw tokensRefused(place);
    throw wrongKind(place, "a string", text, "GME_INPUT_INVALID");
  });
}

/** Whether something is a query or a document, and its instruction. */
export interface ItemTags {
  readonly instruction?: string;
  readonly inputType?: "query" | "document";
}

export const tagNames = ["instruction", "input_type"] as const;
/** `prompt` is what the model's card calls the instruction. */
export const itemTagNames = [...tagNames, "prompt"] as const;

/** The key of an item that both stand for, unless it has no value. */
export function readTags(fields: Fields, parent = ""): ItemTags {
  const instruction = stringField(fields, "instruction", parent);
  const prompt = parent === "" ? undefined : stringField(fields, "prompt", parent);
  if (instruction !== undefined && prompt !== undefined)
    throw inputError(placeOf(parent, "prompt"), "and instruction are two names of the same thing: give one");
  return tags(instruction ?? prompt, choiceField(fields, "input_type", ["query", "document"] as const, parent));
}

export function tags(instruction: string | undefined, inputType: "query" | "document" | undefined): ItemTags {
  return { ...(instruction === undefined ? {} : { instruction }), ...(inputType === undefined ? {} : { inputType }) };
}

/** What stands on an item wins over what stands on the request. */
export function withRequestTags(items: readonly WireItem[], request: ItemTags): WireItem[] {
  return items.map((item) => ({ ...request, ...item }));
}
