import { once } from "node:events";
import { open, rename, rm } from "node:fs/promises";
import { GmeError, printable } from "../index";

/** 0 done, 1 failed, 2 wrong usage, 3 finished but some items failed. Signals: 128 + their number. */
export const exitCodes = { done: 0, failed: 1, usage: 2, someFailed: 3 } as const;

/** Wrong usage that the argument parser cannot see by itself: exit code 2. */
export class UsageError extends Error {}

/** A result on stdout; waits while the reader is slower than we are. */
export async function print(data: string | Uint8Array): Promise<void> {
  if (process.stdout.write(data)) return;
  await once(process.stdout, "drain").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error; // the reader has gone: what that means is decided in main
  });
}

export async function printJson(value: unknown): Promise<void> {
  await print(`${JSON.stringify(value)}\n`);
}

/** Everything that is not a result. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Writes a file that appears whole or not at all. */
export async function writeWhole(path: string, data: string | Uint8Array): Promise<void> {
  const partial = `${path}.part`;
  try {
    const file = await open(partial, "w");
    try {
      await file.writeFile(data);
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw fileError(error, path);
  }
}

export function fileError(error: unknown, path: string): GmeError {
  const { code } = GmeError.from(error, "GME_IO_ERROR");
  const errno = (error as NodeJS.ErrnoException).code;
  return new GmeError(code, `${printable(path)}: cannot be written (${errno})`, { file: path, errno, cause: error });
}

/** `{ code, message }` with the fields that apply: the shape of an error in every machine-readable output. */
export function errorJson(error: unknown): Record<string, unknown> {
  const known = GmeError.from(error);
  const { code, message, file, field, offset, expected, item } = known;
  const value = typeof known.value === "bigint" ? known.value.toString() : known.value;
  return JSON.parse(JSON.stringify({ code, message, file, field, offset, value, expected, item }));
}

export function reportError(error: unknown, asJson: boolean): void {
  if (asJson) note(JSON.stringify({ error: errorJson(error) }));
  else {
    const { code, message } = GmeError.from(error);
    note(`${red("error:")} ${message} [${code}]`);
  }
}

function red(text: string): string {
  return useColour(process.stderr) ? `\u001b[31m${text}\u001b[0m` : text;
}

/** Colours only on a terminal, and not with NO_COLOR. */
export function useColour(stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}
