import { type BigIntStats, realpathSync } from "node:fs";
import { stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { badArgument } from "../errors";
import { captionOf } from "./crawl-captions";
import { kindOrReason, regularFile } from "./crawl-entry";
import { entryType } from "./crawl-entry-type";
import {
  type CrawlEvent,
  type CrawlFailure,
  type CrawlOptions,
  pathError,
  skipReasons,
  stopIfAborted,
} from "./crawl-events";
import { childPath, identityOf, isSystemPath } from "./crawl-folder";
import { fsPath, pathOf } from "./path-bytes";

/** The roots of a crawl, each one once. */
export interface CrawlRoots {
  /** Files among them, and what is wrong with others. */
  readonly events: CrawlEvent[];
  readonly folders: readonly string[];
  /** The folders by device and inode. */
  readonly identities: ReadonlySet<string>;
  readonly paths: ReadonlySet<string>;
}

/** Looks at all roots. Rejects one that is no path with GME_INPUT_INVALID; one that does not exist is an event. */
export async function readRoots(roots: readonly string[], options: CrawlOptions): Promise<CrawlRoots> {
  const events: CrawlEvent[] = [];
  const folders: string[] = [];
  const identities = new Set<string>();
  const paths = new Set<string>();
  const files: string[] = [];
  for (const path of roots.map(absolutePath)) {
    stopIfAborted(options);
    if (paths.has(path)) continue;
    paths.add(path);
    const found = await lookAt(path);
    if ("type" in found) events.push(found);
    else if (found.stats.isFile()) files.push(path);
    else if (!identities.has(identityOf(found.stats))) {
      identities.add(identityOf(found.stats));
      folders.push(path);
    }
  }
  return { events: [...events, ...(await fileEvents(files, options))], folders, identities, paths };
}

/** Of a root as it was given; in the lossless form, as the working folder is. */
function absolutePath(root: string, index: number): string {
  if (typeof root !== "string" || root === "" || root.includes("\0")) {
    throw badArgument("GME_INPUT_INVALID", `roots[${index}]`, "a path", root);
  }
  return isAbsolute(root) ? resolve(root) : resolve(join(workingFolder(), root));
}

/** Not process.cwd(), which garbles bytes that are not UTF-8. */
function workingFolder(): string {
  return pathOf(realpathSync.native(".", { encoding: "buffer" }));
}

/** A root that is a symbolic link is followed: it was named. */
async function lookAt(path: string): Promise<{ stats: BigIntStats } | CrawlEvent> {
  const skipped = (reason: string): CrawlEvent => ({ type: "skipped", path, root: path, explicit: true, reason });
  try {
    const stats = await stat(fsPath(path), { bigint: true });
    if (await isSystemPath(path)) return skipped(skipReasons.system);
    const type = entryType(stats);
    return type === "file" || type === "folder" ? { stats } : skipped(`a ${type}`);
  } catch (error) {
    return failure(path, error);
  }
}

/** A text among the files that is the caption of a picture among them is not one of its own. */
async function fileEvents(paths: readonly string[], options: CrawlOptions): Promise<CrawlEvent[]> {
  const captions = new Set<string>();
  const events: CrawlEvent[] = [];
  for (const path of paths) {
    stopIfAborted(options);
    const event = await fileEvent(path, options);
    if (event.type === "file" && event.caption !== undefined) captions.add(event.caption.path);
    events.push(event);
  }
  return events.filter(({ path }) => !captions.has(path));
}

async function fileEvent(path: string, options: CrawlOptions): Promise<CrawlEvent> {
  const named = kindOrReason(basename(path));
  if ("reason" in named) return { type: "skipped", path, root: path, explicit: true, reason: named.reason };
  const { kind } = named;
  try {
    const { size, mtimeMs, ctimeMs } = await stat(fsPath(path));
    const folder = dirname(path);
    const take = (name: string) => regularFile(childPath(folder, name), options.followSymlinks === true);
    const withCaption = options.captions !== false && kind === "image";
    const caption = withCaption ? await captionOf(folder, basename(path), [".txt", ".TXT"], take) : undefined;
    return { type: "file", path, root: path, explicit: true, kind, size, mtimeMs, ctimeMs, caption };
  } catch (error) {
    return failure(path, error);
  }
}

function failure(path: string, error: unknown): CrawlFailure {
  return { type: "failed", path, root: path, explicit: true, error: pathError(error, path) };
}
