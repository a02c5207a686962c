import type { Stats } from "node:fs";
import { lstat, stat } from "node:fs/promises";
import { extname } from "node:path";
import { type FileKind, fileKind } from "../documents/file-kind";
import { type FolderCaptions, mayBeCaption } from "./crawl-captions";
import { entryType } from "./crawl-entry-type";
import { type CrawlEvent, type CrawlOptions, isVanished, pathError, skipReasons } from "./crawl-events";
import { childPath, type FolderEntry, type FolderToWalk, isSystemPath, type OpenFolder } from "./crawl-folder";
import { rulesFileName } from "./crawl-rules";
import { fsPath } from "./path-bytes";

export interface EntryContext {
  readonly options: CrawlOptions;
  readonly folder: OpenFolder;
  readonly captions: FolderCaptions;
  /** Roots: what is met again below another root is not taken twice. */
  readonly rootPaths: ReadonlySet<string>;
}

/** An event to report, a folder to walk, or undefined: nothing, because the entry is used or walked otherwise. */
export type EntryOutcome = CrawlEvent | FolderToWalk | undefined;

/** What is to be done with an entry of a folder. Never rejects. */
export async function inspectEntry(entry: FolderEntry, context: EntryContext): Promise<EntryOutcome> {
  const { folder, options, rootPaths } = context;
  const { name } = entry;
  const path = childPath(folder.path, name);
  if (rootPaths.has(path) || name === rulesFileName) return undefined;
  if (options.hidden !== true && name.startsWith(".")) return skipped(path, context, skipReasons.hidden);
  try {
    const type = entry.type === "unknown" ? entryType(await lstat(fsPath(path))) : entry.type;
    const relative = folder.relative + name;
    const rule = folder.rules.reasonFor(type === "folder" ? `${relative}/` : relative);
    if (rule !== undefined) return skipped(path, context, rule);
    if (type === "symbolic link") return await inspectLink(name, path, context);
    if (type === "folder") return subFolder(path, relative, "folder", context);
    if (type !== "file") return skipped(path, context, `a ${type}`);
    return await inspectFile(name, path, context);
  } catch (error) {
    return isVanished(error) ? skipped(path, context, skipReasons.vanished) : failed(path, context, error);
  }
}

/** The kind of a file, or why it is skipped. */
export function kindOrReason(name: string): { kind: FileKind } | { reason: string } {
  const kind = fileKind(name);
  if (kind !== undefined) return { kind };
  const extension = extname(name).toLowerCase();
  const shown = /^\.[a-z0-9]{1,8}$/.test(extension)
    ? extension
    : extension === ""
      ? "no extension"
      : "another extension";
  return { reason: `not a kind that is indexed (${shown})` };
}

/** A file that may be read: regular, and a symbolic link only when those are followed. */
export async function regularFile(path: string, followSymlinks: boolean): Promise<Stats | undefined> {
  try {
    const stats = await lstat(fsPath(path));
    if (!stats.isSymbolicLink()) return stats.isFile() ? stats : undefined;
    if (!followSymlinks || (await isSystemPath(path))) return undefined;
    const target = await stat(fsPath(path));
    return target.isFile() ? target : undefined;
  } catch {
    return undefined;
  }
}

async function inspectFile(name: string, path: string, context: EntryContext, linked?: Stats): Promise<EntryOutcome> {
  const { options, captions, folder } = context;
  const named = kindOrReason(name);
  if ("reason" in named) return skipped(path, context, named.reason);
  const { kind } = named;
  const stats = linked ?? (await lstat(fsPath(path)));
  if (!stats.isFile()) return skipped(path, context, skipReasons.vanished);
  const withCaptions = options.captions !== false;
  if (withCaptions && mayBeCaption(name) && (await captions.includes(name))) return undefined;
  const caption = withCaptions && kind === "image" ? await captions.of(name) : undefined;
  const { size, mtimeMs, ctimeMs } = stats;
  return { type: "file", path, root: folder.root, explicit: false, kind, size, mtimeMs, ctimeMs, caption };
}

async function inspectLink(name: string, path: string, context: EntryContext): Promise<EntryOutcome> {
  if (context.options.followSymlinks !== true) return skipped(path, context, skipReasons.symbolicLink);
  const target = await stat(fsPath(path)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ELOOP") return skipReasons.loop;
    if (isVanished(error)) return skipReasons.dangling;
    throw error;
  });
  if (typeof target === "string") return skipped(path, context, target);
  if (await isSystemPath(path)) return skipped(path, context, skipReasons.system);
  const type = entryType(target);
  if (type === "file") return inspectFile(name, path, context, target);
  if (type !== "folder") return skipped(path, context, `a ${type}`);
  const relative = context.folder.relative + name;
  const rule = context.folder.rules.reasonFor(`${relative}/`);
  return rule === undefined ? subFolder(path, relative, "link", context) : skipped(path, context, rule);
}

function subFolder(path: string, relative: string, found: "link" | "folder", { folder }: EntryContext): FolderToWalk {
  const { root, rules, device } = folder;
  return { path, root, relative: `${relative}/`, rules, device, found };
}

function skipped(path: string, { folder }: EntryContext, reason: string): CrawlEvent {
  return { type: "skipped", path, root: folder.root, explicit: false, reason };
}

function failed(path: string, { folder }: EntryContext, error: unknown): CrawlEvent {
  return { type: "failed", path, root: folder.root, explicit: false, error: pathError(error, path) };
}
