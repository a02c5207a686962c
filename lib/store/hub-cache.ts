import { createHash, randomUUID, type Hash } from "node:crypto";
import { constants } from "node:fs";
import {
  copyFile,
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { abortError, GmeError, ioError, printable } from "../errors";
import type { Digest } from "./hub-api";
import { checkRemotePath } from "./remote-names";

const noFollow = constants.O_NOFOLLOW ?? 0;
const readBytes = 4 << 20;

/**
 * One repository in the Hugging Face cache: `blobs` named by digest, `snapshots/<commit>` of links to them, `refs` from a revision to its commit.
 * The cache's folder may be a link to another disk; below it nothing that is ours to write is followed.
 */
export class HubCache {
  readonly folder: string;
  private readonly name: string;

  constructor(
    private readonly root: string,
    repository: string,
  ) {
    this.name = `models--${repository.replace("/", "--")}`;
    this.folder = join(root, this.name);
  }

  blobPath({ hex }: Digest): string {
    return join(this.folder, "blobs", hex);
  }

  incompletePath({ hex }: Digest): string {
    return join(this.folder, "blobs", `${hex}.incomplete`);
  }

  lockPath({ hex }: Digest): string {
    return join(this.root, ".locks", this.name, `${hex}.gme-lock`);
  }

  snapshotFolder(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  filePath(commit: string, path: string): string {
    return join(this.snapshotFolder(commit), ...checkRemotePath(path, "path").split("/"));
  }

  async prepare(): Promise<void> {
    await this.makeFolder(join(this.folder, "blobs"));
  }

  /** Gives the blob its name at that commit; what stood there before is replaced. */
  async linkFile(commit: string, path: string, digest: Digest): Promise<string> {
    const target = this.filePath(commit, path);
    await this.makeFolder(dirname(target));
    const goal = relative(dirname(target), this.blobPath(digest));
    if ((await readlink(target).catch(() => undefined)) === goal) return target;
    // Whoever links this file holds the lock of its digest: a draft that is there was left by a process that was killed.
    const draft = join(dirname(target), `.${basename(target)}.gme-draft`);
    try {
      await rm(draft, { force: true });
      await symlink(goal, draft).catch(async () => {
        // A file system without links: another name for the same bytes, else a copy of them.
        await link(this.blobPath(digest), draft).catch(() => copyFile(this.blobPath(digest), draft));
      });
      await rename(draft, target);
    } catch (error) {
      await rm(draft, { force: true });
      throw ioError(error, target);
    }
    return target;
  }

  /** Notes what a revision stands for, as the other tools do. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    const file = join(this.folder, "refs", ...checkRemotePath(revision, "revision").split("/"));
    await this.makeFolder(dirname(file));
    const draft = join(this.root, ".locks", this.name, `ref.${randomUUID()}`);
    try {
      await mkdir(dirname(draft), { recursive: true });
      await writeFile(draft, commit, { flag: "wx" });
      await rename(draft, file);
    } catch (error) {
      await rm(draft, { force: true });
      throw ioError(error, file);
    }
  }

  /** Folders below the repository's own are real folders: a link there could lead our writing anywhere. */
  private async makeFolder(folder: string): Promise<void> {
    try {
      await mkdir(this.folder, { recursive: true });
      let path = this.folder;
      for (const name of relative(this.folder, folder).split(sep).filter(Boolean)) {
        path = join(path, name);
        await mkdir(path).catch((error) => {
          if (error.code !== "EEXIST") throw error;
        });
        if ((await lstat(path)).isDirectory()) continue;
        const message = `${printable(path)}: not a folder, or a link to one, in the Hugging Face cache`;
        throw new GmeError("GME_IO_ERROR", message, { file: path, errno: "ENOTDIR", expected: "a folder" });
      }
    } catch (error) {
      throw error instanceof GmeError ? error : ioError(error, folder);
    }
  }
}

/** Whether a regular file (no link) of that size is there with that digest. */
export async function hasDigest(file: string, size: number, digest: Digest, signal: AbortSignal): Promise<boolean> {
  let handle: FileHandle;
  try {
    handle = await open(file, constants.O_RDONLY | noFollow);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ELOOP" || code === "EISDIR" || code === "EMLINK") return false;
    throw ioError(error, file);
  }
  try {
    const facts = await handle.stat();
    if (!facts.isFile() || facts.size !== size) return false;
    return (await digestOf(handle, size, digest.kind, signal)) === digest.hex;
  } finally {
    await handle.close();
  }
}

/** The digest of the first `size` bytes, read back from the file. */
export async function digestOf(
  handle: FileHandle,
  size: number,
  kind: Digest["kind"],
  signal: AbortSignal,
): Promise<string> {
  const hash: Hash = createHash(kind === "sha256" ? "sha256" : "sha1");
  if (kind === "git-sha1") hash.update(`blob ${size}\0`);
  const buffer = Buffer.allocUnsafe(Math.min(readBytes, Math.max(1, size)));
  for (let offset = 0; offset < size; ) {
    if (signal.aborted) throw abortError(signal);
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - offset), offset);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    offset += bytesRead;
  }
  return hash.digest("hex");
}

/** The unfinished file, opened for going on: a regular file with one name, never what a link leads to. */
export async function openIncomplete(file: string, size: number): Promise<FileHandle> {
  const { O_RDWR, O_CREAT, O_EXCL } = constants;
  try {
    const found = await lstat(file).catch(() => undefined);
    if (found !== undefined) {
      if (found.isFile() && found.nlink === 1 && found.size <= size) return await open(file, O_RDWR | noFollow);
      await rm(file, { force: true });
    }
    return await open(file, O_RDWR | O_CREAT | O_EXCL | noFollow, 0o600);
  } catch (error) {
    throw ioError(error, file);
  }
}
