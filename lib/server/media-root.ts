import { constants } from "node:fs";
import { type FileHandle, open, readlink, realpath, stat } from "node:fs/promises";
import { resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { GmeError, printable } from "../index";

/** The one folder that requests may name files of. */
export interface MediaRoot {
  /** As it was given, and without links. */
  readonly given: string;
  readonly real: string;
}

export async function openMediaRoot(folder: string): Promise<MediaRoot> {
  try {
    const real = await realpath(folder);
    if ((await stat(real)).isDirectory()) return { given: resolve(folder), real };
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code;
    throw new GmeError("GME_IO_ERROR", `${printable(folder)} cannot be opened (${errno})`, { file: folder, errno });
  }
  throw new GmeError("GME_IO_ERROR", `${printable(folder)} is not a folder`, { file: folder, expected: "a folder" });
}

/** The bytes of a file below the root, named by a `file:` URL or a path; links that lead out of it are refused. */
export async function readMediaFile(
  root: MediaRoot,
  address: string,
  { field, maxBytes }: { field: string; maxBytes: number },
): Promise<Uint8Array> {
  const path = resolve(root.real, pathOf(address, field));
  // What lies elsewhere is not even looked for: answers must not tell which files exist.
  const below = isBelow(root.given, path) ? resolve(root.real, `.${path.slice(root.given.length)}`) : path;
  if (!isBelow(root.real, below)) throw outside(field, address);
  try {
    const real = await realpath(below);
    if (!isBelow(root.real, real)) throw outside(field, address);
    const handle = await open(real, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
    try {
      if (!(await isStillBelow(root, real, handle))) throw outside(field, address);
      return await readWhole(handle, { field, address, maxBytes });
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof GmeError) throw error;
    const errno = (error as NodeJS.ErrnoException).code;
    throw unread(field, address, `the file cannot be read (${errno})`, errno);
  }
}

function pathOf(address: string, field: string): string {
  try {
    const path = /^file:/i.test(address) ? fileURLToPath(address) : address;
    if (path !== "" && !path.includes("\0") && path.length < 4096) return path;
  } catch {
    // a file: URL of another machine, or with an encoded slash
  }
  throw new GmeError("GME_INPUT_INVALID", `${field} is not the path of a file`, { field, expected: "a path" });
}

function isBelow(root: string, path: string): boolean {
  return path.startsWith(root.endsWith(sep) ? root : root + sep);
}

/**
 * A folder on the way may have become a link between the look at the path and the opening. Linux says where an open file lies; elsewhere
 * the path is looked at again and must still be this file's.
 */
async function isStillBelow(root: MediaRoot, real: string, handle: FileHandle): Promise<boolean> {
  const where = await readlink(`/proc/self/fd/${handle.fd}`).catch(() => undefined);
  if (where !== undefined) return isBelow(root.real, where);
  const again = await realpath(real);
  const [opened, found] = await Promise.all([handle.stat({ bigint: true }), stat(again, { bigint: true })]);
  return isBelow(root.real, again) && opened.dev === found.dev && opened.ino === found.ino;
}

async function readWhole(
  handle: FileHandle,
  { field, address, maxBytes }: { field: string; address: string; maxBytes: number },
): Promise<Uint8Array> {
  const found = await handle.stat();
  if (!found.isFile()) throw unread(field, address, "it is not a regular file");
  if (found.size > maxBytes)
    throw new GmeError("GME_IMAGE_TOO_LARGE", `${field}: a file of ${found.size} bytes, allowed are ${maxBytes}`, {
      field,
      value: found.size,
      expected: `at most ${maxBytes} bytes`,
    });
  const bytes = new Uint8Array(found.size);
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, at, bytes.length - at, at);
    if (bytesRead === 0) throw unread(field, address, "it became shorter while it was read");
    at += bytesRead;
  }
  return bytes;
}

function outside(field: string, address: string): GmeError {
  return new GmeError(
    "GME_URL_REFUSED",
    `${field}: ${printable(address)} is not below the folder that files may be of`,
    {
      field,
      value: printable(address),
      expected: "a path below the media root",
    },
  );
}

function unread(field: string, address: string, reason: string, errno?: string): GmeError {
  return new GmeError("GME_URL_FETCH_FAILED", `${field}: ${printable(address)}: ${reason}`, {
    field,
    value: printable(address),
    errno,
    expected: "a regular file",
  });
}
