import type { GmeError } from "../errors";
import type { ImageSource } from "../input";
import type { GmeModel } from "../model";
import type { LoadOptions } from "../options";

/** What a row is: a picture (with or without a caption), a passage of text, a page of a PDF. */
export type EntryKind = "image" | "text" | "page";

export const entryKinds: readonly EntryKind[] = ["image", "text", "page"];

export interface OpenIndexOptions {
  /** A loaded model, computing in this process; or a GGUF file or a pulled model's name, loaded in a child process at first use. */
  model?: GmeModel | string;
  /** For a `model` given by name. */
  modelOptions?: LoadOptions;
  /** Only search, stats, check and export; takes no lock and never creates. Default false. */
  readOnly?: boolean;
  signal?: AbortSignal;
}

/** One thing to index that is not a file. */
export interface IndexItem {
  /** Shown as the row's path; the same id again replaces what it named before. Default: the row's key. */
  id?: string;
  text?: string;
  image?: ImageSource;
  /** A ready vector of the index's length, finite and of unit length (within 1e-3); the model is then not asked. */
  embedding?: Float32Array;
  /** Default: "image" with a picture, else "text". */
  kind?: EntryKind;
}

export interface AddOptions {
  onProgress?: (progress: IndexProgress) => void;
  signal?: AbortSignal;
}

/** What is taken from folders, and how. */
export interface AddFilesOptions extends AddOptions {
  /** Patterns of .gitignore syntax, relative to each root, as in a `.gmeignore` file. */
  exclude?: readonly string[];
  followSymlinks?: boolean;
  /** Files and folders whose name begins with a dot. Default false. */
  hidden?: boolean;
  /** `cat.txt` or `cat.jpg.txt` beside `cat.jpg` is its caption, embedded with it in one vector. Default true. */
  captions?: boolean;
  /** Columns of JSONL and CSV files. Defaults: text, else caption, else content; image, else file_name. */
  textColumn?: string;
  imageColumn?: string;
  /** Passages of long texts, in characters. Defaults 1,200 and 200. */
  passageLength?: number;
  passageOverlap?: number;
  /** Try unchanged files again that failed before. Default false. */
  retryFailed?: boolean;
  /** Stop after so many failures in this run. */
  maxErrors?: number;
  /** Called with each failed or skipped file. */
  onEvent?: (event: IndexEvent) => void;
}

export type IndexEvent =
  | { readonly type: "failed"; readonly path: string; readonly part?: number; readonly error: GmeError }
  | { readonly type: "skipped"; readonly path: string; readonly reason: string }
  | { readonly type: "committed"; readonly rows: number; readonly total: number }
  | { readonly type: "engine"; readonly message: string };

export interface IndexProgress {
  /** Files (of `add`: items) that are settled: unchanged, indexed, skipped or failed. */
  readonly done: number;
  /** Found so far; final once `counted`. */
  readonly total: number;
  readonly counted: boolean;
  readonly unchanged: number;
  readonly skipped: number;
  readonly failed: number;
  /** Vectors computed. */
  readonly embedded: number;
  readonly itemsPerSecond: number;
  readonly tokensPerSecond: number;
  /** Seconds left, once there is a rate and a total. */
  readonly secondsLeft?: number;
  readonly current?: string;
}

/** What a run did. */
export interface IndexSummary {
  readonly files: number;
  readonly embedded: number;
  readonly tokens: number;
  /** Files whose content was there already under another path. */
  readonly duplicates: number;
  readonly unchanged: number;
  /** Files per reason. */
  readonly skipped: { readonly [reason: string]: number };
  readonly failed: number;
  /** Failed in an earlier run and not tried again. */
  readonly failedBefore: number;
  readonly rows: number;
  readonly seconds: number;
  /** Share of the time in which the model had work but did not compute. */
  readonly idleShare: number;
  readonly restarts: number;
}

export interface SearchOptions {
  image?: ImageSource;
  kind?: EntryKind;
  /** A glob on the rows' paths: `*`, `**`, `?`, `[…]`, `{a,b}`; without a slash it is matched against the name. */
  path?: string;
  /** SQL over the columns, as LanceDB takes it. */
  where?: string;
  /** Default 10. */
  limit?: number;
  minScore?: number;
  /** Default: by what is sought. */
  instruction?: string;
  /** A ready query vector instead of a query. */
  embedding?: Float32Array;
  /** Compare with every row, without the vector index. Default false. */
  exact?: boolean;
  /** Thumbnails with the results. Default false. */
  thumbnails?: boolean;
  signal?: AbortSignal;
}

export interface SearchResult {
  readonly key: string;
  /** Cosine of query and row, -1…1. */
  readonly score: number;
  readonly kind: EntryKind;
  /** The path seen last; all of them in `paths`. Lossless form of path-bytes.ts. */
  readonly path: string;
  readonly paths: readonly string[];
  /** From 1: of a PDF; of a long text; of a JSONL or CSV file. */
  readonly page?: number;
  readonly passage?: number;
  readonly row?: number;
  readonly snippet?: string;
  readonly width?: number;
  readonly height?: number;
  readonly thumbnail?: Uint8Array;
}

export interface IndexStats {
  readonly rows: number;
  readonly sources: number;
  readonly kinds: { readonly [kind in EntryKind]: number };
  readonly dimensions: number;
  readonly bytes: number;
  readonly versions: number;
  readonly model: IndexPin;
  readonly vectorIndex?: { readonly type: string; readonly indexedRows: number; readonly unindexedRows: number };
  readonly failures: number;
}

/** What all rows of an index have in common; another model or other settings are refused. */
export interface IndexPin {
  readonly version: number;
  readonly model: string;
  readonly fingerprint: string;
  readonly dimensions: number;
  readonly positions: string;
  readonly loaderResize: boolean;
  readonly minImageTokens: number;
  readonly maxImageTokens: number;
  readonly orientation: string;
  readonly instruction: string;
  readonly specialTokens: string;
}

export interface CheckReport {
  readonly rows: number;
  readonly sources: number;
  /** Sources unchanged on disk without a row. */
  readonly missing: number;
  /** Rows beyond the first of their key. */
  readonly duplicates: number;
  /** Rows whose vector is not finite or not of unit length. */
  readonly bad: number;
  /** Rows whose file changed or vanished. */
  readonly stale: number;
}

export interface EntriesOptions {
  readonly where?: string;
  /** With the embeddings and thumbnails. Default false. */
  readonly vectors?: boolean;
  readonly thumbnails?: boolean;
}

export interface ViewOptions {
  /** Pixels of the longer side at most, 16 to 4,096. Default 1,600. */
  readonly side?: number;
  readonly signal?: AbortSignal;
}

/** What to remove: rows by key, by path, or by an SQL filter. */
export interface Selection {
  readonly keys?: readonly string[];
  readonly paths?: readonly string[];
  readonly where?: string;
}
