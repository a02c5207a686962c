import type { FileHandle } from "node:fs/promises";
import { open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { abortError, GmeError, ioError, printable } from "../errors";
import { FileLock, type LockHolder } from "./file-lock";
import { type Digest, readDigest, type RemoteFile, requestFile } from "./hub-api";
import { digestOf, hasDigest, type HubCache, openIncomplete } from "./hub-cache";
import { downloadFailed, type HubAnswer, type HubClient, place, TransientFailure } from "./hub-http";

export interface DownloadCall {
  readonly hub: HubClient;
  readonly cache: HubCache;
  readonly signal: AbortSignal;
  /** Bytes of this file that are here: grows, and falls where a file has to be begun again. */
  readonly onBytes: (bytes: number) => void;
  readonly onWait?: (holder: LockHolder) => void;
}

/** So often a server may begin a file anew that breaks off in between. */
const maxWholeAnswers = 5;

/**
 * Brings one file into the cache and gives it its name at that commit.
 * lock -> a blob of the right digest is there already, else: unfinished file -> ranges -> fsync -> digest of what is on the disk -> rename.
 */
export async function downloadFile(file: RemoteFile, call: DownloadCall): Promise<string> {
  const { cache, signal, onBytes, onWait } = call;
  await cache.prepare();
  const lock = await FileLock.acquire(cache.lockPath(file.digest), { signal, onWait });
  try {
    const blob = cache.blobPath(file.digest);
    if (!(await hasDigest(blob, file.size, file.digest, signal))) {
      // Whatever has the blob's name without its content, a link included, is of no use to anybody.
      await removeWrong(blob);
      await fetchBlob(file, call, lock);
    }
    onBytes(file.size);
    return await cache.linkFile(file.commit, file.path, file.digest);
  } finally {
    await lock.release();
  }
}

async function fetchBlob(file: RemoteFile, call: DownloadCall, lock: FileLock): Promise<void> {
  const incomplete = call.cache.incompletePath(file.digest);
  const handle = await openIncomplete(incomplete, file.size);
  try {
    const { size: found } = await handle.stat();
    await fill(file, handle, call);
    if (!(await isRight(file, handle, call.signal))) {
      if (found === 0) throw await mismatch(file, handle, incomplete, call.signal);
      // What an earlier run left may have been damaged since: once more from the start.
      await handle.truncate(0);
      await fill(file, handle, call);
      if (!(await isRight(file, handle, call.signal))) throw await mismatch(file, handle, incomplete, call.signal);
    }
    await handle.chmod(0o666 & ~process.umask());
    await handle.sync();
    if (!(await lock.isHeld()))
      throw downloadFailed(`${printable(file.path)}: another process took the lock away; try again`);
    await rename(incomplete, call.cache.blobPath(file.digest));
  } catch (error) {
    throw error instanceof GmeError ? error : ioError(error, incomplete);
  } finally {
    await handle.close();
  }
  await syncFolder(dirname(incomplete));
}

/** Asks for what is missing until nothing is. */
async function fill(file: RemoteFile, handle: FileHandle, call: DownloadCall): Promise<void> {
  let have = (await handle.stat()).size;
  let before = have;
  let hasRestarted = false;
  let wholeAnswers = 0;
  const attempt = async () => {
    before = have;
    for await (const chunk of receive(file, have, call, async () => {
      if (++wholeAnswers > maxWholeAnswers)
        throw downloadFailed(`${printable(file.path)}: the server knows no ranges, and its connections break`);
      await handle.truncate(0);
      have = 0;
    })) {
      if (have + chunk.length > file.size) {
        throw downloadFailed(`${printable(file.path)}: more bytes than the ${file.size} announced`, {
          value: have + chunk.length,
          expected: `${file.size} bytes`,
        });
      }
      await writeAll(handle, chunk, have, call.cache.incompletePath(file.digest));
      have += chunk.length;
      call.onBytes(have);
    }
    if (have < file.size)
      throw new TransientFailure(downloadFailed(`${printable(file.path)}: ended after ${have} of ${file.size} bytes`));
  };
  call.onBytes(have);
  while (have < file.size) {
    try {
      await call.hub.withRetries(attempt, () => have > before);
    } catch (error) {
      // The server knows no such range: its file is another one, or it cannot count. Once more from the start.
      if (!(error instanceof GmeError) || error.value !== 416 || hasRestarted) throw error;
      hasRestarted = true;
      await handle.truncate(0);
      have = 0;
    }
  }
}

/** The bytes from `offset` on; `restart` is called first when the server sends the whole file instead. */
async function* receive(
  file: RemoteFile,
  offset: number,
  { hub, signal }: DownloadCall,
  restart: () => Promise<void>,
): AsyncGenerator<Uint8Array> {
  const answer = await requestFile(hub, file, offset, (answer) => checkEtag(answer, file.digest));
  try {
    checkAnswer(answer, file, offset);
  } catch (error) {
    await hub.dump(answer);
    throw error;
  }
  if (offset > 0 && answer.status === 200) await restart();
  for await (const chunk of hub.bytes(answer)) {
    if (signal.aborted) throw abortError(signal);
    yield chunk;
  }
}

/** The hub repeats the digest with every answer of its own; another one means that the file was changed under the commit. */
function checkEtag(answer: HubAnswer, expected: Digest): false {
  const digest = readDigest(answer.header("x-linked-etag") ?? undefined);
  if (digest !== undefined && digest.hex !== expected.hex) {
    answer.body.destroy();
    throw new GmeError("GME_CHANGED_WHILE_OPEN", `${place(answer.url)}: the file changed on the hub; try again`, {
      field: "X-Linked-Etag",
      value: digest.hex,
      expected: expected.hex,
    });
  }
  return false;
}

/** Status, encoding, range and length must be what was asked for, before a byte is written. */
function checkAnswer(answer: HubAnswer, file: RemoteFile, offset: number): void {
  const encoding = answer.header("content-encoding");
  if (encoding !== undefined && encoding !== "identity")
    throw downloadFailed(`${place(answer.url)}: sent as ${printable(encoding)}, which was not asked for`);
  const start = answer.status === 206 ? offset : 0;
  if (answer.status === 206) {
    const range = answer.header("content-range") ?? "none";
    const [, from, , total] = range.match(/^bytes (\d+)-(\d+)\/(\d+|\*)$/) ?? [];
    if (Number(from) !== offset || (total !== "*" && Number(total) !== file.size)) {
      const expected = `bytes ${offset}-${file.size - 1}/${file.size}`;
      const message = `${place(answer.url)}: the range ${printable(range)} was not asked for, expected ${expected}`;
      throw downloadFailed(message, { field: "Content-Range", value: printable(range), expected });
    }
  }
  const length = answer.header("content-length");
  const expected = file.size - start;
  if (length === undefined || Number(length) === expected) return;
  const message = `${place(answer.url)}: ${printable(length)} bytes announced, the hub says ${expected}`;
  const failure = downloadFailed(message, {
    field: "Content-Length",
    value: Number(length),
    expected: `${expected} bytes`,
  });
  // Too few may be a broken proxy's doing and go away; too many are never read.
  throw Number(length) < expected ? new TransientFailure(failure) : failure;
}

async function isRight({ size, digest }: RemoteFile, handle: FileHandle, signal: AbortSignal): Promise<boolean> {
  return (await handle.stat()).size === size && (await digestOf(handle, size, digest.kind, signal)) === digest.hex;
}

/** The file's own digest does not match: it is thrown away, so that the next try begins anew. */
async function mismatch(
  { path, size, digest }: RemoteFile,
  handle: FileHandle,
  incomplete: string,
  signal: AbortSignal,
): Promise<GmeError> {
  const value = await digestOf(handle, size, digest.kind, signal);
  await rm(incomplete, { force: true });
  const kind = digest.kind === "sha256" ? "sha256" : "git sha1";
  const message = `${printable(path)}: downloaded with the ${kind} ${value}, expected ${digest.hex}; thrown away, try again`;
  return new GmeError("GME_HASH_MISMATCH", message, { file: path, field: digest.kind, value, expected: digest.hex });
}

async function writeAll(handle: FileHandle, chunk: Uint8Array, position: number, path: string): Promise<void> {
  try {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position + done);
      done += bytesWritten;
    }
  } catch (error) {
    throw ioError(error, path);
  }
}

async function removeWrong(blob: string): Promise<void> {
  try {
    await rm(blob, { force: true });
  } catch (error) {
    throw ioError(error, blob);
  }
}

/** So that the new name outlives a power cut; where folders cannot be synced, nothing is lost but that. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** Bytes of the file that are on the disk already, finished or not: they need no room. */
export async function bytesPresent(cache: HubCache, { digest, size }: RemoteFile): Promise<number> {
  for (const path of [cache.blobPath(digest), cache.incompletePath(digest)]) {
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile()) return Math.min(found.size, size);
  }
  return 0;
}
