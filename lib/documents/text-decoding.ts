import { GmeError, printable } from "../errors";

/** More bytes than this are not read as one text. */
export const maxTextBytes = 64 * 1024 * 1024;

/** Bytes that no text has: control characters but tab, line ends, form feed, the end of file of DOS, and escape. */
const controlBytes = byteSet([0x00, 0x08], [0x0e, 0x19], [0x1c, 0x1f], [0x7f, 0x7f]);
/** Bytes that windows-1252 leaves undefined. */
const undefinedBytes = byteSet([0x81, 0x81], [0x8d, 0x8d], [0x8f, 0x90], [0x9d, 0x9d]);

/** The bytes 0x80 to 0x9F. Node's own decoder for windows-1252 reads them as latin1 in some of its versions. */
const windowsPunctuation = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

const sampleBytes = 65_536;

/**
 * The text of a file: UTF-8 or UTF-16 as its byte order mark says, UTF-16 where every other byte is NUL, else UTF-8, else
 * windows-1252. Line ends become \n. `declared` is an encoding that the document names itself; it counts where the bytes
 * are not UTF-8. Throws GME_DOCUMENT_UNREADABLE for binary data and for more than 64 MiB.
 */
export function decodeText(bytes: Uint8Array, file: string, declared?: string): string {
  if (bytes.length > maxTextBytes) {
    throw new GmeError("GME_DOCUMENT_UNREADABLE", `${printable(file)}: ${bytes.length} bytes are too much for a text`, {
      file,
      value: bytes.length,
      expected: `at most ${maxTextBytes} bytes`,
    });
  }
  const text = decodeUnicode(bytes) ?? decodeDeclared(bytes, declared) ?? decodeWindows(bytes);
  const nul = text === undefined ? -1 : text.indexOf("\0");
  if (text === undefined || nul >= 0) {
    const found = nul >= 0 ? "NUL characters" : "bytes that are not text in UTF-8, UTF-16 or windows-1252";
    throw new GmeError("GME_DOCUMENT_UNREADABLE", `${printable(file)}: is not a text, it has ${found}`, {
      file,
      expected: "a text in UTF-8, UTF-16 or windows-1252",
    });
  }
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

/** A line or cell of a table: UTF-8, else windows-1252; undefined where it is neither or has NULs. */
export function decodeCell(bytes: Uint8Array): string | undefined {
  const text = decodeUtf8(bytes) ?? decodeWindows(bytes);
  return text?.includes("\0") ? undefined : text;
}

/** UTF-16 by its byte order mark, or by NULs in every other byte; undefined for anything else. */
export function utf16Variant(bytes: Uint8Array): "utf-16le" | "utf-16be" | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return "utf-16le";
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return "utf-16be";
  const sample = bytes.subarray(0, Math.min(bytes.length, sampleBytes) & ~1);
  let even = 0;
  let odd = 0;
  for (let i = 0; i < sample.length; i += 2) {
    if (sample[i] === 0) even++;
    if (sample[i + 1] === 0) odd++;
  }
  if (even + odd === 0 || (even > 0 && odd > 0)) return undefined;
  const variant = odd > 0 ? "utf-16le" : "utf-16be";
  return isLikelyUtf16(sample, variant, (2 * (even + odd)) / sample.length) ? variant : undefined;
}

/** `nulShare` is that of the units whose high byte is NUL: most in Latin script, the spaces and line ends in any other. */
function isLikelyUtf16(sample: Uint8Array, variant: "utf-16le" | "utf-16be", nulShare: number): boolean {
  if (nulShare < 0.02) return false;
  if (nulShare < 0.4) {
    const rest = sample.filter((byte) => byte !== 0);
    if (!hasAny(rest, controlBytes) && decodeUtf8(rest) !== undefined) return false;
  }
  const text = new TextDecoder(variant).decode(sample, { stream: true });
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xfffd || (unit < 256 && controlBytes[unit] === 1)) return false;
  }
  return true;
}

function decodeUnicode(bytes: Uint8Array): string | undefined {
  const wide = utf16Variant(bytes);
  return wide === undefined ? decodeUtf8(bytes) : new TextDecoder(wide).decode(bytes);
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function decodeDeclared(bytes: Uint8Array, declared: string | undefined): string | undefined {
  if (declared === undefined || hasAny(bytes, controlBytes)) return undefined;
  try {
    const decoder = new TextDecoder(declared);
    if (decoder.encoding === "windows-1252") return decodeWindows(bytes);
    return /^utf-/.test(decoder.encoding) ? undefined : decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

function decodeWindows(bytes: Uint8Array): string | undefined {
  if (hasAny(bytes, controlBytes) || hasAny(bytes, undefinedBytes)) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  return text.replace(/[\x80-\x9f]/g, (char) => windowsPunctuation[char.charCodeAt(0) - 0x80]);
}

function byteSet(...ranges: [number, number][]): Uint8Array {
  const set = new Uint8Array(256);
  for (const [first, last] of ranges) set.fill(1, first, last + 1);
  return set;
}

function hasAny(bytes: Uint8Array, set: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (set[bytes[i]] === 1) return true;
  return false;
}
