import { type FileHandle, open } from "node:fs/promises";
import { GmeError, ioError, printable } from "../errors";

/** Rejects with GME_IO_ERROR. */
export async function openForReading(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    throw ioError(error, path);
  }
}

/** `bytes` bytes at `offset`; GME_CHANGED_WHILE_OPEN where the file has become shorter than its header says. */
export async function readExactly(path: string, file: FileHandle, offset: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(bytes);
  for (let at = 0; at < bytes; ) {
    const { bytesRead } = await file.read(buffer, at, bytes - at, offset + at);
    if (bytesRead === 0) {
      throw new GmeError("GME_CHANGED_WHILE_OPEN", `${printable(path)} ended early: it was changed while being read`, {
        file: path,
        offset: offset + at,
      });
    }
    at += bytesRead;
  }
  return buffer;
}
