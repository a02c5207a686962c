import { declaredCharset, htmlToText } from "./html-text";
import { cutPassages, type Passage, type PassageSettings } from "./passages";
import { decodeText } from "./text-decoding";

/** The passages of a text or HTML file; none where it holds no text. Rejects with GME_DOCUMENT_UNREADABLE, GME_OPTION_INVALID. */
export async function readTextPassages(
  bytes: Uint8Array,
  kind: "text" | "html",
  file: string,
  settings: PassageSettings,
): Promise<Passage[]> {
  if (kind === "text") return cutPassages(decodeText(bytes, file), settings);
  const html = decodeText(bytes, file, declaredCharset(bytes));
  return cutPassages(await htmlToText(html), settings);
}
