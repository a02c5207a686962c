import { createHash } from "node:crypto";
import { mkdir, rmdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { badArgument, GmeError, ioError, printable } from "../errors";
import { storeFolder } from "../store/store-folders";

/** Where an index lies. */
export interface IndexPlace {
  /** As LanceDB takes it: an absolute folder, or the URI of object storage. */
  readonly uri: string;
  /** Undefined for object storage. */
  readonly folder?: string;
  /** For the lock, errors.jsonl and roots.json: the folder itself, or for object storage one on this machine. */
  readonly stateFolder: string;
}

/** A folder, a file: URL, or a URI such as s3://bucket/prefix. */
export function indexPlace(uri: string): IndexPlace {
  if (typeof uri !== "string" || uri === "" || uri.includes("\0"))
    throw badArgument("GME_INPUT_INVALID", "uri", "a folder or a LanceDB URI", uri);
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(uri) && !uri.startsWith("file:")) {
    const name = createHash("sha256").update(uri).digest("hex").slice(0, 32);
    return { uri, stateFolder: join(storeFolder(), "indexes", name) };
  }
  const folder = resolve(uri.startsWith("file:") ? fileURLToPath(uri) : uri);
  return { uri: folder, folder, stateFolder: folder };
}

/**
 * Makes the folder; its parent must be there, so that a disk that is not mounted is not written over. False when it was there.
 */
export async function makePlace({ folder, stateFolder }: IndexPlace): Promise<boolean> {
  if (folder === undefined) {
    await mkdir(stateFolder, { recursive: true }).catch((error) => {
      throw ioError(error, stateFolder);
    });
    return false;
  }
  try {
    await mkdir(folder);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && (await stat(folder)).isDirectory()) return false;
    if (code === "ENOENT") {
      const message = `${printable(folder)} cannot be made, since ${printable(dirname(folder))} does not exist`;
      throw new GmeError("GME_IO_ERROR", message, { file: folder, errno: code, expected: "an existing parent folder" });
    }
    if (code === "EEXIST" || code === "ENOTDIR")
      throw new GmeError("GME_IO_ERROR", `${printable(folder)} is not a folder`, { file: folder, errno: "ENOTDIR", expected: "a folder" }); // biome-ignore format: one line says it
    throw ioError(error, folder);
  }
}

/** An index that was never begun leaves no folder behind; one that holds something stays. */
export async function removeEmptyPlace({ folder }: IndexPlace): Promise<void> {
  if (folder !== undefined) await rmdir(folder).catch(() => undefined);
}

/** False also for a folder that holds something else. */
export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}
