import type { IndexEntry } from "../index-store/index";
import { print } from "./output";
import { pathNames } from "./path-names";
import { WholeFile } from "./whole-file";

/** Where entries go, batch by batch. */
export interface EntrySink {
  write(entries: readonly IndexEntry[]): Promise<void>;
  /** The file appears. */
  finish(): Promise<void>;
  /** Nothing is left behind. */
  discard(): Promise<void>;
}

/** A line of JSON per row, its vector included. */
export async function linesSink(path: string): Promise<EntrySink> {
  const file = await WholeFile.open(path);
  return {
    write: (entries) => file.write(entryLines(entries, true)),
    finish: () => file.commit(),
    discard: () => file.discard(),
  };
}

/** The same to stdout, which waits while its reader is slower. */
export function stdoutSink(): EntrySink {
  const nothing = async () => undefined;
  return { write: (entries) => print(entryLines(entries, true)), finish: nothing, discard: nothing };
}

/** Lines of JSON. Times are milliseconds since 1970, sizes bytes. */
export function entryLines(entries: readonly IndexEntry[], withVectors: boolean): string {
  return entries.map((entry) => `${JSON.stringify(entryJson(entry, withVectors))}\n`).join("");
}

function entryJson(entry: IndexEntry, withVectors: boolean): Record<string, unknown> {
  const { key, kind, page, passage, row, snippet, caption, width, height, size, mtime, time } = entry;
  const names = { key, kind, ...pathNames(entry) };
  const facts = { page, passage, row, snippet, caption, width, height, size, mtime, time };
  if (!withVectors || entry.embedding === undefined) return { ...names, ...facts };
  return { ...names, ...facts, embedding: Array.from(entry.embedding) };
}
