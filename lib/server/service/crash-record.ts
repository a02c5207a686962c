import { createHash } from "node:crypto";
import type { ReadyItem } from "./embed-service";

/** What is told of a crash. */
export interface CrashEntry {
  /** How the process ended, with its last words. */
  readonly reason: string;
  /** Of the items that were with it, as `digestOf` makes them. */
  readonly digests: readonly string[];
}

/** So many processes that ended over an item are no chance any more. */
const fatalDeaths = 2;
const maxEntries = 1_000;

/** An item as far as it decides what the engine does. */
export type CrashItem = Pick<ReadyItem, "text" | "prompt" | "image"> & { readonly overflow: string };

/** Items that were with an engine's process when it died, and how often. The one that is longest ago is forgotten. */
export class CrashRecord {
  private readonly deaths = new Map<string, { deaths: number; shape: string }>();
  /** How many entries have this shape: an item of another shape needs no digest. */
  private readonly shapes = new Map<string, number>();

  get size(): number {
    return this.deaths.size;
  }

  deathsOf(item: CrashItem): number {
    if (!this.shapes.has(shapeOf(item))) return 0;
    return this.deaths.get(digestOf(item))?.deaths ?? 0;
  }

  isFatal(item: CrashItem): boolean {
    return this.deathsOf(item) >= fatalDeaths;
  }

  /** The items that were with one process when it died; the same item twice is one. Returns their digests. */
  countDeaths(items: readonly CrashItem[]): string[] {
    const byDigest = new Map(items.map((item) => [digestOf(item), item]));
    for (const [digest, item] of byDigest) this.countDeath(digest, shapeOf(item));
    return [...byDigest.keys()];
  }

  private countDeath(digest: string, shape: string): void {
    const deaths = (this.deaths.get(digest)?.deaths ?? 0) + 1;
    this.remove(digest);
    this.deaths.set(digest, { deaths, shape });
    this.shapes.set(shape, (this.shapes.get(shape) ?? 0) + 1);
    if (this.deaths.size > maxEntries) this.remove(this.deaths.keys().next().value as string);
  }

  clear(item: CrashItem): void {
    if (this.shapes.has(shapeOf(item))) this.remove(digestOf(item));
  }

  private remove(digest: string): void {
    const entry = this.deaths.get(digest);
    if (entry === undefined) return;
    this.deaths.delete(digest);
    const others = (this.shapes.get(entry.shape) ?? 1) - 1;
    if (others > 0) this.shapes.set(entry.shape, others);
    else this.shapes.delete(entry.shape);
  }
}

function shapeOf({ text, prompt, image, overflow }: CrashItem): string {
  return [text?.length, prompt?.length, image?.length, overflow].join(" ");
}

/** sha256 of the parts with their lengths, so that no two items look the same. */
function digestOf({ text, prompt, image, overflow }: CrashItem): string {
  const hash = createHash("sha256");
  for (const part of [text, prompt, overflow, image]) {
    const length = typeof part === "string" ? Buffer.byteLength(part) : (part?.length ?? -1);
    hash.update(`${length}:`).update(part ?? "");
  }
  return hash.digest("hex");
}
