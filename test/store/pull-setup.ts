import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../lib/index";
import type { PullOptions } from "../../lib/store/pull-request";
import { type PulledModel, pull, type PullSettings } from "../../lib/store/pull";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { folderFiles, HubServer, sha256Of } from "../helpers/hub-server";

export const repository = "someone/tiny-a";
export const weights = "model.safetensors";

const parent = temporaryFolder();
let made = 0;

/** An empty cache and an empty store of its own for each test, named by the environment as users name them. */
export function freshStore(): { store: string; hub: string } {
  const folder = join(parent, String(made++));
  const place = { store: join(folder, "store"), hub: join(folder, "hf", "hub") };
  mkdirSync(folder);
  process.env.GME_HOME = place.store;
  process.env.HF_HOME = join(folder, "hf");
  for (const name of ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT"]) delete process.env[name];
  return place;
}

export async function checkpointHub(): Promise<HubServer> {
  return HubServer.start(repository, folderFiles(fixture("checkpoints", "tiny-a")));
}

/** With pauses and time-outs that a test can wait for. */
export function pullFrom(
  hub: HubServer,
  options: Partial<PullOptions> = {},
  settings: PullSettings = {},
): Promise<PulledModel> {
  return pull(
    { model: repository, ...options },
    { endpoint: hub.endpoint, retryDelayMs: 5, idleMs: 2_000, retries: 3, ...settings },
  );
}

/** Blobs by name; what is unfinished as well. */
export function blobs({ hub }: { hub: string }, name = repository): string[] {
  try {
    return readdirSync(join(hub, `models--${name.replace("/", "--")}`, "blobs")).sort();
  } catch {
    return [];
  }
}

export function blobPath({ hub }: { hub: string }, digest: string): string {
  return join(hub, "models--someone--tiny-a", "blobs", digest);
}

export function weightsDigest(hub: HubServer): string {
  return sha256Of(hub.files.get(weights) as Buffer);
}

/** Every file of the snapshot is a link to a blob with the file's bytes; nothing unfinished, no lock is left. */
export function cacheProblems(place: { hub: string }, hub: HubServer): string[] {
  const problems: string[] = [];
  const snapshot = join(place.hub, "models--someone--tiny-a", "snapshots", hub.commit);
  for (const name of readdirSync(snapshot)) {
    const path = join(snapshot, name);
    if (!lstatSync(path).isSymbolicLink() || !/^\.\.\/\.\.\/blobs\/[0-9a-f]+$/.test(readlinkSync(path)))
      problems.push(`${name} is no link to a blob`);
    if (!readFileSync(path).equals(hub.files.get(name) as Buffer)) problems.push(`${name} has other bytes`);
  }
  const odd = blobs(place).filter((name) => !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(name));
  const locks = join(place.hub, ".locks", "models--someone--tiny-a");
  return [...problems, ...odd, ...readdirSync(locks)];
}

/** The vector of a short text: a model that gives it was downloaded and converted whole. */
export async function embedOnce(name: string): Promise<Float32Array> {
  const model = await load(name, { threads: 1 });
  try {
    return await model.embed("a cat");
  } finally {
    await model.close();
  }
}
