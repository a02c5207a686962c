import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, realpath, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { abortError, GmeError, ioError } from "./errors";
import type { FileReport } from "./inspect";
import { storeFolder } from "./store/store-folders";

export interface HashOptions {
  onProgress?: (progress: { done: number; total: number }) => void;
  signal?: AbortSignal;
}

interface KnownHash {
  size: number;
  mtimeMs: number;
  sha256: string;
}

/**
 * sha256 of a file's tensors: names, shapes and types in the file's order, then all bytes of the data. Keys do not count, so that two files
 * with the same weights agree. Remembered by path, size and time of change in the cache folder; a cache that cannot be written is no error.
 * Rejects with GME_IO_ERROR, GME_CHANGED_WHILE_OPEN or GME_ABORTED.
 */
export async function hashTensors(report: FileReport, options: HashOptions = {}): Promise<string> {
  const path = await realpath(report.file).catch((error) => {
    throw ioError(error, report.file);
  });
  const record = join(storeFolder(), "hashes", `${createHash("sha256").update(path).digest("hex")}.json`);
  const before = await stat(path);
  const known = await readKnown(record);
  if (known?.size === before.size && known.mtimeMs === before.mtimeMs) return known.sha256;
  const sha256 = await hashFile(path, report, options);
  const after = await stat(path);
  if (after.size !== before.size || after.mtimeMs !== before.mtimeMs)
    throw new GmeError("GME_CHANGED_WHILE_OPEN", "the file changed while it was read", { file: report.file });
  await remember(record, { size: after.size, mtimeMs: after.mtimeMs, sha256 });
  return sha256;
}

async function hashFile(path: string, report: FileReport, { onProgress, signal }: HashOptions): Promise<string> {
  const hash = createHash("sha256");
  for (const { name, shape, type } of report.tensors) hash.update(`${name} ${type} ${shape.join("x")}\n`);
  const start = Math.min(report.size, ...report.tensors.map(({ offset }) => offset));
  const total = report.size - start;
  let done = 0;
  try {
    for await (const piece of createReadStream(path, { start, highWaterMark: 4 << 20, signal })) {
      hash.update(piece as Buffer);
      done += (piece as Buffer).length;
      onProgress?.({ done, total });
    }
  } catch (error) {
    throw signal?.aborted ? abortError(signal) : ioError(error, report.file);
  }
  return hash.digest("hex");
}

async function readKnown(record: string): Promise<KnownHash | undefined> {
  try {
    const known = JSON.parse(await readFile(record, "utf8")) as KnownHash;
    return /^[0-9a-f]{64}$/.test(known.sha256) ? known : undefined;
  } catch {
    return undefined; // absent or damaged: hashed anew
  }
}

async function remember(record: string, known: KnownHash): Promise<void> {
  try {
    await mkdir(join(record, ".."), { recursive: true });
    const fresh = `${record}.${process.pid}`;
    await writeFile(fresh, JSON.stringify(known));
    await rename(fresh, record);
  } catch {
    // A read-only home: the next call hashes again.
  }
}
