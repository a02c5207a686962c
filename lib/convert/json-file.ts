import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { GmeError, type GmeErrorDetails, ioError, printable } from "../errors";

export type JsonObject = { readonly [name: string]: unknown };

/** A JSON file of at most `maxBytes` that holds an object; undefined where there is no such file. GME_CHECKPOINT_BAD otherwise. */
export async function readJsonFile(file: string, maxBytes: number): Promise<JsonObject | undefined> {
  let bytes: Buffer;
  try {
    const { size } = await stat(file);
    if (size > maxBytes)
      throw badJson(file, `${size} bytes are too many`, { value: size, expected: `at most ${maxBytes} bytes` });
    bytes = await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error instanceof GmeError ? error : ioError(error, file);
  }
  const value = parseJson(file, bytes);
  if (!isObject(value)) throw badJson(file, "not a JSON object", { expected: "an object" });
  return value;
}

/** As readJsonFile, for a file that must exist. */
export async function requireJsonFile(file: string, maxBytes: number): Promise<JsonObject> {
  const value = await readJsonFile(file, maxBytes);
  if (value === undefined) throw badJson(file, "no such file", { expected: basename(file) });
  return value;
}

function parseJson(file: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw badJson(file, "not valid JSON", { cause });
  }
}

export function badJson(file: string, what: string, details: GmeErrorDetails = {}): GmeError {
  return new GmeError("GME_CHECKPOINT_BAD", `${printable(file)}: ${what}`, { file, ...details });
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
