import type { EmbedTask } from "../embed-tasks/embed-task";
import type { Source } from "./entry-row";
import type { FileRun } from "./file-run";
import type { EntryKind } from "./index-types";

/** One row to be: where it comes from, and how its vector is computed if the index does not have it yet. */
export interface WorkItem {
  readonly key: string;
  readonly kind: EntryKind;
  readonly source: Source;
  readonly task: EmbedTask;
  /** A vector that the caller brought. */
  readonly embedding?: Float32Array;
  readonly page?: number;
  readonly passage?: number;
  readonly snippet?: string;
  readonly caption?: string;
  /** The number by which a failure of it is named. */
  readonly part?: number;
  readonly run: FileRun;
}

const snippetLength = 400;

/** The beginning of a text in one line. */
export function snippetOf(text: string): string {
  const line = text
    .slice(0, snippetLength * 2)
    .replace(/\s+/g, " ")
    .trim();
  if (line.length <= snippetLength) return line;
  return `${line.slice(0, snippetLength - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
}
