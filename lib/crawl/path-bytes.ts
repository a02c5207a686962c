import { isUtf8 } from "node:buffer";

/**
 * Names of files are bytes on POSIX, and JSON, SQL and JavaScript want text. The lossless form of a path is its text,
 * with every byte that is not part of valid UTF-8 as the code point U+10FF00 + byte, and genuine U+10FF80…U+10FFFF
 * (private use, at the very end of Unicode) as their four bytes. On Windows names are text already.
 */
const escapeBase = 0x10ff00;
const escaped = /[\u{10ff80}-\u{10ffff}]/u;
const escapedAll = /[\u{10ff80}-\u{10ffff}]/gu;
const controlsAndBytes = /[\u{10ff80}-\u{10ffff}\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;
const shortEscapes: { readonly [character: string]: string } = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The lossless form of a path or name given as bytes; Bun and Deno give names as text where bytes are asked for. */
export function pathOf(given: Buffer | string): string {
  const bytes = typeof given === "string" ? Buffer.from(given) : given;
  if (process.platform === "win32") return bytes.toString("utf8");
  if (isUtf8(bytes)) {
    const text = bytes.toString("utf8");
    return escaped.test(text) ? text.replace(escapedAll, (character) => bytewise(Buffer.from(character))) : text;
  }
  const parts: string[] = [];
  for (let at = 0, from = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    at += length || 1;
    if (length > 0 && at < bytes.length) continue;
    const end = length > 0 ? at : at - 1;
    if (end > from) parts.push(pathOf(bytes.subarray(from, end)));
    if (length === 0) parts.push(bytewise(bytes.subarray(end, at)));
    from = at;
  }
  return parts.join("");
}

/** What to give to a function of `fs`: the string itself, or the bytes of a path that is not plain UTF-8. */
export function fsPath(path: string): string | Buffer {
  return process.platform !== "win32" && escaped.test(path) ? rawBytes(path) : path;
}

/** For people, in one line: raw bytes as \xNN, control and bidirectional characters escaped, never shortened. */
export function shownPath(path: string): string {
  return path.replace(controlsAndBytes, (character) => {
    const code = character.codePointAt(0) as number;
    if (code > escapeBase) return `\\x${(code - escapeBase).toString(16)}`;
    return shortEscapes[character] ?? `\\u{${code.toString(16)}}`;
  });
}

/** For JSON: the path, and beside it its bytes when they are not plain UTF-8. */
export function pathJson(path: string): { path: string; pathBase64?: string } {
  const raw = fsPath(path);
  return typeof raw === "string" ? { path } : { path, pathBase64: raw.toString("base64") };
}

function rawBytes(path: string): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (const match of path.matchAll(escapedAll)) {
    parts.push(Buffer.from(path.slice(from, match.index)));
    parts.push(Buffer.of((match[0].codePointAt(0) as number) - escapeBase));
    from = match.index + match[0].length;
  }
  parts.push(Buffer.from(path.slice(from)));
  return Buffer.concat(parts);
}

function bytewise(bytes: Buffer): string {
  return String.fromCodePoint(...Array.from(bytes, (byte) => escapeBase + byte));
}

/** Of the valid UTF-8 sequence at `at`, in bytes; 0 if there is none. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at];
  if (first < 0x80) return 1;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  return at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}
