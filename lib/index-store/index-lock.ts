import { join } from "node:path";
import { GmeError, printable } from "../errors";
import { FileLock } from "../store/file-lock";
import type { IndexPlace } from "./index-place";

/** One writer per index: LanceDB lets two merges of the same new keys both insert them (lancedb#3377). */
export class IndexLock {
  private constructor(
    private readonly lock: FileLock,
    private readonly place: IndexPlace,
  ) {}

  /** Rejects at once with GME_INDEX_LOCKED, naming who holds it. For object storage it covers this machine only. */
  static async take(place: IndexPlace): Promise<IndexLock> {
    const lock = await FileLock.tryAcquire(join(place.stateFolder, "writer.lock"));
    if (lock instanceof FileLock) return new IndexLock(lock, place);
    const who = lock.pid > 0 ? `process ${lock.pid} on ${printable(lock.host)}` : "another process";
    throw new GmeError("GME_INDEX_LOCKED", `${printable(place.uri)} is being written by ${who}`, {
      file: place.uri,
      value: `${lock.pid}@${lock.host}`,
      expected: "one writer at a time",
    });
  }

  /** Before each commit: GME_INDEX_LOCKED when the lock file was removed or taken over. */
  async check(): Promise<void> {
    if (await this.lock.isHeld()) return;
    throw new GmeError(
      "GME_INDEX_LOCKED",
      `${printable(this.place.uri)}: this process lost its lock, so it stops before its next commit; nothing that was committed is lost`,
      { file: this.place.uri, expected: "the lock that this process took" },
    );
  }

  release(): Promise<void> {
    return this.lock.release();
  }
}
