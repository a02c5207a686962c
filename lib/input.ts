import { fileURLToPath } from "node:url";
import { badArgument, describe, GmeError, readFromCaller } from "./errors";
import { unknownName } from "./options";
import type { RemotePolicy } from "./remote-image";
import { checkRemoteUrl, nameOfUrl } from "./remote-url";

/** Raw pixels, row-major, 8 bit: RGB (3 channels) or RGBA (4). An `ImageData` fits. */
export interface RawImage {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
  /** 3 or 4; told from the length of `data` when absent. */
  channels?: number;
}

/** A path, a `file:` or `data:` URL (`http(s):` with `remoteImages`), the bytes of an encoded picture, or raw pixels. */
export type ImageSource = string | URL | Uint8Array | RawImage;

/** A string is always a text. `prompt` is this item's instruction. */
export type GmeInput = string | { id?: string | number; text?: string; image?: ImageSource; prompt?: string };

/** An image as it stands after the door: owned by us, so that the caller may change theirs. */
export type CheckedImage =
  | { kind: "path"; path: string }
  | { kind: "bytes"; bytes: Uint8Array; name: string }
  | { kind: "remote"; url: URL; name: string; field: string; policy: RemotePolicy }
  | { kind: "pixels"; data: Uint8Array; width: number; height: number };

export interface CheckedInput {
  id?: string | number;
  text?: string;
  image?: CheckedImage;
  prompt?: string;
}

export const maxTextLength = 1_048_576;
/** A text that will be cut by tokens is first cut to this many UTF-16 units, so that no copy of it is larger. */
export const maxCutTextLength = 2 ** 26;
export const maxImageBytes = 64 * 1024 * 1024;
/** No system takes a longer path, and Node ends the process over one that does not fit into its own error message. */
const maxPathLength = 32_767;
/** Base64 of maxImageBytes and room for the label before it. */
const maxImageString = Math.ceil((maxImageBytes * 4) / 3) + 1_024;
export const maxImageSide = 32_768;
export const maxItems = 65_536;
export const maxBatchImages = 4_096;

const onePicture =
  "GME is trained with one picture per item: embed the pictures one by one and average or compare their vectors";
const inputKeys = ["id", "text", "image", "prompt"] as const;

/**
 * Reads one input: every property once, bytes copied. `cutLongText` is set when the engine will cut the text anyway;
 * without `remote` a picture at an http(s) address is refused.
 */
export function readInput(
  value: unknown,
  field = "input",
  cutLongText = false,
  remote: RemotePolicy | undefined = undefined,
): CheckedInput {
  if (typeof value === "string") return { text: readText(value, field, cutLongText) };
  const { id, text, image, prompt } = readFromCaller("GME_INPUT_INVALID", field, () => propertiesOf(value, field));
  if (id !== undefined && typeof id !== "string" && typeof id !== "number") {
    throw badArgument("GME_INPUT_INVALID", `${field}.id`, "a string or a number", id);
  }
  if (text === undefined && image === undefined) {
    throw new GmeError("GME_INPUT_INVALID", `${field} has neither text nor image`, {
      field,
      expected: "text, image or both",
    });
  }
  const checked: CheckedInput = {};
  if (id !== undefined) checked.id = id;
  if (text !== undefined) checked.text = readText(text, `${field}.text`, cutLongText);
  if (prompt !== undefined) checked.prompt = readText(prompt, `${field}.prompt`, false);
  if (image !== undefined) {
    checked.image = readFromCaller("GME_INPUT_INVALID", `${field}.image`, () =>
      readImage(image, `${field}.image`, remote),
    );
  }
  return checked;
}

function propertiesOf(value: unknown, field: string): Record<string, unknown> {
  if (
    typeof value !== "object" ||
    value === null ||
    Array.isArray(value) ||
    ArrayBuffer.isView(value) ||
    value instanceof URL
  ) {
    throw badArgument("GME_INPUT_INVALID", field, "a string or { id?, text?, image?, prompt? }", value);
  }
  const given: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    if (!(inputKeys as readonly string[]).includes(key))
      throw unknownName("GME_INPUT_INVALID", "key", `${field}.${key}`, key, inputKeys);
    given[key] = (value as Record<string, unknown>)[key];
  }
  return given;
}

/** A value for an error's message where a text may stand in the wrong place: texts are never repeated in messages. */
export function describeUnread(value: unknown): unknown {
  return typeof value === "string" ? `a text of ${value.length} characters` : value;
}

/** Reads a list of inputs; the error of a bad one names its index. The list is read once, from front to back. */
export function readInputs(values: unknown, cutLongText = false, remote?: RemotePolicy): CheckedInput[] {
  const length = readFromCaller("GME_INPUT_INVALID", "inputs", () => {
    if (!Array.isArray(values)) throw badArgument("GME_INPUT_INVALID", "inputs", "an array", describeUnread(values));
    const claimed: unknown = values.length; // a proxy may claim anything
    return Number.isSafeInteger(claimed) ? (claimed as number) : Number.POSITIVE_INFINITY;
  });
  if (length > maxItems) {
    throw new GmeError("GME_INPUT_INVALID", `${length} items in one call; use embedMany for more than ${maxItems}`, {
      field: "inputs.length",
      value: length,
      expected: `at most ${maxItems}`,
    });
  }
  const checked: CheckedInput[] = [];
  let images = 0;
  for (let i = 0; i < length; i++) {
    const field = `inputs[${i}]`;
    try {
      const value = readFromCaller("GME_INPUT_INVALID", field, () => (values as unknown[])[i]);
      checked.push(readInput(value, field, cutLongText, remote));
    } catch (error) {
      throw GmeError.from(error, "GME_INPUT_INVALID").forItem(i);
    }
    if (checked[i].image !== undefined) images++;
  }
  if (images > maxBatchImages) {
    throw new GmeError(
      "GME_INPUT_INVALID",
      `${images} pictures in one call; use embedMany for more than ${maxBatchImages}`,
      {
        field: "inputs.length",
        value: images,
        expected: `at most ${maxBatchImages} pictures`,
      },
    );
  }
  return checked;
}

/** The text with lone surrogates replaced by U+FFFD, as TextEncoder does. */
export function readText(value: unknown, field: string, cutLongText: boolean): string {
  if (typeof value !== "string") throw badArgument("GME_INPUT_INVALID", field, "a string", value);
  if (value.length > maxTextLength && !cutLongText) {
    throw new GmeError(
      "GME_TEXT_TOO_LONG",
      `${field} has ${value.length} UTF-16 units, the limit is ${maxTextLength}`,
      {
        field,
        value: value.length,
        expected: `at most ${maxTextLength} UTF-16 units`,
      },
    );
  }
  const kept = value.length > maxCutTextLength ? value.slice(0, maxCutTextLength) : value;
  return wellFormed(kept);
}

/** String.prototype.toWellFormed, which Node 20 has and TypeScript's ES2023 does not name; a regular expression runs out of memory. */
function wellFormed(text: string): string {
  return (text as string & { toWellFormed(): string }).toWellFormed();
}

export function readImage(value: unknown, field: string, remote?: RemotePolicy): CheckedImage {
  if (typeof value === "string") return readImageString(value, field, remote);
  if (value instanceof URL) return readImageUrl(value, field, remote);
  if (Array.isArray(value)) {
    throw new GmeError("GME_INPUT_INVALID", `${field} is an array of ${value.length}; ${onePicture}`, {
      field,
      value: describe(value),
      expected: "one picture",
    });
  }
  if (ArrayBuffer.isView(value)) {
    const bytes =
      value.byteLength === 0 ? new Uint8Array() : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    checkByteLength(bytes.length, field, undefined);
    return { kind: "bytes", bytes: Uint8Array.from(bytes), name: "<buffer>" };
  }
  if (typeof value === "object" && value !== null) return readRawImage(value as Record<string, unknown>, field);
  throw badArgument("GME_INPUT_INVALID", field, "a path, URL, Uint8Array or { data, width, height }", value);
}

function readImageString(value: string, field: string, remote: RemotePolicy | undefined): CheckedImage {
  if (value.length > maxImageString) {
    throw tooLarge(
      field,
      `a string of ${value.length} characters`,
      value.length,
      `data: URLs of ${maxImageBytes} bytes`,
    );
  }
  if (/^(https?|data|file):/i.test(value) && URL.canParse(value)) return readImageUrl(new URL(value), field, remote);
  return { kind: "path", path: readPath(value, field) };
}

function readPath(value: string, field: string): string {
  checkPathLength(value, field);
  if (value === "" || value.includes("\0")) throw badArgument("GME_INPUT_INVALID", field, "a path", value);
  return value;
}

/** Looks at the length only: the first look at a character would write a string of parts out in memory. */
export function checkPathLength(path: string, field: string): void {
  if (path.length <= maxPathLength) return;
  throw new GmeError("GME_IO_ERROR", `${field} is a path of ${path.length} characters: too long`, {
    field,
    value: path.length,
    expected: `at most ${maxPathLength} characters`,
    errno: "ENAMETOOLONG",
  });
}

function readImageUrl(url: URL, field: string, remote: RemotePolicy | undefined): CheckedImage {
  switch (url.protocol) {
    case "file:":
      return { kind: "path", path: pathOfFileUrl(url, field) };
    case "data:":
      return { kind: "bytes", bytes: readDataUrl(url.href, field), name: "<data url>" };
    case "http:":
    case "https:":
      return readRemoteImage(new URL(url), field, remote);
    default:
      throw badArgument("GME_INPUT_INVALID", field, "a file: or data: URL", url.protocol);
  }
}

/** Of our own copy of the address; the host's own address is checked when it is dialled. */
function readRemoteImage(url: URL, field: string, policy: RemotePolicy | undefined): CheckedImage {
  if (policy === undefined) {
    throw new GmeError(
      "GME_URL_FETCH_DISABLED",
      `${field} is an ${url.protocol.slice(0, -1)} address; pictures are fetched only with remoteImages: pass their bytes`,
      {
        field,
        value: url.protocol,
        expected: "a path, a file: or data: URL, or bytes",
      },
    );
  }
  checkRemoteUrl(url, policy.rules, field);
  return { kind: "remote", url, name: nameOfUrl(url), field, policy };
}

function pathOfFileUrl(url: URL, field: string): string {
  try {
    return readPath(fileURLToPath(url), field);
  } catch (error) {
    if (error instanceof GmeError) throw error;
    throw new GmeError("GME_INPUT_INVALID", `${field} is not the URL of a local file`, {
      field,
      value: describe(url.href),
      cause: error,
    });
  }
}

/** Strict: standard base64 with correct padding; the length is checked before anything is decoded. The MIME label is ignored. */
function readDataUrl(href: string, field: string): Uint8Array {
  const comma = href.indexOf(",");
  const bad = (reason: string) =>
    new GmeError("GME_INPUT_INVALID", `${field} is not a usable data: URL: ${reason}`, {
      field,
      expected: "data:image/…;base64,…",
    });
  if (comma < 0) throw bad("it has no comma");
  if (!/;base64$/i.test(href.slice(0, comma).trimEnd())) throw bad("it is not base64");
  checkByteLength(Math.ceil(((href.length - comma - 1) * 3) / 4), field, "<data url>");
  const text = href.slice(comma + 1);
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    throw bad("the base64 text has wrong characters or padding");
  return Uint8Array.from(Buffer.from(text, "base64"));
}

function readRawImage(value: Record<string, unknown>, field: string): CheckedImage {
  const { data, width, height, channels } = value;
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw badArgument("GME_INPUT_INVALID", `${field}.data`, "a Uint8Array or Uint8ClampedArray", data);
  }
  for (const [name, side] of [
    ["width", width],
    ["height", height],
  ] as const) {
    if (!Number.isSafeInteger(side) || (side as number) < 1)
      throw badArgument("GME_INPUT_INVALID", `${field}.${name}`, "a positive integer", side);
    if ((side as number) > maxImageSide)
      throw tooLarge(field, `${name} ${side}`, side as number, `sides of at most ${maxImageSide}`);
  }
  const pixels = (width as number) * (height as number);
  const perPixel = channels === undefined ? data.length / pixels : channels;
  if (perPixel !== 3 && perPixel !== 4) {
    const given = channels === undefined ? data.length : channels;
    const what = channels === undefined ? `${pixels * 3} or ${pixels * 4} bytes (width × height × 3 or 4)` : "3 or 4";
    throw badArgument("GME_INPUT_INVALID", `${field}.${channels === undefined ? "data" : "channels"}`, what, given);
  }
  if (data.length !== pixels * perPixel)
    throw badArgument("GME_INPUT_INVALID", `${field}.data`, `${pixels * perPixel} bytes`, data.length);
  return { kind: "pixels", data: rgbOf(data, pixels, perPixel), width: width as number, height: height as number };
}

/** [h, w, 3] copied as is, [h, w, 4] without its alpha. */
function rgbOf(data: Uint8Array | Uint8ClampedArray, pixels: number, channels: number): Uint8Array {
  if (channels === 3) return Uint8Array.from(data);
  const rgb = new Uint8Array(pixels * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return rgb;
}

export function tooLarge(file: string, what: string, value: number | undefined, expected: string): GmeError {
  return new GmeError("GME_IMAGE_TOO_LARGE", `${file}: ${what}, allowed are ${expected}`, {
    file,
    field: "image",
    value,
    expected,
  });
}

function checkByteLength(length: number, field: string, name: string | undefined): void {
  if (length > maxImageBytes) throw tooLarge(name ?? field, `${length} bytes`, length, `${maxImageBytes} bytes`);
  if (length === 0) {
    throw new GmeError("GME_IMAGE_TRUNCATED", `${field} is empty`, {
      file: name ?? "<buffer>",
      field,
      value: 0,
      expected: "the bytes of a picture",
    });
  }
}
