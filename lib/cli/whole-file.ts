import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { fileError } from "./output";

/** A file written piece by piece that appears whole or not at all: under another name until `commit`. */
export class WholeFile {
  private constructor(
    readonly path: string,
    private readonly partial: string,
    private readonly file: FileHandle,
  ) {}

  /** Throws GME_IO_ERROR where it cannot be written, a folder included. */
  static async open(path: string): Promise<WholeFile> {
    const partial = `${path}.part`;
    try {
      const there = await stat(path).catch(() => undefined);
      if (there?.isDirectory()) throw Object.assign(new Error("a folder"), { code: "EISDIR" });
      return new WholeFile(path, partial, await open(partial, "w"));
    } catch (error) {
      throw fileError(error, path);
    }
  }

  /** Appends, or with `at` writes over what is there. */
  async write(data: string | Uint8Array, at?: number): Promise<void> {
    try {
      if (at === undefined) await this.file.writeFile(data);
      else await this.file.write(Buffer.from(data), 0, data.length, at);
    } catch (error) {
      throw fileError(error, this.path);
    }
  }

  async commit(): Promise<void> {
    try {
      await this.file.sync();
      await this.file.close();
      await rename(this.partial, this.path);
    } catch (error) {
      throw fileError(error, this.path);
    }
  }

  /** Leaves nothing behind. After `commit` it does nothing. */
  async discard(): Promise<void> {
    await this.file.close().catch(() => undefined);
    await rm(this.partial, { force: true });
  }
}
