import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { GmeError, printable } from "../errors";

/** Bytes that a folder's file system has left, and which file system that is. */
export interface FreeSpace {
  readonly bytes: number;
  readonly device: number;
}

export interface SpaceNeed {
  readonly folder: string;
  readonly bytes: number;
}

/** Of the folder, or of the nearest one above it that exists. Undefined where the system does not say. */
export async function freeSpace(folder: string): Promise<FreeSpace | undefined> {
  for (let path = folder; ; path = dirname(path)) {
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined) {
      const system = await statfs(path).catch(() => undefined);
      return system && { bytes: system.bavail * system.bsize, device: found.dev };
    }
    if (dirname(path) === path) return undefined;
  }
}

/** GME_DISK_FULL before the first byte where what is to come cannot fit; needs on one file system count together. */
export async function checkSpace(
  needs: readonly SpaceNeed[],
  measure: (folder: string) => Promise<FreeSpace | undefined>,
): Promise<void> {
  const perDevice = new Map<number, { folder: string; free: number; needed: number }>();
  for (const { folder, bytes } of needs) {
    const free = await measure(folder);
    if (free === undefined) continue;
    const entry = perDevice.get(free.device) ?? { folder, free: free.bytes, needed: 0 };
    entry.needed += bytes;
    perDevice.set(free.device, entry);
  }
  for (const { folder, free, needed } of perDevice.values()) {
    if (needed <= free) continue;
    const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
    const message = `${printable(folder)}: ${megabytes(needed)} are needed, ${megabytes(free)} are free`;
    throw new GmeError("GME_DISK_FULL", message, { file: folder, value: free, expected: `${needed} bytes` });
  }
}
