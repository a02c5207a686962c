import { randomBytes } from "node:crypto";
import { type FileHandle, link, open, rename, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { GmeError, ioError, printable } from "../errors";
import { encodeHeader, type TensorInfo } from "./gguf-header";
import { aligned, type GgufMetadata, tensorBytes } from "./gguf-types";

/**
 * Writes a GGUF file front to back: `create`, then the bytes of every tensor in the order of the list with `append`, then `finish`.
 * The target appears whole or not at all: the bytes go to a file beside it, which takes its name at the end; `discard` removes that.
 */
export class GgufWriter {
  private tensor = 0;
  private written = 0;

  private constructor(
    private readonly target: string,
    private readonly partial: string,
    private readonly force: boolean,
    private readonly file: FileHandle,
    private readonly tensors: readonly TensorInfo[],
    private size: number,
  ) {}

  /** Rejects with GME_TARGET_EXISTS where the target is there and `force` is false, GME_DISK_FULL where the file cannot fit. */
  static async create(
    target: string,
    metadata: GgufMetadata,
    tensors: readonly TensorInfo[],
    force: boolean,
  ): Promise<GgufWriter> {
    await checkTarget(target, force);
    const header = encodeHeader(metadata, tensors);
    const total = tensors.reduce((sum, { type, ne }) => sum + aligned(tensorBytes(type, ne)), header.length);
    await checkSpace(target, total);
    const partial = join(dirname(target), `.${basename(target)}.${process.pid}-${randomBytes(4).toString("hex")}.part`);
    try {
      const file = await open(partial, "wx");
      const writer = new GgufWriter(target, partial, force, file, tensors, 0);
      try {
        await writer.write(header);
      } catch (error) {
        await writer.discard();
        throw error;
      }
      return writer;
    } catch (error) {
      throw error instanceof GmeError ? error : ioError(error, target);
    }
  }

  /** The next bytes of the current tensor; its padding follows by itself. */
  async append(bytes: Uint8Array): Promise<void> {
    const { type, ne } = this.tensors[this.tensor];
    const expected = tensorBytes(type, ne);
    this.written += bytes.length;
    if (this.written > expected) throw new RangeError(`${this.tensors[this.tensor].name}: more than ${expected} bytes`);
    await this.write(bytes);
    if (this.written < expected) return;
    await this.write(new Uint8Array(aligned(expected) - expected));
    this.tensor++;
    this.written = 0;
  }

  /** Bytes of the whole file. The name appears only after the bytes are on the disk. */
  async finish(): Promise<number> {
    if (this.tensor !== this.tensors.length)
      throw new RangeError(`${this.tensors[this.tensor].name}: bytes are missing`);
    try {
      await this.file.sync();
      await this.file.close();
      await this.takeName();
      await syncFolder(dirname(this.target));
      return this.size;
    } catch (error) {
      throw error instanceof GmeError ? error : ioError(error, this.target);
    }
  }

  /** Removes what was written. Safe at any time before finish() has resolved. */
  async discard(): Promise<void> {
    await this.file.close().catch(() => undefined);
    await rm(this.partial, { force: true });
  }

  private async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; ) {
        at += (await this.file.write(bytes, at, bytes.length - at)).bytesWritten;
      }
      this.size += bytes.length;
    } catch (error) {
      throw ioError(error, this.target);
    }
  }

  /** Without `force` a link is made, which fails where the name has appeared meanwhile; some file systems have no links. */
  private async takeName(): Promise<void> {
    if (!this.force) {
      try {
        await link(this.partial, this.target);
        await rm(this.partial);
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EEXIST") throw targetExists(this.target);
        await checkTarget(this.target, false);
      }
    }
    await rename(this.partial, this.target);
  }
}

async function checkTarget(target: string, force: boolean): Promise<void> {
  const found = await stat(target).catch(() => undefined);
  if (found?.isDirectory()) {
    throw new GmeError("GME_IO_ERROR", `${printable(target)} is a folder`, {
      file: target,
      errno: "EISDIR",
      expected: "a file",
    });
  }
  if (found !== undefined && !force) throw targetExists(target);
}

function targetExists(target: string): GmeError {
  return new GmeError("GME_TARGET_EXISTS", `${printable(target)} exists already; pass force to overwrite it`, {
    file: target,
  });
}

async function checkSpace(target: string, bytes: number): Promise<void> {
  const disk = await statfs(dirname(target)).catch(() => undefined);
  if (disk === undefined || disk.bsize <= 0 || disk.blocks <= 0) return;
  const free = disk.bavail * disk.bsize;
  if (free >= bytes) return;
  const message = `${printable(target)}: ${bytes} bytes do not fit, ${free} are free`;
  throw new GmeError("GME_DISK_FULL", message, { file: target, value: free, expected: `${bytes} free bytes` });
}

/** The new name is on the disk too; Windows has no such call for folders. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
