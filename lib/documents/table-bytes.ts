import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { GmeError, ioError, printable } from "../errors";
import { utf16Variant } from "./text-decoding";

/** A line or record of more bytes is not read. */
export const maxRecordBytes = 16 * 1024 * 1024;

const chunkBytes = 65_536;

/** The bytes of a table's file without its byte order mark, as UTF-8 where the file is UTF-16. Offsets count these bytes. */
export class TableBytes {
  private constructor(
    private readonly handle: FileHandle,
    private readonly path: string,
    private readonly skipped: number,
    /** UTF-16, so that every reading begins at the start of the file. */
    readonly wide: "utf-16le" | "utf-16be" | undefined,
  ) {}

  /** Rejects with GME_IO_ERROR for what is not a regular file or cannot be read. */
  static async open(path: string, fsPath: string | Buffer): Promise<TableBytes> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(fsPath, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
      if (!(await handle.stat()).isFile()) {
        const expected = "a regular file";
        throw new GmeError("GME_IO_ERROR", `${printable(path)}: not ${expected}`, { file: path, expected });
      }
      const start = Buffer.alloc(chunkBytes);
      const { bytesRead } = await handle.read(start, 0, chunkBytes, 0);
      const hasMark = start[0] === 0xef && start[1] === 0xbb && start[2] === 0xbf;
      const wide = utf16Variant(start.subarray(0, bytesRead));
      return new TableBytes(handle, path, hasMark ? 3 : 0, wide);
    } catch (error) {
      await handle?.close();
      throw error instanceof GmeError ? error : ioError(error, path);
    }
  }

  /** The bytes from `offset` to the end; each buffer is the reader's own. */
  async *chunks(offset = 0): AsyncGenerator<Buffer> {
    if (this.wide === undefined) {
      yield* this.read(this.skipped + offset);
      return;
    }
    const decoder = new TextDecoder(this.wide);
    let left = offset;
    for await (const chunk of this.read(0)) {
      const bytes = Buffer.from(decoder.decode(chunk, { stream: true }));
      if (bytes.length > left) yield bytes.subarray(left);
      left = Math.max(0, left - bytes.length);
    }
    const rest = Buffer.from(decoder.decode());
    if (rest.length > left) yield rest.subarray(left);
  }

  /** The offset after the first line end at or after `offset`, or the end. */
  async afterLine(offset: number): Promise<number> {
    let at = offset;
    let endsInCarriageReturn = false;
    for await (const chunk of this.chunks(offset)) {
      if (endsInCarriageReturn) return chunk[0] === 10 ? at + 1 : at;
      const end = chunk.findIndex((byte) => byte === 10 || byte === 13);
      if (end >= 0 && chunk[end] === 13 && end + 1 === chunk.length) endsInCarriageReturn = true;
      else if (end >= 0) return at + end + (chunk[end] === 13 && chunk[end + 1] === 10 ? 2 : 1);
      at += chunk.length;
    }
    return at;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private async *read(from: number): AsyncGenerator<Buffer> {
    for (let at = from; ; ) {
      const buffer = Buffer.allocUnsafe(chunkBytes);
      const { bytesRead } = await this.handle.read(buffer, 0, chunkBytes, at).catch((error) => {
        throw ioError(error, this.path);
      });
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }
}

/** The lines of a table without their ends; of a line over the limit only its length. */
export async function* readLines(table: TableBytes): AsyncGenerator<Buffer | { readonly tooLong: number }> {
  let parts: Buffer[] = [];
  let length = 0;
  const finish = () => {
    const line = length > maxRecordBytes ? { tooLong: length } : Buffer.concat(parts);
    parts = [];
    length = 0;
    return line;
  };
  const add = (part: Buffer) => {
    length += part.length;
    if (length > maxRecordBytes) parts = [];
    else if (part.length > 0) parts.push(part);
  };
  for await (const chunk of table.chunks()) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      add(chunk.subarray(from, end));
      from = end + 1;
      yield finish();
    }
    add(chunk.subarray(from));
  }
  if (length > 0) yield finish();
}
