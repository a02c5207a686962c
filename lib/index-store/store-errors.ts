import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { GmeError, ioError, printable } from "../errors";
import type { IndexPlace } from "./index-place";

/** Linux' numbers in the messages of the store's file system layer, and what Node calls them. */
const errnoNames: Readonly<Record<string, string>> = {
  1: "EPERM",
  5: "EIO",
  13: "EACCES",
  23: "ENFILE",
  24: "EMFILE",
  27: "EFBIG",
  28: "ENOSPC",
  30: "EROFS",
  122: "EDQUOT",
};

/** The store tells its errors by their texts alone; they become typed ones here. */
export async function storeError(error: unknown, place: IndexPlace): Promise<GmeError> {
  if (error instanceof GmeError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const errno = errnoNames[/os error (\d+)/.exec(text)?.[1] ?? ""];
  if (errno !== undefined) {
    const cause = Object.assign(new Error(`the index cannot be read or written (${errno})`), { code: errno });
    return ioError(cause, place.uri);
  }
  if (/parsing function|Schema error|SQL|Invalid user input|Invalid input|not found in schema|Optimizer rule|Error during planning/i.test(text))
    return new GmeError("GME_OPTION_INVALID", `the filter is not understood: ${firstSentence(text)}`, { field: "options.where", expected: "SQL over the index's columns", cause: error }); // biome-ignore format: one line says it
  return corruptStore(place, firstSentence(text), error);
}

/** GME_STORE_CORRUPT naming the first damaged file that can be told. */
export async function corruptStore(place: IndexPlace, reason: string, cause?: unknown): Promise<GmeError> {
  const [damaged] = await damagedFiles(place);
  const file = damaged ?? place.uri;
  const what = damaged === undefined ? `a file of the index is damaged or missing: ${reason}` : "the file is damaged";
  const message = `${printable(file)}: ${what}; gme index --db ${printable(place.uri)} --repair goes back to the newest whole state`;
  return new GmeError("GME_STORE_CORRUPT", message, { file, expected: "a whole index", cause });
}

/** Every data file and manifest of Lance ends with this mark: one that was cut or zeroed lacks it. */
const endMark = "LANC";

/** Files of the table that are cut or zeroed at their end; empty for object storage. */
export async function damagedFiles({ folder }: IndexPlace): Promise<string[]> {
  if (folder === undefined) return [];
  const damaged: string[] = [];
  for (const part of ["_versions", "data"]) {
    const at = join(folder, tableFolder, part);
    for (const name of (await readdir(at).catch(() => [] as string[])).sort()) {
      if (!/\.(manifest|lance)$/.test(name)) continue;
      if (!(await endsWithMark(join(at, name)))) damaged.push(join(at, name));
    }
  }
  return damaged;
}

export const tableName = "entries";
export const tableFolder = `${tableName}.lance`;

async function endsWithMark(path: string): Promise<boolean> {
  const file = await open(path, "r").catch(() => undefined);
  if (file === undefined) return false;
  try {
    const { size } = await file.stat();
    if (size < endMark.length) return false;
    const { buffer } = await file.read(Buffer.alloc(endMark.length), 0, endMark.length, size - endMark.length);
    return buffer.toString("latin1") === endMark;
  } finally {
    await file.close();
  }
}

/** Without the places in the store's own sources. */
function firstSentence(text: string): string {
  const sentence = text
    .split(/\n|, \/[\w./-]+\.rs:\d+/)[0]
    .replace(/^Failed to [a-z ]+: /i, "")
    .replace(/^(?:GenericFailure, )?(?:lance error: )?(?:LanceError\(\w+\): )?/, "")
    .replace(/\/(rustc|usr\/local\/cargo)\/\S+/g, "")
    .trim();
  return printable(sentence === "" ? "unknown reason" : sentence);
}
