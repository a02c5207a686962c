import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ioError } from "../errors";
import type { IndexPlace } from "./index-place";
import type { AddFilesOptions } from "./index-types";

/** The options of a run that decide which files it takes and how it cuts them. */
export type RootOptions = Pick<
  AddFilesOptions,
  | "exclude"
  | "followSymlinks"
  | "hidden"
  | "captions"
  | "textColumn"
  | "imageColumn"
  | "passageLength"
  | "passageOverlap"
>;

/** A file or folder that was indexed, and how: what a check compares the rows with. */
export interface IndexRoot {
  /** Absolute, lossless form of path-bytes.ts. */
  readonly path: string;
  readonly options: RootOptions;
  /** When its last whole run began, milliseconds since 1970; 0: no run has come to its end. */
  readonly finished: number;
}

const fileName = "roots.json";

/** An absent or damaged file is an empty list: the rows say what is indexed, this says only where more would come from. */
export async function readRoots({ stateFolder }: IndexPlace): Promise<IndexRoot[]> {
  try {
    const { roots } = JSON.parse(await readFile(join(stateFolder, fileName), "utf8")) as { roots: IndexRoot[] };
    return roots.filter(({ path, options }) => typeof path === "string" && typeof options === "object");
  } catch {
    return [];
  }
}

/** Adds roots or replaces those of the same path. */
export async function rememberRoots(place: IndexPlace, fresh: readonly IndexRoot[]): Promise<void> {
  const kept = (await readRoots(place)).filter((root) => !fresh.some(({ path }) => path === root.path));
  const file = join(place.stateFolder, fileName);
  try {
    await writeFile(`${file}.part`, `${JSON.stringify({ roots: [...kept, ...fresh] }, null, 1)}\n`);
    await rename(`${file}.part`, file);
  } catch (error) {
    throw ioError(error, file);
  }
}
