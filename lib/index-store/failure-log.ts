import { type FileHandle, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathJson } from "../crawl/path-bytes";
import { type GmeError, ioError } from "../errors";
import type { IndexPlace } from "./index-place";

/** The file as it was when an item of it failed. */
export interface FailedFile {
  readonly path: string;
  readonly size: number;
  readonly mtime: number;
}

/** A line of errors.jsonl. */
export interface Failure extends FailedFile {
  /** Page, passage or row, from 1; absent: the file as a whole. */
  readonly part?: number;
  readonly error: GmeError;
}

interface KnownFailure {
  readonly size: number;
  readonly mtime: number;
  /** undefined stands for the file as a whole. */
  readonly parts: Set<number | undefined>;
  readonly lines: string[];
}

const fileName = "errors.jsonl";

/** errors.jsonl of an index: what failed, so that it is not tried again while its file is as it was. */
export class FailureLog {
  private readonly known = new Map<string, KnownFailure>();
  private file: FileHandle | undefined;

  private constructor(private readonly path: string) {}

  static async open({ stateFolder }: IndexPlace): Promise<FailureLog> {
    const log = new FailureLog(join(stateFolder, fileName));
    await log.read();
    return log;
  }

  /** How many items of this very state of the file failed before; Infinity: the file as a whole. */
  failedParts(file: FailedFile): number {
    const parts = this.partsOf(file);
    return parts?.has(undefined) ? Number.POSITIVE_INFINITY : (parts?.size ?? 0);
  }

  hasFailed(file: FailedFile, part: number | undefined): boolean {
    return this.partsOf(file)?.has(part) === true;
  }

  private partsOf({ path, size, mtime }: FailedFile): Set<number | undefined> | undefined {
    const known = this.known.get(path);
    return known?.size === size && known.mtime === mtime ? known.parts : undefined;
  }

  /** Files with a failure. */
  get size(): number {
    return this.known.size;
  }

  paths(): Iterable<string> {
    return this.known.keys();
  }

  /** Appends a line; it is on file when the promise resolves. */
  async add({ path, size, mtime, part, error }: Failure): Promise<void> {
    const line = JSON.stringify({
      time: new Date().toISOString(),
      ...pathJson(path),
      ...(part !== undefined && { part }),
      code: error.code,
      message: error.message,
      size,
      mtime,
    });
    this.keep({ path, size, mtime }, part, line);
    try {
      this.file ??= await open(this.path, "a");
      await this.file.appendFile(`${line}\n`);
    } catch (error) {
      throw ioError(error, this.path);
    }
  }

  /** The file has no failure any more, or is about to be tried anew. */
  forget(path: string): void {
    this.known.delete(path);
  }

  /** Leaves on file what still holds. */
  async close(): Promise<void> {
    await this.file?.close();
    this.file = undefined;
    const lines = [...this.known.values()].flatMap(({ lines }) => lines);
    const text = lines.map((line) => `${line}\n`).join("");
    const before = await readFile(this.path, "utf8").catch(() => "");
    if (text === before) return;
    try {
      if (text === "") return await rm(this.path, { force: true });
      await writeFile(`${this.path}.part`, text);
      await rename(`${this.path}.part`, this.path);
    } catch (error) {
      throw ioError(error, this.path);
    }
  }

  private async read(): Promise<void> {
    let text: string;
    try {
      text = await readFile(this.path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw ioError(error, this.path);
    }
    for (const line of text.split("\n")) this.readLine(line);
  }

  /** A line that was cut by a kill is passed over: its item is tried again. */
  private readLine(line: string): void {
    try {
      const { path, size, mtime, part } = JSON.parse(line) as Record<string, unknown>;
      if (typeof path === "string" && typeof size === "number" && typeof mtime === "number")
        this.keep({ path, size, mtime }, typeof part === "number" ? part : undefined, line);
    } catch {
      // As said above.
    }
  }

  private keep({ path, size, mtime }: FailedFile, part: number | undefined, line: string): void {
    let known = this.known.get(path);
    if (known?.size !== size || known.mtime !== mtime) {
      known = { size, mtime, parts: new Set(), lines: [] };
      this.known.set(path, known);
    }
    if (known.parts.has(part)) return;
    known.parts.add(part);
    known.lines.push(line);
  }
}
