import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { convert } from "../convert";
import { readCheckpointConfig } from "../convert/checkpoint-config";
import { readGgufHeader } from "../convert/gguf-reader";
import { isObject, requireJsonFile } from "../convert/json-file";
import { abortError, GmeError, printable } from "../errors";
import { checkSpace, type FreeSpace, freeSpace, type SpaceNeed } from "./disk-space";
import { bytesPresent, downloadFile } from "./download";
import { FileLock, type LockHolder } from "./file-lock";
import { fetchFileFacts, fetchRepository, type RemoteFile, type Repository } from "./hub-api";
import { HubCache } from "./hub-cache";
import { downloadFailed, HubClient, type NetworkSettings } from "./hub-http";
import { checkpointFiles } from "./known-models";
import { modelFolder, readModel, type StoredModel, writeModel } from "./model-store";
import { type PullOptions, type PullProgress, type PullRequest, readPullOptions } from "./pull-request";
import { checkRemotePath } from "./remote-names";
import { hubFolder, storeFolder } from "./store-folders";

/** For tests; everybody else gets the defaults. */
export interface PullSettings extends NetworkSettings {
  readonly measureSpace?: (folder: string) => Promise<FreeSpace | undefined>;
}

const parallelFiles = 3;
const maxJsonBytes = 64 << 20;
const weightsFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

/** A model that was pulled; `isNew` is false when the store had it already. */
export interface PulledModel extends StoredModel {
  readonly isNew: boolean;
}

/**
 * Brings a model into the store, from where `load(name)` finds it: downloads what is missing, checks it, converts it.
 * Rejects with GME_MODEL_NOT_FOUND, GME_DOWNLOAD_DENIED, GME_DOWNLOAD_FAILED, GME_HASH_MISMATCH, GME_DISK_FULL, GME_ABORTED, or as `convert` does.
 */
export function pullModel(options: PullOptions): Promise<PulledModel> {
  return pull(options);
}

/**
 * revision -> commit and list of files -> facts of each (size, digest) -> room on the disk -> files, three at a time -> conversion -> record.
 * Stopped at any moment, it leaves what the next call goes on with.
 */
export async function pull(options: PullOptions, settings: PullSettings = {}): Promise<PulledModel> {
  const request = readPullOptions(options);
  const stop = new AbortController();
  const onAbort = () => stop.abort(options.signal?.reason);
  if (options.signal?.aborted) throw abortError(options.signal);
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const hub = new HubClient(settings, stop.signal);
  try {
    return await new Pull(request, options, settings, hub, stop).run();
  } catch (error) {
    if (options.signal?.aborted) throw abortError(options.signal);
    throw GmeError.from(error, "GME_INTERNAL");
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
    await hub.close();
  }
}

class Pull {
  private readonly cache: HubCache;
  private readonly signal: AbortSignal;
  /** Bytes of each file that are here, and in all; a repeated download may lower them. */
  private readonly here = new Map<string, number>();
  private readonly fetched: RemoteFile[] = [];

  constructor(
    private readonly request: PullRequest,
    private readonly options: PullOptions,
    private readonly settings: PullSettings,
    private readonly hub: HubClient,
    private readonly stop: AbortController,
  ) {
    this.cache = new HubCache(hubFolder(), request.repository);
    this.signal = stop.signal;
  }

  async run(): Promise<PulledModel> {
    const { name, repository, revision } = this.request;
    const lock = await FileLock.acquire(join(storeFolder(), "locks", `${name}.lock`), {
      signal: this.signal,
      onWait: (holder) => this.noteWait(holder),
    });
    try {
      await this.clearParts();
      const before = await readModel(name).catch(() => undefined);
      if (before !== undefined && before.repository !== repository) {
        const message = `the store has a model ${name} from ${before.repository}: choose another name`;
        throw new GmeError("GME_TARGET_EXISTS", message, { field: "name", value: name, expected: "another name" });
      }
      const source = await fetchRepository(this.hub, repository, revision);
      if (before !== undefined && (await this.isSame(before, source))) return { ...before, isNew: false };
      const weights = this.chooseWeights(source);
      const model = weights === undefined ? await this.pullCheckpoint(source) : await this.pullGguf(source, weights);
      await this.cache.writeRef(revision, source.commit);
      await writeModel(model);
      await this.removeOthers(model);
      return { ...model, isNew: true };
    } finally {
      await lock.release();
    }
  }

  /** The same commit in the same form, with its file as it was left. */
  private async isSame(before: StoredModel, { commit }: Repository): Promise<boolean> {
    const { type, file, mmproj, sha256 } = this.request;
    const found = await stat(before.file).catch(() => undefined);
    const isFile = file === undefined || before.sources.some(({ path }) => path === file);
    const isTower = mmproj === undefined || before.sources.some(({ path }) => path === mmproj);
    const isType = before.type === undefined ? type === undefined : before.type === (type ?? "f16");
    const isDigest = sha256 === undefined || before.sources.some(({ digest }) => digest.hex === sha256);
    const isThere = found?.isFile() === true && found.size === before.bytes;
    return isThere && before.commit === commit && isFile && isTower && isType && isDigest;
  }

  /** The GGUF file to take as it is, or undefined for a checkpoint to convert. */
  private chooseWeights({ files, repository }: Repository): string | undefined {
    const { file, type } = this.request;
    if (file !== undefined) {
      if (files.includes(file)) return file;
      throw new GmeError("GME_MODEL_NOT_FOUND", `${repository}: no such file ${printable(file)}`, { value: file });
    }
    if (files.includes("config.json") && (files.includes(weightsFile) || files.includes(indexFile))) return undefined;
    const all = files.filter((path) => path.endsWith(".gguf") && !isTowerName(path));
    const fitting = type === undefined ? all : all.filter((path) => path.toLowerCase().includes(type));
    if (fitting.length === 1) return fitting[0];
    if (all.length === 0) {
      const message = `${repository}: neither a checkpoint (config.json, ${weightsFile}) nor a GGUF file`;
      throw new GmeError("GME_MODEL_UNSUPPORTED", message, { expected: `config.json and ${weightsFile}, or *.gguf` });
    }
    throw this.ambiguous("GGUF files", all, `gme pull ${repository}:FILE`);
  }

  private ambiguous(what: string, files: readonly string[], expected: string): GmeError {
    const list = files.slice(0, 20).map(printable).join(", ");
    const message = `${this.request.repository} has several ${what}: ${list}; choose one with ${expected}`;
    return new GmeError("GME_OPTION_INVALID", message, { field: "model", expected });
  }

  private async pullCheckpoint(source: Repository): Promise<StoredModel> {
    const small = checkpointFiles.filter((path) => source.files.includes(path));
    await this.download(await this.factsOf(source, small), []);
    const folder = this.cache.snapshotFolder(source.commit);
    // Whether this is a model of ours is known before the gigabytes come.
    await readCheckpointConfig(folder);
    const weights = await this.factsOf(source, await shardsOf(source, folder));
    const weightBytes = weights.reduce((sum, { size }) => sum + size, 0);
    const type = this.request.type ?? "f16";
    const converted = await estimateConverted(folder, weightBytes, type);
    await this.download(weights, [{ folder: storeFolder(), bytes: converted }]);
    const { name, repository } = this.request;
    const file = `${name}-${type}.gguf`;
    await mkdir(modelFolder(name), { recursive: true });
    const { bytes } = await convert({
      source: folder,
      target: join(modelFolder(name), file),
      type,
      name: repository.slice(repository.indexOf("/") + 1),
      force: true,
      signal: this.signal,
      onProgress: ({ done, total }) => this.report({ step: "convert", done, total }),
    });
    return { ...this.recordOf(source), file: join(modelFolder(name), file), bytes, type };
  }

  private async pullGguf(source: Repository, path: string): Promise<StoredModel> {
    const [weights] = await this.factsOf(source, [path]);
    const { sha256, mmproj } = this.request;
    if (sha256 !== undefined && weights.digest.kind === "sha256" && weights.digest.hex !== sha256)
      throw wrongSha256(path, weights.digest.hex, sha256);
    await this.download([weights], []);
    const file = this.cache.filePath(source.commit, path);
    if (sha256 !== undefined && weights.digest.kind !== "sha256") await checkSha256(file, path, sha256);
    const { tensors, metadata } = await readGgufHeader(file);
    const architecture = metadata.get("general.architecture")?.value;
    if (architecture !== "qwen2vl") {
      const message = `${path}: the architecture is ${printable(String(architecture))}, expected qwen2vl`;
      throw new GmeError("GME_MODEL_UNSUPPORTED", message, { file: path, field: "general.architecture" });
    }
    const tower = mmproj ?? (tensors.has("v.patch_embd.weight") ? undefined : this.chooseTower(source, path));
    if (tower !== undefined) {
      await this.download(await this.factsOf(source, [tower]), []);
      await readGgufHeader(this.cache.filePath(source.commit, tower));
    }
    const record = { ...this.recordOf(source), file, bytes: weights.size };
    return tower === undefined ? record : { ...record, mmproj: this.cache.filePath(source.commit, tower) };
  }

  /** Of the towers beside the decoder the only one, else the only f16 one. */
  private chooseTower({ files }: Repository, path: string): string | undefined {
    const folder = path.slice(0, path.lastIndexOf("/") + 1);
    const beside = (other: string) => other.slice(0, other.lastIndexOf("/") + 1) === folder;
    const towers = files.filter((other) => isTowerName(other) && beside(other) && other !== path);
    const half = towers.filter((other) => /(^|[-_.])f16([-_.]|$)/i.test(other.slice(folder.length)));
    if (towers.length <= 1) return towers[0];
    if (half.length === 1) return half[0];
    throw this.ambiguous("vision towers", towers, "--mmproj FILE");
  }

  private async factsOf(source: Repository, paths: readonly string[]): Promise<RemoteFile[]> {
    return this.inParallel(paths, (path) => fetchFileFacts(this.hub, source, path));
  }

  /** Room first, then the files. */
  private async download(files: readonly RemoteFile[], further: readonly SpaceNeed[]): Promise<void> {
    const present = await Promise.all(files.map((file) => bytesPresent(this.cache, file)));
    const missing = files.reduce((sum, { size }, i) => sum + size - present[i], 0);
    const needs = [{ folder: hubFolder(), bytes: missing }, ...further];
    await checkSpace(needs, this.settings.measureSpace ?? freeSpace);
    this.fetched.push(...files);
    const total = this.fetched.reduce((sum, { size }) => sum + size, 0);
    await this.inParallel(files, async (file) => {
      const onBytes = (bytes: number) => {
        this.here.set(file.path, bytes);
        const done = [...this.here.values()].reduce((sum, bytes) => sum + bytes, 0);
        this.report({ step: "download", done, total });
      };
      await this.downloadOne(file, onBytes);
    });
  }

  private async downloadOne(file: RemoteFile, onBytes: (bytes: number) => void): Promise<void> {
    const { hub, cache, signal } = this;
    const call = { hub, cache, signal, onBytes, onWait: (holder: LockHolder) => this.noteWait(holder) };
    try {
      await downloadFile(file, call);
    } catch (error) {
      if (!(error instanceof GmeError) || error.code !== "GME_CHANGED_WHILE_OPEN") throw error;
      // Asked once more, the hub may agree with itself again.
      this.options.onNote?.(`${printable(file.path)} changed on the hub: beginning it anew`);
      const { repository, commit, path } = file;
      const renewed = await fetchFileFacts(hub, { repository, commit, revision: commit, files: [] }, path);
      this.fetched.splice(this.fetched.indexOf(file), 1, renewed);
      await downloadFile(renewed, call);
    }
  }

  /** The first error stops the others; what they have stays for the next call. */
  private async inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
    const results = new Array<R>(items.length);
    let next = 0;
    let failure: { error: unknown } | undefined;
    const worker = async () => {
      while (next < items.length && failure === undefined) {
        const i = next++;
        try {
          results[i] = await work(items[i]);
        } catch (error) {
          failure ??= { error };
          this.stop.abort();
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(parallelFiles, items.length) }, worker));
    if (failure !== undefined) throw failure.error;
    return results;
  }

  private recordOf({ commit, licence, revision }: Repository): Omit<StoredModel, "file" | "bytes"> {
    const { name, repository, known } = this.request;
    const named = known?.licence ?? licence;
    return {
      name,
      repository,
      revision,
      commit,
      ...(named !== undefined && { licence: named }),
      sources: this.fetched.map(({ path, size, digest }) => ({ path, size, digest })),
      pulledAt: new Date().toISOString(),
    };
  }

  /** Pulls that were killed leave unfinished files; the lock says that nobody is at them. */
  private async clearParts(): Promise<void> {
    const folder = modelFolder(this.request.name);
    for (const name of await readdir(folder).catch(() => [] as string[])) {
      if (/^\..*\.part$|^model\.json\./.test(name)) await rm(join(folder, name), { force: true });
    }
  }

  /** What an earlier pull converted under this name, in another type. */
  private async removeOthers({ name, file }: StoredModel): Promise<void> {
    const folder = modelFolder(name);
    for (const entry of await readdir(folder)) {
      if (entry.endsWith(".gguf") && join(folder, entry) !== file) await rm(join(folder, entry), { force: true });
    }
  }

  /** An error of the caller's function stops the pull and is the caller's to see. */
  private report(progress: PullProgress): void {
    try {
      this.options.onProgress?.(progress);
    } catch (error) {
      throw GmeError.from(error, "GME_OPTION_INVALID");
    }
  }

  private noteWait({ pid, host }: LockHolder): void {
    this.options.onNote?.(`waiting for process ${pid} on ${printable(host)}, which is pulling the same`);
  }
}

async function shardsOf({ files }: Repository, folder: string): Promise<string[]> {
  if (!files.includes(indexFile)) return [weightsFile];
  const index = await requireJsonFile(join(folder, indexFile), maxJsonBytes);
  const names = new Set(isObject(index.weight_map) ? Object.values(index.weight_map) : []);
  const shards = [...names].map((name) => checkRemotePath(name, "weight_map")).sort();
  const odd = shards.find((name) => !files.includes(name) || !name.endsWith(".safetensors"));
  if (odd === undefined && shards.length > 0) return shards;
  const message = odd === undefined ? "names no files" : `names ${printable(odd)}, which the repository lacks`;
  throw downloadFailed(`${indexFile} ${message}`, { file: indexFile, field: "weight_map", value: odd });
}

/** Size of the file to be made: the weights' size by the ratio of the types' bits, with a little room. Conversion measures exactly. */
async function estimateConverted(folder: string, weightBytes: number, type: string): Promise<number> {
  const config = await requireJsonFile(join(folder, "config.json"), maxJsonBytes);
  const sourceBits = (config.dtype ?? config.torch_dtype) === "float32" ? 32 : 16;
  const bits = type === "f32" ? 32 : type.includes("16") ? 16 : 9;
  return Math.ceil((weightBytes * bits) / sourceBits) + (16 << 20);
}

function isTowerName(path: string): boolean {
  return /^mmproj|mmproj.*\.gguf$/i.test(path.slice(path.lastIndexOf("/") + 1)) && path.endsWith(".gguf");
}

async function checkSha256(file: string, path: string, expected: string): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  const value = hash.digest("hex");
  if (value !== expected) throw wrongSha256(path, value, expected);
}

function wrongSha256(file: string, value: string, expected: string): GmeError {
  const message = `${printable(file)}: its sha256 is ${value}, expected ${expected}`;
  return new GmeError("GME_HASH_MISMATCH", message, { file, field: "sha256", value, expected });
}
