import { GmeError } from "../../index";
import { inputError, wrongKind } from "./body-fields";
import type { WireImage } from "./dialect";

// Only the label before the data is looked at here: a picture's text is many megabytes long.

const labelLength = 256;
/** With an end to its search: in base64 no colon would stop it. */
const scheme = /^[a-z][a-z0-9+.-]{0,63}:/i;
const label = /^data:(?<media>[^,;]*)(?<parameters>(?:;[^,;]*)*),/i;

/** A data: URL, or an address that may or may not be fetched. */
export function readImageAddress(value: unknown, field: string): WireImage {
  const text = imageText(value, field);
  if (/^data:/i.test(text)) return readDataUrl(text, field);
  if (scheme.test(text)) return { kind: "address", address: text };
  throw inputError(field, "is neither a data: URL nor an address", { expected: "data:image/…;base64,…" });
}

/** Base64, with or without the label of a data: URL. */
export function readImageBase64(value: unknown, field: string): WireImage {
  const text = imageText(value, field);
  return /^data:/i.test(text) ? readDataUrl(text, field) : { kind: "base64", base64: text };
}

/** Any of the three forms. An address has a colon, base64 has none. */
export function readAnyImage(value: unknown, field: string): WireImage {
  const text = imageText(value, field);
  return scheme.test(text) ? readImageAddress(text, field) : { kind: "base64", base64: text };
}

function imageText(value: unknown, field: string): string {
  if (typeof value !== "string") throw wrongKind(field, "a string", value, "GME_INPUT_INVALID");
  if (value === "") throw inputError(field, "is empty", { expected: "a picture" });
  return value;
}

function readDataUrl(url: string, field: string): WireImage {
  const found = label.exec(url.slice(0, labelLength));
  const expected = "data:image/…;base64,…";
  if (found?.groups === undefined)
    throw inputError(field, "is not a usable data: URL: no comma ends its label", { expected });
  if (!/^image\/[a-z0-9.+-]+$/i.test(found.groups.media)) {
    const message = `${field} is a data: URL of another kind than a picture`;
    throw new GmeError("GME_IMAGE_FORMAT", message, { field, expected });
  }
  if (!/;base64$/i.test(found.groups.parameters))
    throw inputError(field, "is not a usable data: URL: it is not base64", { expected });
  const base64 = url.slice(found[0].length);
  if (base64 === "") throw inputError(field, "is a data: URL without data", { expected });
  return { kind: "base64", base64 };
}
