import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { EmbedResult } from "./embed-run";
import { abortError, badArgument, GmeError, ioError, printable } from "./errors";
import {
  type CheckedInput,
  checkPathLength,
  describeUnread,
  type GmeInput,
  type ImageSource,
  readInput,
  readInputs,
  readText,
} from "./input";
import { deviceNames, isSeveral } from "./device-names";
import { IsolatedWork } from "./isolated/isolated-work";
import { openTeam } from "./isolated/engine-team";
import { openLocal } from "./local-work";
import type { EngineProcessReport, ModelInfo } from "./model-info";
import type { EmbedProfile, ModelWork, Stage, TokenCount } from "./model-work";
import {
  type EmbedOptions,
  embedOptions,
  type LoadOptions,
  loadOptions,
  type ReadEmbedOptions,
  type ReadLoadOptions,
  readOptions,
} from "./options";
import { closedError } from "./queue";
import { findModel, readModel } from "./store/model-store";
import { isModelName } from "./store/remote-names";

export type CardOptions = EmbedOptions & { texts?: readonly string[]; images?: readonly ImageSource[] };

const constructorKey = Symbol("GmeModel");
/** Not part of the public interface. */
export const workKey: unique symbol = Symbol("ModelWork");

/** A loaded model. Made by `load`; calls may overlap freely, they run one at a time in their order. */
export class GmeModel implements AsyncDisposable {
  /** Length of the vectors. */
  readonly dimensions: number;
  /** Name, type, sizes, device, memory, limits, the defaults in force, fingerprint. */
  readonly info: ModelInfo;
  /** For the process of an isolated model, which is handed checked arguments. */
  readonly [workKey]: ModelWork;

  constructor(key: symbol, work: ModelWork, info: ModelInfo) {
    if (key !== constructorKey) throw new GmeError("GME_INPUT_INVALID", "a GmeModel is made by load(model, options)");
    this.info = info;
    this.dimensions = info.dimensions;
    this[workKey] = work;
  }

  /** One input → one unit vector of `dimensions` floats, in memory of its own. */
  async embed(input: GmeInput, options?: EmbedOptions): Promise<Float32Array> {
    const read = this.readCall(options);
    return (await this[workKey].embedBatch([this.read(input, "input", read)], read))[0];
  }

  /** A vector per input, in order. A bad item rejects the call, naming its index (`error.item`). */
  async embedBatch(inputs: readonly GmeInput[], options?: EmbedOptions): Promise<Float32Array[]> {
    const read = this.readCall(options);
    return this[workKey].embedBatch(this.readAll(inputs, read), read);
  }

  /** Results in the order of the source, computed while it is read. A bad item is that item's `error`. */
  async *embedMany(
    source: AsyncIterable<GmeInput> | Iterable<GmeInput>,
    options?: EmbedOptions,
  ): AsyncGenerator<EmbedResult, void, undefined> {
    yield* this[workKey].embedMany(source, this.readCall(options));
  }

  /** sentence-transformers' habit: one input → one vector, an array → an array. */
  encode(input: GmeInput, options?: EmbedOptions): Promise<Float32Array>;
  encode(inputs: readonly GmeInput[], options?: EmbedOptions): Promise<Float32Array[]>;
  encode(input: GmeInput | readonly GmeInput[], options?: EmbedOptions): Promise<Float32Array | Float32Array[]> {
    return isList(input) ? this.embedBatch(input, options) : this.embed(input as GmeInput, options);
  }

  /** The model card's `get_text_embeddings`. */
  async getTextEmbeddings(request: EmbedOptions & { texts: readonly string[] }): Promise<Float32Array[]> {
    const { texts, options } = readCardRequest(request, ["texts"]);
    return this.embedBatch(
      (texts ?? []).map((text) => ({ text }) as GmeInput),
      options,
    );
  }

  /** The model card's `get_image_embeddings`. */
  async getImageEmbeddings(request: EmbedOptions & { images: readonly ImageSource[] }): Promise<Float32Array[]> {
    const { images, options } = readCardRequest(request, ["images"]);
    return this.embedBatch(
      (images ?? []).map((image) => ({ image }) as GmeInput),
      options,
    );
  }

  /** The model card's `get_fused_embeddings`: text i and image i in one vector. */
  async getFusedEmbeddings(request: CardOptions): Promise<Float32Array[]> {
    const { texts, images, options } = readCardRequest(request, []);
    if (texts !== undefined && images !== undefined && texts.length !== images.length) {
      throw badArgument("GME_INPUT_INVALID", "images.length", `${texts.length}, as many as texts,`, images.length);
    }
    const count = (texts ?? images ?? []).length;
    const item = (i: number) => ({ ...(texts && { text: texts[i] }), ...(images && { image: images[i] }) }) as GmeInput;
    return this.embedBatch(
      Array.from({ length: count }, (_, i) => item(i)),
      options,
    );
  }

  /** Counts without running the model; of a picture only the header is read. */
  async countTokens(input: GmeInput, options?: EmbedOptions): Promise<TokenCount> {
    const read = this.readCall(options);
    const checked = readInput(input, "input", read.overflow === "truncate", this[workKey].remote);
    return this[workKey].countTokens(checked, read);
  }

  /** Token ids of the bare text, without the template. */
  async tokenize(text: string, options?: EmbedOptions): Promise<Int32Array> {
    const read = this.readCall(options);
    return this[workKey].tokenize(readText(text, "text", false), read);
  }

  /**
   * Embeds as embedBatch does and measures the engine stage by stage. The vectors are the same; the call takes a little longer, since the
   * stages run one after the other with a clock between them. Decoding pictures is not measured.
   */
  async profile(inputs: readonly GmeInput[], options?: EmbedOptions): Promise<EmbedProfile> {
    const read = this.readCall(options);
    return this[workKey].profile(this.readAll(inputs, read), read);
  }

  /** Every stage of one item as named tensors, `pixel_values` … `embedding`; names and shapes as in docs/model.md. */
  async inspectStages(input: GmeInput, options?: EmbedOptions): Promise<Stage[]> {
    const read = this.readCall(options);
    return this[workKey].stages(this.read(input, "input", read), read);
  }

  /** The child processes of an isolated model's engines, one per device; none where the engine is in this process. */
  engineProcesses(): readonly EngineProcessReport[] {
    return this[workKey].processes();
  }

  /** Idempotent: refuses new work, waits for the calls that were accepted, frees the model. */
  close(): Promise<void> {
    return this[workKey].close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private readCall(options: unknown): ReadEmbedOptions {
    if (this[workKey].isClosed) throw closedError();
    const read = readOptions<ReadEmbedOptions>(embedOptions, options);
    const { dimensions, allowTruncation } = read;
    if (read.instruction !== undefined) read.instruction = readText(read.instruction, "options.instruction", false);
    if (dimensions === undefined || dimensions === this.dimensions) return read;
    if (dimensions > this.dimensions || allowTruncation !== true) {
      const expected =
        dimensions > this.dimensions ? `at most ${this.dimensions}` : `${this.dimensions}, or allowTruncation: true`;
      const reason =
        dimensions > this.dimensions
          ? "the model's vectors are shorter"
          : "GME is not a Matryoshka model: cut vectors lose quality";
      throw new GmeError("GME_OPTION_INVALID", `options.dimensions ${dimensions}: ${reason}`, {
        field: "options.dimensions",
        value: dimensions,
        expected,
      });
    }
    return read;
  }

  private read(input: unknown, field: string, options: ReadEmbedOptions): CheckedInput {
    return this.cut(
      readInput(input as GmeInput, field, options.overflow === "truncate", this[workKey].remote),
      options,
    );
  }

  private readAll(inputs: unknown, options: ReadEmbedOptions): CheckedInput[] {
    const checked = readInputs(inputs, options.overflow === "truncate", this[workKey].remote);
    return checked.map((input) => this.cut(input, options));
  }

  /** A text that will be truncated by tokens need not cross over whole: no token stands for more than 1,024 UTF-16 units. */
  private cut(input: CheckedInput, options: ReadEmbedOptions): CheckedInput {
    const longest = (this.info.limits?.maxTokens ?? 32_768) * 1_024;
    if (options.overflow !== "truncate" || input.text === undefined || input.text.length <= longest) return input;
    return { ...input, text: input.text.slice(0, longest).replace(/[\uD800-\uDBFF]$/, "") };
  }
}

/**
 * Loads a model: a GGUF file with both parts, a decoder with `mmproj`, or the name of a model that `gme pull` brought.
 * Rejects with GME_IO_ERROR where there is no such file, GME_MODEL_NOT_FOUND where there is no such name, GME_GGUF_…, GME_TENSOR_…, GME_MODEL_… where it is not a usable model.
 */
export async function load(model: string | URL, options?: LoadOptions): Promise<GmeModel> {
  const read = readOptions<ReadLoadOptions>(loadOptions, options);
  const named = readModelPath(model);
  const { signal, minImageTokens, maxImageTokens } = read;
  if (minImageTokens !== undefined && maxImageTokens !== undefined && minImageTokens > maxImageTokens) {
    throw badArgument(
      "GME_OPTION_INVALID",
      "options.minImageTokens",
      `at most maxImageTokens (${maxImageTokens})`,
      minImageTokens,
    );
  }
  if (signal?.aborted) throw abortError(signal);
  const { path, mmproj } = await locateModel(named);
  if (read.mmproj !== undefined) checkPathLength(read.mmproj, "options.mmproj");
  read.mmproj ??= mmproj;
  await checkModelFile(path);
  if (read.mmproj !== undefined) await checkModelFile(read.mmproj);
  const { work, info } = await openWork(path, read);
  return new GmeModel(constructorKey, work, info);
}

async function openWork(path: string, options: ReadLoadOptions): Promise<{ work: ModelWork; info: ModelInfo }> {
  if (isSeveral(options.device)) return openTeam(path, options);
  const [device] = deviceNames(options.device);
  if (options.isolate) return IsolatedWork.open(path, { ...options, device });
  const work = await openLocal(path, { ...options, device });
  return { work, info: work.info };
}

/** A proxy that was revoked is no list: embed() says what is wrong with it. */
function isList(input: unknown): input is readonly GmeInput[] {
  try {
    return Array.isArray(input);
  } catch {
    return false;
  }
}

function readModelPath(model: unknown): string {
  if (model instanceof URL && model.protocol === "file:") return readFileUrl(model);
  if (typeof model === "string") checkPathLength(model, "model");
  if (typeof model !== "string" || model === "" || model.includes("\0")) {
    throw badArgument("GME_INPUT_INVALID", "model", "the path of a GGUF file or a pulled model's name", model);
  }
  return model;
}

/** A file: URL may name another host, or hold what no path holds: %00, %2F, bytes that are not UTF-8. */
function readFileUrl(url: URL): string {
  try {
    const path = fileURLToPath(url);
    if (!path.includes("\0")) return path;
  } catch {
    // Refused below, as every other address that is no path.
  }
  throw badArgument("GME_INPUT_INVALID", "model", "a file: URL that is a path", url.href);
}

/** A path as it stands; what is no file and could be no path is a name of the store. */
async function locateModel(named: string): Promise<{ path: string; mmproj?: string }> {
  if (!isModelName(named) || existsSync(named)) return { path: named };
  if (named.includes(".") && (await readModel(named)) === undefined) return { path: named };
  const { file, mmproj } = await findModel(named);
  return { path: file, mmproj };
}

async function checkModelFile(path: string): Promise<void> {
  let isFolder: boolean;
  try {
    const known = await stat(path);
    if (known.isFile()) return;
    isFolder = known.isDirectory();
  } catch (error) {
    throw ioError(error, path);
  }
  throw new GmeError("GME_IO_ERROR", `${printable(path)}: not a regular file`, {
    file: path,
    expected: "a GGUF file",
    errno: isFolder ? "EISDIR" : "EINVAL",
  });
}

function readCardRequest(request: unknown, required: readonly ("texts" | "images")[]) {
  if (typeof request !== "object" || request === null || Array.isArray(request)) {
    throw badArgument("GME_INPUT_INVALID", "request", "an object with texts or images", request);
  }
  const { texts, images, ...options } = request as CardOptions;
  for (const [name, list] of [
    ["texts", texts],
    ["images", images],
  ] as const) {
    const missing = list === undefined && (required.includes(name) || (texts === undefined && images === undefined));
    if (missing || (list !== undefined && !Array.isArray(list)))
      throw badArgument("GME_INPUT_INVALID", name, "an array", describeUnread(list));
  }
  return { texts, images, options: options as EmbedOptions };
}
