import { isUtf8 } from "node:buffer";
import { GmeError, type GmeInput, type ImageSource } from "../index";
import type { Flags } from "./model-flags";
import { UsageError } from "./output";

const maxLineBytes = 128 * 1024 * 1024;
const maxStdinBytes = 64 * 1024 * 1024;

/** The item of `--text`, `--image` and `--prompt`; `-` reads the text, or the picture's bytes, from stdin. */
export async function readItemFlags(flags: Flags): Promise<GmeInput> {
  const { text, image, prompt } = flags as { text?: string; image?: string; prompt?: string };
  if (text === undefined && image === undefined) throw new UsageError("give --text T, --image F or both, or --jsonl");
  if (text === "-" && image === "-") throw new UsageError("only one of --text and --image can come from stdin");
  const item: { text?: string; image?: ImageSource; prompt?: string } = {};
  if (text !== undefined) item.text = text === "-" ? textOf(await readStdin()) : text;
  if (image !== undefined) item.image = image === "-" ? await readStdin() : image;
  if (prompt !== undefined) item.prompt = prompt;
  return item;
}

async function readStdin(): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxStdinBytes) {
      throw new GmeError("GME_INPUT_INVALID", `stdin holds more than ${maxStdinBytes} bytes`, {
        file: "<stdin>",
        expected: `at most ${maxStdinBytes} bytes`,
      });
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** One line end at the end belongs to the shell, not to the text. */
function textOf(bytes: Buffer): string {
  return decodeUtf8(bytes, "<stdin>").replace(/\r?\n$/, "");
}

function decodeUtf8(bytes: Buffer, file: string): string {
  if (!isUtf8(bytes))
    throw new GmeError("GME_INPUT_INVALID", `${file} is not valid UTF-8`, { file, expected: "UTF-8 text" });
  return bytes.toString("utf8");
}

/** A line of stdin as JSON, or what is wrong with it. */
export type JsonLine = { value: Record<string, unknown> } | { error: GmeError };

/** One JSON object per line; blank lines are passed over. Lines end at LF alone, since JSON strings may hold U+2028. */
export async function* readJsonLines(stream: AsyncIterable<Buffer>): AsyncGenerator<JsonLine> {
  let number = 0;
  for await (const line of splitLines(stream)) {
    number++;
    if (line !== undefined && /^\s*$/.test(line.toString("latin1", 0, 64)) && line.toString("utf8").trim() === "")
      continue;
    yield parseLine(line, number);
  }
}

function parseLine(line: Buffer | undefined, number: number): JsonLine {
  const bad = (reason: string, cause?: unknown) => ({
    error: new GmeError("GME_INPUT_INVALID", `line ${number}: ${reason}`, {
      file: "<stdin>",
      field: `line ${number}`,
      expected: "one JSON object",
      cause,
    }),
  });
  if (line === undefined) return bad(`longer than ${maxLineBytes} bytes`);
  try {
    const value: unknown = JSON.parse(decodeUtf8(line, `line ${number}`));
    if (typeof value !== "object" || value === null || Array.isArray(value)) return bad("not a JSON object");
    return { value: withoutNulls(value as Record<string, unknown>) };
  } catch (error) {
    return bad(error instanceof GmeError ? "not valid UTF-8" : "not JSON", error);
  }
}

/** JSON writers put null where nothing is. */
function withoutNulls(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== null));
}

/** undefined: a line over the limit. */
async function* splitLines(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer | undefined> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const part = chunk.subarray(from, end);
      yield size + part.length > maxLineBytes ? undefined : Buffer.concat([...parts, part]);
      [parts, size, from] = [[], 0, end + 1];
    }
    const rest = chunk.subarray(from);
    size += rest.length;
    if (size <= maxLineBytes) parts.push(rest);
    else parts = [];
  }
  if (size > 0) yield size > maxLineBytes ? undefined : Buffer.concat(parts);
}
