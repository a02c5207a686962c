import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { ioError } from "../errors";
import type { IndexPlace } from "./index-place";
import { tableFolder } from "./store-errors";

/** A file's time can be this much older than the moment it was written, in milliseconds: file systems round. */
const slackMs = 2_000;

/** Brings what the store wrote to the disk itself: LanceDB does not, so that a power cut could leave a manifest without its data. */
export class StoreSync {
  /** Newest change that was synced, by the file system's clock. */
  private syncedUntil = Date.now() - slackMs;

  constructor(private readonly place: IndexPlace) {}

  /**
   * Syncs every file of the table that changed since the last call, data before manifests, then their folders.
   * Rejects with GME_IO_ERROR or GME_DISK_FULL: the commit before it then does not count.
   */
  async run(): Promise<void> {
    const { folder } = this.place;
    if (folder === undefined || process.platform === "win32") return;
    const since = this.syncedUntil - slackMs;
    const root = join(folder, tableFolder);
    for (const name of ["data", "_deletions", "_indices", "_transactions", "_versions"])
      this.syncedUntil = Math.max(this.syncedUntil, await syncFolder(join(root, name), since));
    for (const path of [root, folder]) await syncPath(path);
  }
}

async function syncFolder(folder: string, since: number): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return 0;
  let newest = 0;
  let changed = false;
  for (const entry of entries) {
    const path = join(folder, entry.name);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined || found.mtimeMs < since) continue;
    changed = true;
    newest = Math.max(newest, found.mtimeMs);
    if (entry.isDirectory()) await syncFolder(path, since);
    else await syncPath(path);
  }
  if (changed) await syncPath(folder);
  return newest;
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, "r").catch(() => undefined); // removed meanwhile by a clean-up
  if (file === undefined) return;
  try {
    await file.sync();
  } catch (error) {
    throw ioError(error, path);
  } finally {
    await file.close();
  }
}
