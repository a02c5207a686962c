import type { Dir } from "node:fs";
import { lstat, opendir, realpath, stat, statfs } from "node:fs/promises";
import { sep } from "node:path";
import { type EntryType, entryType } from "./crawl-entry-type";
import { type CrawlEvent, isVanished, pathError, skipReasons } from "./crawl-events";
import { patiently } from "./crawl-patience";
import { type CrawlRules, readRules, rulesFileName } from "./crawl-rules";
import { fsPath, pathOf } from "./path-bytes";

/** A folder that is to be walked. */
export interface FolderToWalk {
  readonly path: string;
  readonly root: string;
  /** Its path in the root, with "/" at the end; "" is the root itself. */
  readonly relative: string;
  readonly rules: CrawlRules;
  /** The device of the folder that it was found in. */
  readonly device?: bigint;
  /** What it is, or leads to it. */
  readonly found: "root" | "link" | "folder";
}

/** A folder that is being walked. */
export interface OpenFolder extends FolderToWalk {
  readonly device: bigint;
  /** Absent once all entries have been read. */
  dir?: Dir;
  /** Sub-folders that were seen and are still to be walked. */
  readonly pending: FolderToWalk[];
}

/** Folders that are walked as roots or, when symbolic links are followed, have been walked, by device and inode. */
export interface KnownFolders {
  readonly roots: ReadonlySet<string>;
  readonly visited?: Set<string>;
}

export interface FolderEntry {
  readonly name: string;
  readonly type: EntryType;
}

const entriesPerRead = 64;
/** Folders that may stay open at once; below, a folder is read to its end before its sub-folders are. */
export const maxOpenFolders = 8;

/** Opens a folder, or says why it is not walked; undefined: it is a root and walked as such. */
export async function openFolder(
  folder: FolderToWalk,
  known: KnownFolders,
): Promise<OpenFolder | CrawlEvent | undefined> {
  const { path, root, found } = folder;
  const explicit = found === "root";
  const skipped = (reason: string): CrawlEvent => ({ type: "skipped", path, root, explicit, reason });
  try {
    const stats = await (found === "folder" ? lstat : stat)(fsPath(path), { bigint: true });
    if (!stats.isDirectory()) return skipped(skipReasons.vanished);
    const identity = identityOf(stats);
    if (!explicit && known.roots.has(identity))
      return found === "link" ? skipped(skipReasons.walkedAlready) : undefined;
    if (known.visited?.has(identity)) return skipped(skipReasons.walkedAlready);
    const elsewhere = found !== "folder" || stats.dev !== folder.device || systemFolder.test(path);
    if (elsewhere && (await isSystemPath(path))) return skipped(skipReasons.system);
    if (await isIndex(path)) return skipped(skipReasons.index);
    known.visited?.add(identity);
    const dir = await openPatiently(path);
    try {
      const rules = folder.rules.within(folder.relative, await readRules(childPath(path, rulesFileName)));
      return { ...folder, rules, device: stats.dev, dir, pending: [] };
    } catch (error) {
      await dir.close();
      throw error;
    }
  } catch (error) {
    if (!explicit && isVanished(error)) return skipped(skipReasons.vanished);
    return { type: "failed", path, root, explicit, error: pathError(error, path) };
  }
}

/** The next entries of a folder; after the last ones its `dir` is closed and gone. */
export async function readEntries(folder: OpenFolder): Promise<FolderEntry[]> {
  const entries: FolderEntry[] = [];
  try {
    while (folder.dir !== undefined && entries.length < entriesPerRead) {
      const entry = await folder.dir.read();
      if (entry === null) await closeFolder(folder);
      else entries.push({ name: pathOf(entry.name as unknown as Buffer), type: entryType(entry) });
    }
  } catch (error) {
    if (entries.length === 0) throw error; // else the next call meets it again
  }
  return entries;
}

export async function closeFolder(folder: OpenFolder): Promise<void> {
  const { dir } = folder;
  folder.dir = undefined;
  await dir?.close().catch(() => undefined);
}

/** A folder for reading names as bytes. */
export function openPatiently(path: string): Promise<Dir> {
  // The types of Node 20 know only the encodings of text.
  const options = { encoding: "buffer" as BufferEncoding, bufferSize: 256 };
  return patiently(() => opendir(fsPath(path), options));
}

export function identityOf(stats: { readonly dev: bigint; readonly ino: bigint }): string {
  return `${stats.dev}:${stats.ino}`;
}

export function childPath(folder: string, name: string): string {
  return folder.endsWith(sep) ? folder + name : folder + sep + name;
}

const systemFolder = /^\/(proc|sys|dev(?!\/shm(\/|$)))(\/|$)/;
/** The file systems proc and sysfs, wherever they are mounted. */
const systemFileSystems = new Set([0x9fa0, 0x62656572]);

/** Whether a path leads into /proc, /sys or /dev (but /dev/shm): reading there may block or never end. */
export async function isSystemPath(path: string): Promise<boolean> {
  if (process.platform === "win32") return false;
  const real = pathOf(await realpath(fsPath(path), { encoding: "buffer" }));
  if (systemFolder.test(real)) return true;
  return process.platform === "linux" && systemFileSystems.has((await statfs(fsPath(path))).type);
}

async function isIndex(path: string): Promise<boolean> {
  if (path.endsWith(".lance")) return true;
  const table = await lstat(fsPath(childPath(path, "entries.lance"))).catch(() => undefined);
  return table?.isDirectory() === true;
}
