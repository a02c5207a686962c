import { randomUUID } from "node:crypto";
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { abortError, ioError } from "../errors";

/** Who holds a lock. `started` tells a process from a later one with the same id; it is known on Linux only. */
export interface LockHolder {
  readonly id: string;
  readonly pid: number;
  readonly host: string;
  readonly started?: string;
}

export interface LockOptions {
  readonly signal?: AbortSignal;
  /** Called once, when the lock is somebody else's and has to be waited for. */
  readonly onWait?: (holder: LockHolder) => void;
}

const heartbeatMs = 10_000;
/** A lock of another machine, whose processes cannot be seen, is stale when its heart has not beaten for so long. */
const deadAfterMs = 120_000;
const pollMs = 150;

/** A lock file that names its holder. Waits for a living holder; takes over from one that ended without removing it. */
export class FileLock {
  private readonly heartbeat: NodeJS.Timeout;

  private constructor(
    private readonly path: string,
    private readonly holder: LockHolder,
    private readonly file: FileHandle,
  ) {
    this.heartbeat = setInterval(() => void beat(file, holder), heartbeatMs);
    this.heartbeat.unref();
  }

  static async acquire(path: string, { signal, onWait }: LockOptions = {}): Promise<FileLock> {
    let hasWaited = false;
    for (;;) {
      if (signal?.aborted) throw abortError(signal);
      const lock = await FileLock.tryAcquire(path);
      if (lock instanceof FileLock) return lock;
      if (!hasWaited) onWait?.(lock);
      hasWaited = true;
      await sleep(pollMs);
    }
  }

  /** The lock, or who holds it. */
  static async tryAcquire(path: string): Promise<FileLock | LockHolder> {
    const holder = { id: randomUUID(), pid: process.pid, host: hostname(), started: await startOf(process.pid) };
    for (;;) {
      const file = await create(path, holder);
      if (file !== undefined) {
        await removeDrafts(path);
        return new FileLock(path, holder, file);
      }
      const other = await readHolder(path);
      if (other === undefined) continue; // it has just been released
      if (!(await isStale(path, other))) return other;
      await remove(path, other);
    }
  }

  /** False when somebody has taken the lock away. */
  async isHeld(): Promise<boolean> {
    return (await readHolder(this.path))?.id === this.holder.id;
  }

  async release(): Promise<void> {
    clearInterval(this.heartbeat);
    await this.file.close().catch(() => undefined);
    await remove(this.path, this.holder);
  }
}

/**
 * Writes the same content again, so that the file system sets the time by its own clock, which may not be this machine's. Through the open
 * file, so that a lock that somebody else has put in its place is left alone.
 */
async function beat(file: FileHandle, holder: LockHolder): Promise<void> {
  try {
    await file.write(JSON.stringify(holder), 0);
    await file.sync();
  } catch {
    // A missed beat is made up for by the next one; a lost lock is found by isHeld.
  }
}

/** The file appears with its content, or not at all: a link cannot replace what is there. Undefined when there is one. */
async function create(path: string, holder: LockHolder): Promise<FileHandle | undefined> {
  const draft = `${path}.${holder.id}`;
  let file: FileHandle | undefined;
  try {
    await mkdir(dirname(path), { recursive: true });
    file = await open(draft, "wx", 0o600);
    await file.write(JSON.stringify(holder), 0);
    await link(draft, path);
    return file;
  } catch (error) {
    await file?.close().catch(() => undefined);
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" || (code === "ENOENT" && (await isFolder(dirname(path))))) return undefined;
    throw ioError(error, path);
  } finally {
    await rm(draft, { force: true });
  }
}

/** What processes left that were killed while they made or removed a lock. One that is at it loses its draft and makes another. */
async function removeDrafts(path: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder).catch(() => [] as string[]))
    if (name.startsWith(`${basename(path)}.`)) await rm(join(folder, name), { force: true });
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

/** Removes the lock if it is still this holder's: renamed first, so that two processes cannot both remove. */
async function remove(path: string, holder: LockHolder): Promise<void> {
  if ((await readHolder(path))?.id !== holder.id) return;
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  // Another process may have replaced the stale lock between the look and the rename: then it gets its lock back.
  if ((await readHolder(aside))?.id !== holder.id) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

/** Undefined when there is no lock. A lock with damaged content has a holder that is on no machine. */
async function readHolder(path: string): Promise<LockHolder | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    return undefined;
  }
  try {
    const { id, pid, host, started } = JSON.parse(text) as LockHolder;
    if (typeof id === "string" && Number.isSafeInteger(pid) && pid > 0) return { id, pid, host: String(host), started };
  } catch {
    // Fall through: as below.
  }
  return { id: `damaged ${text.slice(0, 100)}`, pid: 0, host: "?" };
}

async function isStale(path: string, { pid, host, started }: LockHolder): Promise<boolean> {
  if (host === hostname() && pid > 0) {
    if (!isAlive(pid)) return true;
    const now = await startOf(pid);
    return started !== undefined && now !== undefined && started !== now;
  }
  try {
    const { mtimeMs } = await stat(path);
    return (await fileSystemTime(path)) - mtimeMs > deadAfterMs;
  } catch {
    return false;
  }
}

/** Now, by the clock that gives the files beside `path` their times: on a network file system another machine's. */
async function fileSystemTime(path: string): Promise<number> {
  const probe = `${path}.${randomUUID()}`;
  try {
    await writeFile(probe, "", { flag: "wx", mode: 0o600 });
    return (await stat(probe)).mtimeMs;
  } finally {
    await rm(probe, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** When the process started, in ticks since the machine did. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const line = await readFile(`/proc/${pid}/stat`, "latin1");
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "ended" : fields[19];
  } catch {
    return undefined;
  }
}
