import { join } from "node:path";
import { GmeError, ioError, printable } from "../errors";
import type { IndexPlace } from "./index-place";
import { damagedFiles, tableFolder } from "./store-files";

export { tableFolder } from "./store-files";

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

/** The store tells its errors by their texts alone; they become typed ones here. `isFilter`: the filter that was given is at fault. */
export async function storeError(error: unknown, place: IndexPlace, isFilter = false): Promise<GmeError> {
  if (error instanceof GmeError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const errno = errnoNames[/os error (\d+)/.exec(text)?.[1] ?? ""];
  if (errno !== undefined) {
    const cause = Object.assign(new Error(`the index cannot be read or written (${errno})`), { code: errno });
    return ioError(cause, place.uri);
  }
  if (isFilter)
    return new GmeError("GME_OPTION_INVALID", `the filter is not understood: ${firstSentence(text)}`, { field: "options.where", expected: "SQL over the index's columns", cause: error }); // biome-ignore format: one line says it
  return corruptStore(place, firstSentence(text), error);
}

/** What a filter does to the rows, and only when it meets them. */
const filterFaults = /cast error|cast string|divide by zero|regex parse|overflow|compute error/i;

export function isFilterFault(error: unknown): boolean {
  return !(error instanceof GmeError) && error instanceof Error && filterFaults.test(error.message);
}

/** GME_STORE_CORRUPT naming the first damaged file that can be told. */
export async function corruptStore(place: IndexPlace, reason: string, cause?: unknown): Promise<GmeError> {
  const [damaged] = await damagedFiles(place);
  const file = damaged ?? fileIn(cause) ?? tableOf(place);
  const what = damaged === undefined ? `a file of the index is damaged or missing: ${reason}` : "the file is damaged";
  const message = `${printable(file)}: ${what}; gme index --db ${printable(place.uri)} --repair goes back to the newest whole state`;
  return new GmeError("GME_STORE_CORRUPT", message, { file, expected: "a whole index", cause });
}

/** The file that the store's own message names. */
function fileIn(cause: unknown): string | undefined {
  const text = cause instanceof Error ? cause.message : "";
  const path = /(\/?[^\s"'()]*\.lance\/[^\s"'()]+\.(?:lance|manifest|arrow|bin|txn|idx))/.exec(text)?.[1];
  return path === undefined || path.startsWith("/") ? path : `/${path}`;
}

function tableOf({ folder, uri }: IndexPlace): string {
  return folder === undefined ? uri : join(folder, tableFolder);
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
