import { setImmediate as othersTurn } from "node:timers/promises";
import { GmeError } from "../index";

/** Characters that are decoded in one go; a multiple of four. About 2 ms. */
const sliceLength = 4 * 2 ** 20;

/**
 * Standard base64 with correct padding → bytes. The length is checked before anything is decoded, and others have their turn between the
 * slices of a long text.
 */
export async function decodeBase64(text: string, field: string, maxBytes: number): Promise<Uint8Array> {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const size = (text.length / 4) * 3 - padding;
  if (text.length === 0) throw unusable(field, "it is empty");
  if (size > maxBytes)
    throw new GmeError(
      "GME_IMAGE_TOO_LARGE",
      `${field}: a picture of ${Math.ceil(size)} bytes, allowed are ${maxBytes}`,
      {
        field,
        value: Math.ceil(size),
        expected: `at most ${maxBytes} bytes`,
      },
    );
  if (text.length % 4 !== 0) throw unusable(field, `its length ${text.length} is not a multiple of four`);
  // The decoder would take the URL alphabet, stop at padding and skip the rest of what is wrong: then bytes are missing.
  const firstPadding = text.indexOf("=");
  if (text.includes("-") || text.includes("_") || (firstPadding >= 0 && firstPadding < text.length - padding))
    throw unusable(field, "it has characters that are not standard base64");
  const bytes = Buffer.allocUnsafeSlow(size);
  let written = 0;
  for (let at = 0; at < text.length; at += sliceLength) {
    if (at > 0) await othersTurn();
    const slice = text.slice(at, at + sliceLength);
    written += bytes.write(slice, written, "base64");
    if (written !== Math.min(((at + slice.length) / 4) * 3, size))
      throw unusable(field, "it has characters that are not standard base64");
  }
  return bytes;
}

function unusable(field: string, reason: string): GmeError {
  return new GmeError("GME_INPUT_INVALID", `${field} is not a picture in base64: ${reason}`, {
    field,
    expected: "standard base64 with padding",
  });
}
