import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Where bytes lie in the memory that two processes share. */
export interface Region {
  readonly at: number;
  readonly length: number;
}

/** A file system in memory; where there is none, pictures go with the message. */
const folder = "/dev/shm";
/** More than that at once goes with the message. */
const maxLength = 256 * 2 ** 20;
/** Kept by each side while nothing is in flight: pages that are there already are filled several times as fast as new ones. */
const keptLength = 48 * 2 ** 20;
const pageLength = 4096;

/**
 * Memory for pictures on their way to a child process, which inherits its file descriptor: a file in memory without a name,
 * gone when both processes are. A picture is copied into it once and read from it once.
 */
export class PictureMemory {
  private used: Region[] = [];
  private length = 0;
  private isClosed = false;

  /** Made by open(). */
  private constructor(readonly fd: number) {}

  /** undefined where the system has no such memory for us. */
  static open(): PictureMemory | undefined {
    try {
      const own = mkdtempSync(join(folder, "gme-embed-"));
      try {
        return new PictureMemory(openSync(join(own, "pictures"), "wx+", 0o600));
      } finally {
        rmSync(own, { recursive: true });
      }
    } catch {
      return undefined; // no /dev/shm, or none for us
    }
  }

  /** undefined where there is no room. */
  put(bytes: Uint8Array): Region | undefined {
    if (this.isClosed) return undefined; // the descriptor may be another file's by now
    const region = { at: this.gap(bytes.length), length: bytes.length };
    if (region.at + region.length > maxLength) return undefined;
    this.length = Math.max(this.length, region.at + region.length); // also of what is written in vain
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.fd, bytes, done, bytes.length - done, region.at + done);
      }
    } catch {
      return undefined; // the memory is full
    }
    this.used.push(region);
    this.used.sort((a, b) => a.at - b.at);
    return region;
  }

  free(region: Region): void {
    if (this.isClosed) return;
    this.used = this.used.filter((kept) => kept !== region);
    if (this.used.length > 0 || this.length <= keptLength) return;
    ftruncateSync(this.fd, keptLength);
    this.length = keptLength;
  }

  close(): void {
    this.isClosed = true;
    closeSync(this.fd);
  }

  /** The first place, at the beginning of a page, where so many bytes are free. */
  private gap(length: number): number {
    let at = 0;
    for (const region of this.used) {
      if (region.at - at >= length) break;
      at = Math.ceil((region.at + region.length) / pageLength) * pageLength;
    }
    return at;
  }
}

/** Reads what the other process has put: in the process that inherited the descriptor. */
export class PictureReader {
  /** Buffers that nobody uses, the largest last. */
  private spare: ArrayBuffer[] = [];

  constructor(private readonly fd: number) {}

  read({ at, length }: Region): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.take(length), 0, length);
    for (let done = 0; done < length; ) {
      const read = readSync(this.fd, bytes, done, length - done, at + done);
      if (read === 0) throw new Error(`the shared memory ends at ${at + done} instead of ${at + length}`);
      done += read;
    }
    return bytes;
  }

  /** The bytes are overwritten by later ones; nothing may read them any more. */
  recycle({ buffer }: Uint8Array<ArrayBuffer>): void {
    const kept = this.spare.reduce((sum, { byteLength }) => sum + byteLength, buffer.byteLength);
    if (kept > keptLength) return;
    this.spare.push(buffer);
    this.spare.sort((a, b) => a.byteLength - b.byteLength);
  }

  private take(length: number): ArrayBuffer {
    const fit = this.spare.findIndex(({ byteLength }) => byteLength >= length);
    return fit >= 0 ? this.spare.splice(fit, 1)[0] : Buffer.allocUnsafeSlow(length).buffer;
  }
}
