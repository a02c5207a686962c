import { downloadFailed, type HubAnswer, type HubClient, place, TransientFailure } from "./hub-http";
import { checkRemotePath } from "./remote-names";

/** A repository at one commit. */
export interface Repository {
  readonly repository: string;
  readonly revision: string;
  /** What the revision was when it was asked for: 40 hex digits. */
  readonly commit: string;
  readonly licence?: string;
  readonly files: readonly string[];
}

/** A file's digest: sha256 of a large file, git's blob sha1 of a small one. The cache names its blobs by it. */
export interface Digest {
  readonly kind: "sha256" | "git-sha1";
  readonly hex: string;
}

export interface RemoteFile {
  readonly repository: string;
  readonly commit: string;
  readonly path: string;
  readonly size: number;
  readonly digest: Digest;
}

const maxListBytes = 16 << 20;
const maxFiles = 100_000;

/** Resolves a revision to its commit and lists the files there. */
export async function fetchRepository(hub: HubClient, repository: string, revision: string): Promise<Repository> {
  const path = `api/models/${repository}/revision/${encodeURIComponent(revision)}`;
  const { answer, value } = await hub.withRetries(async () => {
    const answer = await hub.request({ method: "GET", path, headers: { accept: "application/json" } });
    return { answer, value: await readJson(hub, answer) };
  });
  const { sha, siblings, tags } = value as { sha?: unknown; siblings?: unknown; tags?: unknown };
  if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha) || !Array.isArray(siblings) || siblings.length > maxFiles)
    throw downloadFailed(`${place(answer.url)}: not the description of a model`, { field: "sha, siblings" });
  const files = siblings.map((entry) => checkRemotePath((entry as { rfilename?: unknown })?.rfilename, "rfilename"));
  const licences = (Array.isArray(tags) ? tags : []).filter((tag) => /^license:[\w.+-]{1,60}$/.test(String(tag)));
  const licence = licences.length > 0 ? String(licences[0]).slice("license:".length) : undefined;
  return { repository, revision, commit: sha, files, ...(licence && { licence }) };
}

/** Size and digest of one file, as the hub itself gives them: what it redirects to is not asked. */
export async function fetchFileFacts(
  hub: HubClient,
  { repository, commit }: Repository,
  path: string,
): Promise<RemoteFile> {
  return hub.withRetries(async () => {
    let size: string | undefined;
    let etag: string | undefined;
    const answer = await hub.request({
      method: "HEAD",
      path: filePath(repository, commit, path),
      onHop: (answer) => {
        if (answer.status >= 400) return false;
        size ??= answer.header("x-linked-size");
        etag ??= answer.header("x-linked-etag");
        return size !== undefined && etag !== undefined;
      },
    });
    await hub.dump(answer);
    const digest = readDigest(etag ?? answer.header("etag"));
    const bytes = Number(size ?? answer.header("content-length") ?? Number.NaN);
    if (digest === undefined || !Number.isSafeInteger(bytes) || bytes < 0)
      throw downloadFailed(`${place(answer.url)}: the answer gives no size or no digest`, { field: "X-Linked-Etag" });
    return { repository, commit, path, size: bytes, digest };
  });
}

/** The file's bytes from `offset` on. */
export function requestFile(hub: HubClient, file: RemoteFile, offset: number, onHop: (answer: HubAnswer) => boolean) {
  const headers = offset > 0 ? { range: `bytes=${offset}-` } : undefined;
  const path = filePath(file.repository, file.commit, file.path);
  return hub.request({ method: "GET", path, headers, onHop });
}

/** The digest in an entity tag, if one stands there. */
export function readDigest(etag: string | undefined): Digest | undefined {
  const hex = etag?.trim().match(/^(?:W\/)?"?([0-9a-f]+)"?$/)?.[1];
  if (hex?.length === 64) return { kind: "sha256", hex };
  return hex?.length === 40 ? { kind: "git-sha1", hex } : undefined;
}

function filePath(repository: string, commit: string, path: string): string {
  return `${repository}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`;
}

async function readJson(hub: HubClient, answer: HubAnswer): Promise<object> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of hub.bytes(answer)) {
    size += chunk.length;
    if (size > maxListBytes) throw downloadFailed(`${place(answer.url)}: a longer answer than ${maxListBytes} bytes`);
    chunks.push(chunk);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // A page that is no JSON, from a proxy that asks for a login or a server in trouble.
  }
  throw new TransientFailure(downloadFailed(`${place(answer.url)}: the answer is no JSON object`));
}
