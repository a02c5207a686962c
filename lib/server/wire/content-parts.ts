import {
  type Fields,
  inputError,
  itemTagNames,
  looksLikeTokens,
  placeOf,
  readFields,
  readTags,
  tokensRefused,
  wrongKind,
} from "./body-fields";
import type { WireImage, WireItem } from "./dialect";
import { readImageAddress, readImageBase64 } from "./wire-image";

/** What an item is made of. */
export interface ItemContent {
  readonly text?: string;
  readonly image?: WireImage;
}

export type PartType = "text" | "input_text" | "image_url" | "input_image" | "image_base64";

/** `input_…` are the names of OpenAI's newer interface. */
export const openAiParts: readonly PartType[] = ["text", "image_url", "input_text", "input_image"];

const maxParts = 64;

/** `[…]` or a text → one item: its texts, one a line, and its one picture. */
export function readContent(value: unknown, field: string, types: readonly PartType[]): ItemContent {
  if (typeof value === "string") return { text: value };
  if (looksLikeTokens(value)) throw tokensRefused(field);
  if (!Array.isArray(value)) throw wrongKind(field, "an array of content parts", value, "GME_INPUT_INVALID");
  if (value.length === 0) throw inputError(field, "has no content parts", { expected: "a text, a picture or both" });
  if (value.length > maxParts) {
    const expected = `at most ${maxParts} parts`;
    throw inputError(field, `has ${value.length} content parts, at most ${maxParts} are read`, { expected });
  }
  const texts: string[] = [];
  let image: WireImage | undefined;
  value.forEach((part: unknown, i) => {
    const place = `${field}[${i}]`;
    const content = readPart(part, place, types);
    if (content.text !== undefined) texts.push(content.text);
    if (content.image === undefined) return;
    if (image !== undefined)
      throw inputError(place, "is the item's second picture: the model takes a single one", {
        expected: "one picture",
      });
    image = content.image;
  });
  return { ...(texts.length === 0 ? {} : { text: texts.join("\n") }), ...(image === undefined ? {} : { image }) };
}

function readPart(value: unknown, field: string, types: readonly PartType[]): ItemContent {
  if (typeof value === "string") return { text: value };
  if (looksLikeTokens(value)) throw tokensRefused(field);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrongKind(field, "a content part", value, "GME_INPUT_INVALID");
  return readTypedPart(value, field, types, []);
}

function readTypedPart(
  value: object,
  field: string,
  types: readonly PartType[],
  tagKeys: readonly string[],
): ItemContent {
  const type = (value as Fields).type as PartType;
  if (!types.includes(type))
    throw wrongKind(placeOf(field, "type"), types.map((t) => `"${t}"`).join(" or "), type, "GME_INPUT_INVALID");
  switch (type) {
    case "text":
    case "input_text":
      return { text: readText(readFields(value, field, ["type", "text", ...tagKeys]), field) };
    case "image_base64": {
      const { image_base64 } = readFields(value, field, ["type", "image_base64", ...tagKeys]);
      return { image: readImageBase64(image_base64, placeOf(field, "image_base64")) };
    }
    case "image_url":
    case "input_image": {
      const { image_url } = readFields(value, field, ["type", "image_url", "detail", ...tagKeys]);
      return { image: readImageUrl(image_url, placeOf(field, "image_url")) };
    }
  }
}

function readText({ text }: Fields, field: string): string {
  if (typeof text === "string") return text;
  if (looksLikeTokens(text)) throw tokensRefused(placeOf(field, "text"));
  throw wrongKind(placeOf(field, "text"), "a string", text, "GME_INPUT_INVALID");
}

/** `"…"` or `{ "url": "…" }`; `detail` has no effect, since the server's image tokens hold for all. */
function readImageUrl(value: unknown, field: string): WireImage {
  if (typeof value !== "object" || value === null) return readImageAddress(value, field);
  const { url } = readFields(value, field, ["url", "detail"]);
  return readImageAddress(url, placeOf(field, "url"));
}

/** `{ "type": …, … }` standing alone in the list: an item of one part. */
export function readPartItem(value: Fields, field: string): WireItem {
  const content = readTypedPart(value, field, openAiParts, itemTagNames);
  return { field, ...content, ...readTags(value, field) };
}

/** `{ "content": […], "instruction": … }` */
export function readContentItem(value: Fields, field: string, types: readonly PartType[] = openAiParts): WireItem {
  const fields = readFields(value, field, ["content", ...itemTagNames]);
  return { field, ...readContent(fields.content, placeOf(field, "content"), types), ...readTags(fields, field) };
}
