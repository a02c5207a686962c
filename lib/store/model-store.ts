import { randomUUID } from "node:crypto";
import { lstat, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { GmeError, ioError, printable } from "../errors";
import type { Digest } from "./hub-api";
import { HubCache } from "./hub-cache";
import { knownModel } from "./known-models";
import { checkRemotePath, checkRepository, isModelName } from "./remote-names";
import { hubFolder, storeFolder } from "./store-folders";

/** A model of the store: what `gme pull` wrote down about it. */
export interface StoredModel {
  readonly name: string;
  readonly repository: string;
  /** What was asked for, and the commit that it was at the time. */
  readonly revision: string;
  readonly commit: string;
  readonly licence?: string;
  /** The GGUF file, and that of the vision tower where it is another. */
  readonly file: string;
  readonly mmproj?: string;
  readonly bytes: number;
  /** Type of a conversion; a GGUF that was pulled as it is has none. */
  readonly type?: string;
  /** What was downloaded. */
  readonly sources: readonly { readonly path: string; readonly size: number; readonly digest: Digest }[];
  readonly pulledAt: string;
}

export interface ListedModel extends StoredModel {
  readonly isDefault: boolean;
  /** False when the file has gone, or has another size than it had. */
  readonly isPresent: boolean;
}

export interface RemoveOptions {
  /** The downloaded files in the Hugging Face cache as well, which other tools may be using. */
  readonly all?: boolean;
}

const recordFile = "model.json";
const version = 1;

export function modelFolder(name: string): string {
  return join(storeFolder(), "models", name);
}

/** The record, or undefined where there is none. A record that is not ours to trust is GME_MODEL_NOT_FOUND: pulling again makes it anew. */
export async function readModel(name: string): Promise<StoredModel | undefined> {
  if (!isModelName(name)) return undefined;
  const path = join(modelFolder(name), recordFile);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw ioError(error, path);
  }
  try {
    return checkRecord(JSON.parse(text), name);
  } catch (cause) {
    const message = `${printable(path)}: the record is damaged; gme pull makes it anew`;
    throw new GmeError("GME_MODEL_NOT_FOUND", message, { file: path, cause });
  }
}

function checkRecord(value: unknown, name: string): StoredModel {
  const record = value as StoredModel & { version: unknown };
  const { file, mmproj, bytes, sources, commit, repository } = record;
  const isRecord = record.version === version && record.name === name && Array.isArray(sources);
  if (!isRecord || typeof file !== "string" || !Number.isSafeInteger(bytes) || !/^[0-9a-f]{40}$/.test(commit))
    throw new TypeError("not a record");
  checkRepository(repository);
  for (const { path, digest } of sources) {
    checkRemotePath(path, "sources.path");
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(digest.hex)) throw new TypeError("not a digest");
  }
  const absolute = (path: string) => (isAbsolute(path) ? path : resolve(modelFolder(name), path));
  return { ...record, file: absolute(file), ...(mmproj !== undefined && { mmproj: absolute(mmproj) }) };
}

export async function writeModel(model: StoredModel): Promise<void> {
  await writeWhole(
    join(modelFolder(model.name), recordFile),
    `${JSON.stringify({ version, ...model }, undefined, 2)}\n`,
  );
}

/** The models of the store by name. Damaged records are passed over. */
export async function listModels(): Promise<ListedModel[]> {
  const names = await readdir(join(storeFolder(), "models")).catch(() => [] as string[]);
  const read = await Promise.all(names.sort().map((name) => readModel(name).catch(() => undefined)));
  const models = read.filter((model) => model !== undefined);
  const chosen = await defaultName(models);
  const isPresent = await Promise.all(models.map(isWhole));
  return models.map((model, i) => ({ ...model, isDefault: model.name === chosen, isPresent: isPresent[i] }));
}

/** The default model of the store: the one that was chosen, else the only one. */
export async function defaultModel(): Promise<StoredModel | undefined> {
  return (await listModels()).find(({ isDefault }) => isDefault);
}

async function defaultName(models: readonly StoredModel[]): Promise<string | undefined> {
  const chosen = (await readFile(defaultFile(), "utf8").catch(() => "")).trim();
  if (models.some(({ name }) => name === chosen)) return chosen;
  return models.length === 1 ? models[0].name : undefined;
}

export async function setDefaultModel(name: string): Promise<void> {
  if ((await readModel(name)) === undefined) throw unknownModel(name);
  await writeWhole(defaultFile(), `${name}\n`);
}

/** Removes the record and what was converted. Downloaded files stay in the Hugging Face cache unless `all`. */
export async function removeModel(name: string, { all = false }: RemoveOptions = {}): Promise<StoredModel> {
  const model = await readModel(name);
  if (model === undefined) throw unknownModel(name);
  const others = (await listModels()).filter((other) => other.name !== name);
  await rm(modelFolder(name), { recursive: true, force: true }).catch((error) => {
    throw ioError(error, modelFolder(name));
  });
  if (all) await removeSources(model, others);
  if ((await readFile(defaultFile(), "utf8").catch(() => "")).trim() === name) await rm(defaultFile(), { force: true });
  return model;
}

/** The model's blobs and the names that lead to them, but none that another model of the store was made of. */
async function removeSources(model: StoredModel, others: readonly StoredModel[]): Promise<void> {
  const cache = new HubCache(hubFolder(), model.repository);
  const needed = new Set(
    others
      .filter(({ repository }) => repository === model.repository)
      .flatMap(({ sources }) => sources.map(({ digest }) => digest.hex)),
  );
  for (const { path, digest } of model.sources) {
    if (needed.has(digest.hex)) continue;
    const name = cache.filePath(model.commit, path);
    if ((await lstat(name).catch(() => undefined))?.isSymbolicLink()) await rm(name, { force: true });
    await rm(cache.blobPath(digest), { force: true });
    await rm(cache.incompletePath(digest), { force: true });
  }
}

/** The files of a model's name. GME_MODEL_NOT_FOUND names the command that brings it. */
export async function findModel(name: string): Promise<StoredModel> {
  const model = await readModel(name);
  if (model === undefined) throw unknownModel(name);
  if (await isWhole(model)) return model;
  const expected = pullCommandOf(model);
  const message = `the model ${name} is in the store, but its file ${printable(model.file)} has gone or has changed: ${expected}`;
  throw new GmeError("GME_MODEL_NOT_FOUND", message, { file: model.file, value: name, expected });
}

/** The command that brings the model as it was brought. */
function pullCommandOf({ name, repository, revision, type, sources }: StoredModel): string {
  const words = ["gme pull", knownModel(name) === undefined ? repository : name];
  const weights = sources.find(({ path }) => path.endsWith(".gguf"));
  if (weights !== undefined) words[1] += `:${weights.path}`;
  if (knownModel(name) === undefined) words.push(`--name ${name}`);
  if (type !== undefined && type !== "f16") words.push(`--type ${type}`);
  if (revision !== "main") words.push(`--revision ${revision}`);
  return words.map(printable).join(" ");
}

export function unknownModel(name: string): GmeError {
  const command = knownModel(name) === undefined ? "gme pull org/repository" : `gme pull ${name}`;
  const message = `${printable(name)}: no such file, and no model of that name is in the store; ${command} brings one, gme pull --list shows them`;
  return new GmeError("GME_MODEL_NOT_FOUND", message, { value: printable(name), expected: command });
}

async function isWhole({ file, mmproj, bytes }: StoredModel): Promise<boolean> {
  const [found, tower] = await Promise.all([file, mmproj ?? file].map((path) => stat(path).catch(() => undefined)));
  return found?.isFile() === true && found.size === bytes && tower?.isFile() === true;
}

function defaultFile(): string {
  return join(storeFolder(), "default");
}

async function writeWhole(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(draft, text, { flag: "wx", flush: true });
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw ioError(error, path);
  }
}
