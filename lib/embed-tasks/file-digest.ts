import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { fsPath } from "../crawl/path-bytes";
import { abortError, GmeError, ioError, printable } from "../errors";

export interface FileDigest {
  readonly sha256: string;
  readonly size: number;
  readonly mtime: number;
  /** With `keep`. */
  readonly bytes?: Buffer;
}

export interface DigestOptions {
  /** More bytes are refused before the first is read. */
  readonly maxBytes: number;
  readonly tooLarge: (bytes: number) => GmeError;
  /** Keep the bytes. */
  readonly keep?: boolean;
  readonly signal?: AbortSignal;
}

const pieceBytes = 1 << 20;

/** sha256 of a regular file. Rejects with GME_IO_ERROR, or GME_CHANGED_WHILE_OPEN where it changed while being read. */
export async function digestFile(path: string, options: DigestOptions): Promise<FileDigest> {
  try {
    // A FIFO that took the file's place must not block the run.
    const file = await open(fsPath(path), constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      return await digestHandle(file, path, options);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw error instanceof GmeError ? error : ioError(error, path);
  }
}

async function digestHandle(file: FileHandle, path: string, options: DigestOptions): Promise<FileDigest> {
  const before = await file.stat();
  if (!before.isFile())
    throw new GmeError("GME_IO_ERROR", `${printable(path)}: not a regular file`, {
      file: path,
      expected: "a regular file",
    });
  if (before.size > options.maxBytes) throw options.tooLarge(before.size);
  const hash = createHash("sha256");
  const bytes = Buffer.allocUnsafe(options.keep ? before.size : Math.min(before.size, pieceBytes));
  for (let at = 0; at < before.size; ) {
    if (options.signal?.aborted) throw abortError(options.signal);
    const start = options.keep ? at : 0;
    const { bytesRead } = await file.read(
      bytes,
      start,
      Math.min(pieceBytes, before.size - at, bytes.length - start),
      at,
    );
    if (bytesRead === 0) throw changed(path);
    hash.update(bytes.subarray(start, start + bytesRead));
    at += bytesRead;
  }
  const after = await file.stat();
  if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) throw changed(path);
  return { sha256: hash.digest("hex"), size: after.size, mtime: after.mtimeMs, ...(options.keep && { bytes }) };
}

function changed(path: string): GmeError {
  return new GmeError("GME_CHANGED_WHILE_OPEN", `${printable(path)} changed while it was being read`, { file: path });
}
