import { statfs } from "node:fs/promises";
import { printable } from "../errors";
import type { IndexPlace } from "./index-place";

/** Linux' numbers of the file systems on which renames, hard links and syncs do what the index needs of them. */
const suited: Readonly<Record<number, string>> = {
  61267: "ext4",
  1481003842: "XFS",
  2435016766: "Btrfs",
  16914836: "tmpfs",
  2035054128: "overlay",
  801189825: "ZFS",
  4076150800: "F2FS",
};

/** One line of warning where an index lies on a file system that was not tried; on Linux only, which alone tells. */
export async function fileSystemWarning({ folder }: IndexPlace): Promise<string | undefined> {
  if (folder === undefined || process.platform !== "linux") return undefined;
  const { type } = (await statfs(folder).catch(() => undefined)) ?? {};
  return type === undefined ? undefined : warningFor(type, folder);
}

export function warningFor(type: number, folder: string): string | undefined {
  if (suited[type] !== undefined) return undefined;
  return (
    `${printable(folder)} is on a file system (type 0x${type.toString(16)}) on which the index was not tried; ` +
    "one writer at a time and commits that survive a power cut are not assured there (docs/indexing.md)"
  );
}
