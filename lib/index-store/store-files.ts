import { type FileHandle, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ioError } from "../errors";
import type { IndexPlace } from "./index-place";

export const tableName = "entries";
export const tableFolder = `${tableName}.lance`;

/** Every data file and manifest of Lance ends with this mark: one that was cut or zeroed lacks it. */
const endMark = "LANC";
const manifestTail = 16;
const dataTail = 40;
const columnEntry = 16;

/** Files of the table whose ends contradict what they hold: cut, zeroed, overwritten; empty for object storage. */
export async function damagedFiles({ folder }: IndexPlace): Promise<string[]> {
  if (folder === undefined) return [];
  const damaged: string[] = [];
  for (const part of ["_versions", "data"]) {
    const at = join(folder, tableFolder, part);
    for (const name of (await readdir(at).catch(() => [] as string[])).sort()) {
      const isSound = name.endsWith(".manifest") ? isManifest : name.endsWith(".lance") ? isDataFile : undefined;
      if (isSound !== undefined && !(await inFile(join(at, name), isSound))) damaged.push(join(at, name));
    }
  }
  return damaged;
}

export interface ManifestFile {
  readonly version: number;
  readonly path: string;
}

/** A manifest's name is 2^64 − 1 − version, or the version itself in older tables. */
const nameBase = 2n ** 64n - 1n;

/** The versions that have a manifest, newest first; empty for object storage. */
export async function manifestFiles({ folder }: IndexPlace): Promise<ManifestFile[]> {
  if (folder === undefined) return [];
  const at = join(folder, tableFolder, "_versions");
  const names = await readdir(at).catch(() => [] as string[]);
  const files = names.flatMap((name) => {
    const digits = /^(\d+)\.manifest$/.exec(name)?.[1];
    if (digits === undefined) return [];
    const version = digits.length === 20 ? Number(nameBase - BigInt(digits)) : Number(digits);
    return [{ version, path: join(at, name) }];
  });
  return files.sort((a, b) => b.version - a.version);
}

/**
 * A table whose making was killed before its first version: a folder without manifest or data, of which nothing was noted as committed.
 * False for object storage.
 */
export async function isUnfinishedTable(place: IndexPlace): Promise<boolean> {
  if (place.folder === undefined || (await committedVersion(place)) > 0) return false;
  const entries = await readdir(join(place.folder, tableFolder), { recursive: true }).catch(() => undefined);
  return entries !== undefined && !entries.some((name) => /\.(manifest|lance)$/.test(name));
}

/** Takes away what isUnfinishedTable found. */
export async function removeUnfinishedTable(place: IndexPlace): Promise<void> {
  if (place.folder === undefined || !(await isUnfinishedTable(place))) return;
  const path = join(place.folder, tableFolder);
  await rm(path, { recursive: true, force: true }).catch((error) => Promise.reject(ioError(error, path)));
}

export function isSoundManifest(path: string): Promise<boolean> {
  return inFile(path, isManifest);
}

/** False also when it cannot be opened. */
async function inFile(path: string, test: (file: FileHandle, size: number) => Promise<boolean>): Promise<boolean> {
  const file = await open(path, "r").catch(() => undefined);
  if (file === undefined) return false;
  try {
    return await test(file, (await file.stat()).size);
  } finally {
    await file.close();
  }
}

/**
 * Messages with their lengths before them, the manifest last; at the end where that begins, and the mark. Lance 10 panics at a length
 * that leads beyond the file.
 */
async function isManifest(file: FileHandle, size: number): Promise<boolean> {
  const tail = await readTail(file, size, manifestTail);
  if (tail === undefined) return false;
  const start = Number(tail.readBigUInt64LE(0));
  const end = size - manifestTail;
  for (let at = 0; ; ) {
    if (at + 4 > end) return false;
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, at);
    const next = at + 4 + buffer.readUInt32LE(0);
    if (at === start) return next <= end;
    if (next > start) return false;
    at = next;
  }
}

/** Where the columns' metadata, their offsets and those of the buffers begin, then the counts of both. */
async function isDataFile(file: FileHandle, size: number): Promise<boolean> {
  const tail = await readTail(file, size, dataTail);
  if (tail === undefined) return false;
  const [metadata, columns, buffers] = [0, 8, 16].map((at) => Number(tail.readBigUInt64LE(at)));
  const [bufferCount, columnCount] = [24, 28].map((at) => tail.readUInt32LE(at));
  if (tail.readUInt16LE(32) !== 2) return true; // another layout than the one known here
  return (
    metadata <= columns &&
    columns + columnCount * columnEntry <= buffers &&
    buffers + bufferCount * columnEntry <= size - dataTail
  );
}

async function readTail(file: FileHandle, size: number, length: number): Promise<Buffer | undefined> {
  if (size < length) return undefined;
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
  return buffer.toString("latin1", length - endMark.length) === endMark ? buffer : undefined;
}

const committedName = "committed.json";

/** Notes the version of the last commit that is on disk: a table that opens at an older one has lost its manifest. */
export async function noteCommitted({ folder }: IndexPlace, version: number): Promise<void> {
  if (folder === undefined) return;
  const path = join(folder, committedName);
  try {
    await writeFile(`${path}.part`, `{"version":${version}}\n`);
    await rename(`${path}.part`, path);
  } catch (error) {
    throw ioError(error, path);
  }
}

/** 0 where nothing was noted, or a power cut damaged the note. */
export async function committedVersion({ folder }: IndexPlace): Promise<number> {
  if (folder === undefined) return 0;
  try {
    const { version } = JSON.parse(await readFile(join(folder, committedName), "utf8")) as { version?: unknown };
    return typeof version === "number" ? version : 0;
  } catch {
    return 0;
  }
}

export async function forgetCommitted({ folder }: IndexPlace): Promise<void> {
  if (folder !== undefined) await rm(join(folder, committedName), { force: true });
}
