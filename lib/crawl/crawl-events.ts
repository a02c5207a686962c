import { getSystemErrorMap } from "node:util";
import type { FileKind } from "../documents/file-kind";
import { abortError, GmeError } from "../errors";
import { shownPath } from "./path-bytes";

export interface CrawlOptions {
  /** Patterns of .gitignore syntax, relative to each root; they override `.gmeignore` files. */
  readonly exclude?: readonly string[];
  /** Follow symbolic links found in folders, wherever they lead but into /proc, /sys and /dev. Default false. */
  readonly followSymlinks?: boolean;
  /** Take files and enter folders whose name begins with a dot. Default false. */
  readonly hidden?: boolean;
  /** `cat.jpg.txt` or `cat.txt` beside `cat.jpg` is its caption and no text of its own. Default true. */
  readonly captions?: boolean;
  readonly signal?: AbortSignal;
}

export interface CaptionFile {
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
}

/** Paths are absolute, in the lossless form of path-bytes.ts. */
interface CrawledPath {
  readonly path: string;
  /** The root that it was found under; of a root, its own path. */
  readonly root: string;
  /** Whether the path is itself one of the roots. */
  readonly explicit: boolean;
}

export interface CrawledFile extends CrawledPath {
  readonly type: "file";
  readonly kind: FileKind;
  readonly size: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly caption?: CaptionFile;
}

export interface CrawlSkip extends CrawledPath {
  readonly type: "skipped";
  readonly reason: string;
}

export interface CrawlFailure extends CrawledPath {
  readonly type: "failed";
  readonly error: GmeError;
}

export type CrawlEvent = CrawledFile | CrawlSkip | CrawlFailure;

export const skipReasons = {
  hidden: "hidden",
  symbolicLink: "symbolic link",
  dangling: "symbolic link to nothing",
  loop: "symbolic link that leads to itself",
  walkedAlready: "a folder that was walked already, by another path",
  system: "in a folder of the operating system (/proc, /sys, /dev)",
  index: "an index",
  vanished: "vanished",
} as const;

/** GME_IO_ERROR in words: the path, what went wrong, and the system's name for it as `errno`. */
export function pathError(error: unknown, path: string): GmeError {
  if (error instanceof GmeError) return error;
  const { errno, code, message } = error as NodeJS.ErrnoException;
  const known = errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1];
  const file = shownPath(path);
  const reason = known === undefined ? (message ?? String(error)) : `${known} (${code})`;
  return new GmeError("GME_IO_ERROR", `${file}: ${reason}`, { file, errno: code, cause: error });
}

/** A path that is gone, or whose folder is. */
export function isVanished(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

export function stopIfAborted({ signal }: CrawlOptions): void {
  if (signal?.aborted) throw abortError(signal);
}
