import { createHash } from "node:crypto";
import type { Source } from "./entry-row";

/** What the index holds of one state of a file. */
export interface KnownVersion {
  readonly size: number;
  readonly mtime: number;
  /** sha256 of its bytes, hex. */
  readonly file: string;
  readonly parts: number;
  /** How many of the parts have a row. */
  readonly have: number;
  readonly captionSize: number;
  readonly captionMtime: number;
}

const numbersPer = 6;
const hashBytes = 32;
/** Stands for "no caption". */
const none = -1;

/**
 * The files of an index by path, packed: about 150 bytes each, so that a million fit. A path has several versions when an earlier run
 * was ended between inserting a file's new rows and removing its old ones.
 */
export class KnownSources {
  private readonly firstOf = new Map<string, number>();
  private next = new Int32Array(1_024);
  private numbers = new Float64Array(1_024 * numbersPer);
  private hashes = new Uint8Array(1_024 * hashBytes);
  private count = 0;

  /** One source of one row; sources that are no files are passed over. */
  add({ path, image, size, mtime, file, parts, row, captionSize, captionMtime }: Source): void {
    if (row !== null && !this.hasPath(path)) this.firstOf.set(idOf(path, null), -1);
    if (size === null || mtime === null || file === null) return;
    const id = idOf(path, image);
    const first = this.firstOf.get(id) ?? -1;
    const numbers = [size, mtime, parts, captionSize ?? none, captionMtime ?? none];
    for (let at = first; at >= 0; at = this.next[at]) {
      if (!this.matches(at, numbers, file)) continue;
      this.numbers[at * numbersPer + 5]++;
      return;
    }
    this.grow();
    const at = this.count++;
    this.numbers.set([...numbers, 1], at * numbersPer);
    this.hashes.set(Buffer.from(file, "hex"), at * hashBytes);
    this.next[at] = first;
    this.firstOf.set(id, at);
  }

  /** Of a file, or of a picture that rows of a table name. */
  versions(path: string, image: string | null = null): KnownVersion[] {
    const found: KnownVersion[] = [];
    for (let at = this.firstOf.get(idOf(path, image)) ?? -1; at >= 0; at = this.next[at]) found.push(this.read(at));
    return found;
  }

  /** Whether a row names the path, if only as a table's. */
  hasPath(path: string): boolean {
    return this.firstOf.has(idOf(path, null));
  }

  private read(at: number): KnownVersion {
    const [size, mtime, parts, captionSize, captionMtime, have] = this.numbers.subarray(at * numbersPer);
    const file = Buffer.from(this.hashes.subarray(at * hashBytes, (at + 1) * hashBytes)).toString("hex");
    return { size, mtime, file, parts, have, captionSize, captionMtime };
  }

  private matches(at: number, numbers: readonly number[], file: string): boolean {
    return (
      numbers.every((value, i) => this.numbers[at * numbersPer + i] === value) &&
      Buffer.from(file, "hex").equals(this.hashes.subarray(at * hashBytes, (at + 1) * hashBytes))
    );
  }

  private grow(): void {
    if (this.count < this.next.length) return;
    const capacity = this.next.length * 2;
    const next = new Int32Array(capacity);
    next.set(this.next);
    const numbers = new Float64Array(capacity * numbersPer);
    numbers.set(this.numbers);
    const hashes = new Uint8Array(capacity * hashBytes);
    hashes.set(this.hashes);
    [this.next, this.numbers, this.hashes] = [next, numbers, hashes];
  }
}

/** 15 bytes of a hash stand for the path: a string of one byte per character is the smallest key that a Map takes. */
function idOf(path: string, image: string | null): string {
  const named = image === null ? path : `${path}\0${image}`;
  return createHash("sha1").update(named).digest().toString("latin1", 0, 15);
}
