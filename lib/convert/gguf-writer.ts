import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, link, open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { hostname } from "node:os";
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
  private hasName = false;

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
    otherBytes = 0,
  ): Promise<GgufWriter> {
    await checkTarget(target, force);
    await removeLeftovers(target);
    const header = encodeHeader(metadata, tensors);
    const total = tensors.reduce((sum, { type, ne }) => sum + aligned(tensorBytes(type, ne)), header.length);
    await checkSpace(target, total + otherBytes);
    const partial = join(dirname(target), partialName(target));
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
    await this.seal();
    await this.publish();
    return this.size;
  }

  /** The bytes are on the disk, under the hidden name. */
  async seal(): Promise<void> {
    if (this.tensor !== this.tensors.length)
      throw new RangeError(`${this.tensors[this.tensor].name}: bytes are missing`);
    try {
      await this.file.sync();
      await this.file.close();
    } catch (error) {
      throw ioError(error, this.target);
    }
  }

  /** The sealed file takes its name. */
  async publish(): Promise<void> {
    try {
      await this.takeName();
      this.hasName = true;
      await syncFolder(dirname(this.target));
    } catch (error) {
      throw error instanceof GmeError ? error : ioError(error, this.target);
    }
  }

  /** Removes what was written; a published file too, unless it has replaced another. Safe at any time. */
  async discard(): Promise<void> {
    await this.file.close().catch(() => undefined);
    await rm(this.hasName && !this.force ? this.target : this.partial, { force: true });
  }

  get bytes(): number {
    return this.size;
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

/** The writer's computer and process stand in the hidden name, so that a later run can tell what was left behind. */
function partialName(target: string): string {
  return `.${basename(target)}.${hostMark()}-${process.pid}-${randomBytes(4).toString("hex")}.part`;
}

function hostMark(): string {
  return createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
}

/** Removes the hidden files of conversions to this target that were killed: their process is gone. */
async function removeLeftovers(target: string): Promise<void> {
  const folder = dirname(target);
  const start = `.${basename(target)}.${hostMark()}-`;
  for (const name of await readdir(folder).catch(() => [])) {
    const writer = name.startsWith(start) ? /^(\d+)-[0-9a-f]{8}\.part$/.exec(name.slice(start.length)) : null;
    if (writer === null || isRunning(Number(writer[1]))) continue;
    await rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
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
