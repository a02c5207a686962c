import { existsSync, type Stats } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileKind } from "../documents/file-kind";
import { badArgument, GmeError } from "../errors";
import { rulesFileName } from "./crawl-rules";
import { fsPath } from "./path-bytes";

export interface WatchSettings {
  /** Look at all files now and then instead of asking the system to be told. Default false. */
  readonly poll?: boolean;
  /** How long nothing may have changed before `onChange` is called, in milliseconds. Default 2,000. */
  readonly settleMs?: number;
  readonly followSymlinks?: boolean;
  /** Ends the watch, after an `onChange` that is running. */
  readonly signal?: AbortSignal;
  /** Files and folders, by absolute path, whose changes do not matter. Indexes are left out in any case. */
  readonly ignored?: (path: string) => boolean;
}

const defaultSettleMs = 2_000;
/** Where something changes all the time, `onChange` is called nevertheless. */
const maxDelayMs = 60_000;
const limitErrors = new Set(["EMFILE", "ENFILE", "ENOSPC", "ENOMEM"]);

/**
 * Calls `onChange` once the watch has begun, so that nothing is missed before it, and then whenever something has changed
 * and has been quiet for a while; never twice at once. Resolves when the signal aborts. Rejects as `onChange` does, and
 * with GME_IO_ERROR when the system watches no more folders.
 */
export async function watchRoots(
  roots: readonly string[],
  settings: WatchSettings,
  onChange: () => Promise<void>,
): Promise<void> {
  const { poll = false, settleMs = defaultSettleMs, signal } = settings;
  if (!Number.isFinite(settleMs) || settleMs < 0) {
    throw badArgument("GME_OPTION_INVALID", "settleMs", "milliseconds", settleMs);
  }
  const paths = roots.map(watchablePath);
  const ignored = ignoredBy(new Set(paths), settings);
  const changes = new SettledChanges(settleMs);
  const { watch } = await import("chokidar");
  const end = () => changes.end();
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  const watcher = watch(paths, {
    ignoreInitial: true,
    ignorePermissionErrors: true,
    followSymlinks: settings.followSymlinks === true,
    usePolling: poll,
    interval: Math.max(100, Math.min(settleMs, defaultSettleMs)),
    binaryInterval: Math.max(100, Math.min(settleMs, defaultSettleMs)),
    ignored,
  });
  watcher.on("ready", () => changes.note());
  watcher.on("all", () => changes.note());
  watcher.on("raw", (_event, name, details) => {
    const { watchedPath } = details as { watchedPath?: string };
    const path = watchedPath === undefined || watchedPath === name ? name : join(watchedPath, name ?? "");
    if (!isLeftOut(path, settings)) changes.note();
  });
  watcher.on("error", (error) => {
    // Anything else concerns one file or folder: looking at it again tells what is wrong.
    if (limitErrors.has((error as NodeJS.ErrnoException).code ?? "")) changes.fail(watchError(error, poll));
    else changes.note();
  });
  try {
    while (await changes.settled()) await onChange();
  } catch (error) {
    if (!(signal?.aborted && error instanceof GmeError && error.code === "GME_ABORTED")) throw error;
  } finally {
    signal?.removeEventListener("abort", end);
    await watcher.close();
  }
}

/** chokidar takes text only, and a backslash for a separator. */
function watchablePath(root: string, index: number): string {
  const raw = fsPath(resolve(root));
  if (typeof raw !== "string" || (process.platform !== "win32" && raw.includes("\\"))) {
    throw badArgument("GME_INPUT_INVALID", `roots[${index}]`, "a path of UTF-8 without backslash, to be watched", root);
  }
  return raw;
}

/**
 * The system tells about the files of every folder that is watched, so that files need no watch of their own; the number
 * of watches is limited. Polling has to look at each file.
 */
function ignoredBy(roots: ReadonlySet<string>, settings: WatchSettings): (path: string, stats?: Stats) => boolean {
  return (path, stats) => {
    if (isLeftOut(path, settings)) return true;
    if (roots.has(path) || stats === undefined) return false;
    if (stats.isDirectory()) return existsSync(join(path, "entries.lance"));
    if (stats.isSymbolicLink()) return false;
    const name = basename(path);
    return !(settings.poll && stats.isFile() && (fileKind(name) !== undefined || name === rulesFileName));
  };
}

function isLeftOut(path: string, { ignored }: WatchSettings): boolean {
  return path.endsWith(".lance") || ignored?.(path) === true;
}

function watchError(error: unknown, poll: boolean): GmeError {
  const { code, message } = error as NodeJS.ErrnoException;
  const expected = poll
    ? "fewer files to watch, or a higher limit"
    : "--poll (option poll), fewer folders, or higher limits (Linux: sysctl fs.inotify.max_user_watches and max_user_instances)";
  const what = `the system watches no more files (${code}: ${message}); expected ${expected}`;
  return new GmeError("GME_IO_ERROR", what, { errno: code, expected, cause: error });
}

/** Changes, gathered until there has been none for a while. */
class SettledChanges {
  private firstAt: number | undefined;
  private lastAt = 0;
  private ended = false;
  private failure: GmeError | undefined;
  private wake: () => void = () => undefined;

  constructor(private readonly settleMs: number) {}

  note(): void {
    this.lastAt = performance.now();
    if (this.firstAt !== undefined) return;
    this.firstAt = this.lastAt;
    this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  fail(error: GmeError): void {
    this.failure ??= error;
    this.wake();
  }

  /** True when changes have settled, which are then forgotten; false at the end. */
  async settled(): Promise<boolean> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      if (this.ended) return false;
      const left = this.firstAt === undefined ? undefined : this.timeLeft(this.firstAt);
      if (left !== undefined && left <= 0) {
        this.firstAt = undefined;
        return true;
      }
      await this.sleep(left);
    }
  }

  private timeLeft(firstAt: number): number {
    return Math.min(this.lastAt + this.settleMs, firstAt + Math.max(maxDelayMs, this.settleMs)) - performance.now();
  }

  private sleep(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, Math.ceil(ms));
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
