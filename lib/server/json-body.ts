import { randomBytes } from "node:crypto";
import { isAscii, isUtf8 } from "node:buffer";
import type { Readable } from "node:stream";
import { GmeError } from "../index";

// Bytes of a body → value. What could make a parser slow, deep or large is counted on the bytes first. Long strings (pictures in base64)
// are taken out before JSON.parse and put back after it: it would stop everybody else for a millisecond per megabyte.

export interface JsonLimits {
  /** Bytes of the body. */
  readonly maxBytes: number;
  /** Brackets within brackets. */
  readonly maxDepth: number;
  /** Values, names included. */
  readonly maxValues: number;
  /** Bytes outside strings. */
  readonly maxBareBytes: number;
}

export const jsonLimits: Omit<JsonLimits, "maxBytes"> = { maxDepth: 64, maxValues: 100_000, maxBareBytes: 4 * 2 ** 20 };

export interface CollectedBody {
  readonly bytes: Buffer;
  /** A byte under 0x20 is in it: it was laid out in lines, or has what JSON forbids in strings. */
  readonly hasControls: boolean;
}

/**
 * The body's bytes, in one piece; no more of them are kept than allowed. `announced` is Content-Length; `onHeld` is told of each further
 * piece and may throw. What can be looked at piece by piece is: the whole at once would take others' time.
 */
export function collectBody(
  payload: Readable,
  maxBytes: number,
  announced: number | undefined,
  onHeld: (bytes: number) => void = () => undefined,
): Promise<CollectedBody> {
  if (announced !== undefined && announced > maxBytes) return Promise.reject(tooLarge(announced, maxBytes));
  return new Promise((resolve, reject) => {
    let held: Buffer = Buffer.allocUnsafe(Math.min(announced ?? firstBytes, firstBytes));
    let size = 0;
    let hasControls = false;
    const settle = (outcome: () => void) => {
      payload.off("data", onData).off("end", onEnd).off("error", onBreak).off("close", onBreak);
      outcome();
    };
    const onData = (chunk: Buffer) => {
      try {
        if (size + chunk.length > maxBytes) throw tooLarge(size + chunk.length, maxBytes);
        onHeld(chunk.length);
      } catch (error) {
        return settle(() => reject(error));
      }
      if (size + chunk.length > held.length) held = grown(held, size, size + chunk.length, announced ?? maxBytes);
      chunk.copy(held, size);
      size += chunk.length;
      hasControls ||= !isPlain(chunk, false);
    };
    const onEnd = () =>
      settle(() =>
        announced === undefined || announced === size
          ? resolve({ bytes: held.subarray(0, size), hasControls })
          : reject(unreadable("its length is not what Content-Length says", size, String(announced))),
      );
    const onBreak = () => settle(() => reject(unreadable("the connection broke off before its end")));
    payload.on("data", onData).on("end", onEnd).on("error", onBreak).on("close", onBreak);
  });
}

const firstBytes = 65_536;
/** Who has sent so much gets room for all that was announced: earlier, the announcement alone would take it. */
const trustedBytes = 2 ** 20;

function grown(held: Buffer, size: number, needed: number, most: number): Buffer {
  const wanted = size >= trustedBytes ? most : held.length * 4;
  const larger = Buffer.allocUnsafe(Math.max(needed, Math.min(most, wanted)));
  held.copy(larger, 0, 0, size);
  return larger;
}

export type JsonParser = (text: string) => unknown;

/** Throws GME_REQUEST_UNREADABLE; `parse` is handed what is left without the long strings. */
export function parseJsonBody(
  { bytes: body, hasControls }: CollectedBody,
  limits: Omit<JsonLimits, "maxBytes">,
  parse: JsonParser,
): unknown {
  if (body.length === 0) throw unreadable("it is empty");
  if (body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf) throw unreadable("it begins with a byte order mark");
  if (!isUtf8(body)) throw unreadable("it is not UTF-8");
  const standsForItself = ({ at, end }: Span) => {
    const text = body.subarray(at, end);
    return !text.includes(backslash) && isAscii(text) && (!hasControls || isPlain(text, true));
  };
  const long = checkTokens(body, limits).filter(standsForItself);
  if (long.length === 0) return parseText(textOf(body), parse);
  const mark = randomBytes(12).toString("base64url");
  const pieces: Buffer[] = [];
  let from = 0;
  for (const [i, { at, end }] of long.entries()) {
    pieces.push(body.subarray(from, at), Buffer.from(`${mark}${i}`));
    from = end;
  }
  pieces.push(body.subarray(from));
  const value = parseText(textOf(Buffer.concat(pieces)), parse);
  return putBack(value, mark, (i) => body.toString("latin1", long[i].at, long[i].end));
}

/** Several times as fast for ASCII. */
function textOf(body: Buffer): string {
  return body.toString(isAscii(body) ? "latin1" : "utf8");
}

function parseText(text: string, parse: JsonParser): unknown {
  try {
    return parse(text);
  } catch {
    throw unreadable("it is not valid JSON, or has a key that is not allowed"); // a parser's message repeats the text
  }
}

interface Span {
  readonly at: number;
  readonly end: number;
}

const longString = 65_536;
const [quote, backslash, colon] = [0x22, 0x5c, 0x3a];

/** Counts depth, values and bytes; returns where the long strings are. */
function checkTokens(body: Buffer, { maxDepth, maxValues, maxBareBytes }: Omit<JsonLimits, "maxBytes">): Span[] {
  const long: Span[] = [];
  let depth = 0;
  let values = 0;
  let bare = 0;
  for (let i = 0; i < body.length; i++) {
    switch (body[i]) {
      case quote: {
        const end = endOfString(body, i + 1);
        if (end - i > longString && body[end] === quote) {
          if (isName(body, end)) throw unreadable(`it has a key of ${end - i - 1} bytes`);
          long.push({ at: i + 1, end });
        }
        i = end;
        break;
      }
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > maxDepth) throw unreadable(`it is nested deeper than ${maxDepth}`, depth, `at most ${maxDepth}`);
        values++;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        break;
      case 0x2c: // ,
      case colon:
        values++;
        break;
    }
    if (values > maxValues)
      throw unreadable(
        `it has more than ${maxValues} values (numbers of tokens are not read as input: send texts)`,
        values,
        `at most ${maxValues}`,
      );
    if (++bare > maxBareBytes)
      throw unreadable(`it has more than ${maxBareBytes} bytes outside texts`, bare, `at most ${maxBareBytes}`);
  }
  return long;
}

/** Where the closing quote stands; the body's end without one. Jumps where it can, steps where escapes are close together. */
function endOfString(body: Buffer, from: number): number {
  let at = from;
  for (;;) {
    // Most strings are short: a call into native code costs as much as these steps.
    for (const stop = Math.min(at + 256, body.length); at < stop; at++) {
      if (body[at] === quote) return at;
      if (body[at] === backslash) at++;
    }
    if (at >= body.length) return body.length;
    const next = body.indexOf(quote, at);
    if (next < 0) return body.length;
    let escapes = 0;
    while (next - escapes - 1 >= at && body[next - escapes - 1] === backslash) escapes++;
    if (escapes % 2 === 0) return next;
    at = next + 1;
  }
}

/** A colon follows: the string names a value. */
function isName(body: Buffer, end: number): boolean {
  let at = end + 1;
  while (body[at] === 0x20 || body[at] === 0x0a || body[at] === 0x0d || body[at] === 0x09) at++;
  return body[at] === colon;
}

/** Without control characters, and with `asciiOnly` without what is not ASCII; four bytes at a time. */
function isPlain(bytes: Buffer, asciiOnly: boolean): boolean {
  const { buffer, byteOffset, length } = bytes;
  const skipped = Math.min((4 - (byteOffset % 4)) % 4, length);
  const words = new Int32Array(buffer, byteOffset + skipped, (length - skipped) >> 2);
  const top = 0x80808080 | 0;
  const kept = asciiOnly ? -1 : 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    // A byte under 0x20 borrows into its top bit; where that was set before it is no control character.
    const lowered = (word - 0x20202020) | 0;
    if ((((lowered & ~word) | (word & kept)) & top) !== 0) return false;
  }
  const isBad = (byte: number) => byte < 0x20 || (asciiOnly && byte > 0x7f);
  for (let i = 0; i < skipped; i++) if (isBad(bytes[i])) return false;
  for (let i = skipped + words.length * 4; i < length; i++) if (isBad(bytes[i])) return false;
  return true;
}

/** The strings in place of their marks, which nobody outside can guess. */
function putBack(value: unknown, mark: string, string: (index: number) => string): unknown {
  const restored = (part: unknown) =>
    typeof part === "string" && part.startsWith(mark) ? string(Number(part.slice(mark.length))) : part;
  if (typeof value !== "object" || value === null) return restored(value);
  const open: Record<string, unknown>[] = [value as Record<string, unknown>];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    for (const key of Object.keys(node)) {
      const part = restored(node[key]);
      if (part !== node[key]) node[key] = part;
      else if (typeof part === "object" && part !== null) open.push(part as Record<string, unknown>);
    }
  }
  return value;
}

function unreadable(reason: string, value?: number, expected = "a body of JSON in UTF-8"): GmeError {
  return new GmeError("GME_REQUEST_UNREADABLE", `the request's body cannot be read: ${reason}`, {
    field: "body",
    value,
    expected,
  });
}

function tooLarge(size: number, maxBytes: number): GmeError {
  return new GmeError("GME_BODY_TOO_LARGE", `the request's body has ${size} bytes or more, allowed are ${maxBytes}`, {
    field: "body",
    value: size,
    expected: `at most ${maxBytes} bytes`,
  });
}
