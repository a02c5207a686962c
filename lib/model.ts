import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { binding, type NativeLoadParams, type NativeModel, type NativeStage, type NativeStageTime } from "./binding";
import { physicalCores, usableCpus } from "./cpus";
import {
  batchCall,
  type EmbedResult,
  type EngineAccess,
  instructionOf,
  nativeParams,
  startJob,
  streamCall,
} from "./embed-run";
import { abortError, badArgument, GmeError, ioError, printable } from "./errors";
import { decodeImage, readImageSize } from "./image-decode";
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
import {
  type EmbedOptions,
  embedOptions,
  type LoadOptions,
  loadOptions,
  type ReadEmbedOptions,
  type ReadLoadOptions,
  readOptions,
} from "./options";
import { type ModelInfo, modelInfo } from "./model-info";
import { remotePolicy } from "./remote-image";
import { profileCall } from "./bench/profile-call";
import { CallQueue, closedError, untilAborted } from "./queue";
import { findModel, readModel } from "./store/model-store";
import { isModelName } from "./store/remote-names";

/** Tokens an item takes: of its text, of its picture, and in all, the template included. */
export interface TokenCount {
  text: number;
  image: number;
  total: number;
}

/** A tapped tensor: `shape` [rows, columns] or [columns], `data` row-major. */
export type Stage = NativeStage;

/**
 * Where the time of a call went. Names are "<part>.<work>" ("vision.product", "decoder.attention", "host.patches"); `milliseconds` of
 * wall time, `flop` the multiplications and additions of the stage's products (0 where none are counted), `runs` how often it ran.
 */
export type StageTime = Readonly<NativeStageTime>;

/** What `profile` returns: the vectors, and the stages in the order of first use. They do not overlap. */
export interface EmbedProfile {
  readonly embeddings: Float32Array[];
  readonly stages: readonly StageTime[];
}

export type CardOptions = EmbedOptions & { texts?: readonly string[]; images?: readonly ImageSource[] };

const constructorKey = Symbol("GmeModel");

/** A loaded model. Made by `load`; calls may overlap freely, they run one at a time in their order. */
export class GmeModel implements AsyncDisposable {
  /** Length of the vectors. */
  readonly dimensions: number;
  /** Name, type, sizes, device, memory, limits, the defaults in force, fingerprint. */
  readonly info: ModelInfo;
  private readonly access: EngineAccess;

  constructor(key: symbol, native: NativeModel, options: ReadLoadOptions, file: string) {
    if (key !== constructorKey) throw new GmeError("GME_INPUT_INVALID", "a GmeModel is made by load(model, options)");
    this.info = modelInfo(native, options, file);
    this.dimensions = this.info.dimensions;
    const { orientation, maxImagePixels } = options;
    this.access = {
      native,
      queue: new CallQueue(),
      decode: { orientation, maxImagePixels },
      remote: remotePolicy(options.remoteImages),
      dimensions: this.dimensions,
    };
  }

  /** One input → one unit vector of `dimensions` floats, in memory of its own. */
  async embed(input: GmeInput, options?: EmbedOptions): Promise<Float32Array> {
    const read = this.readCall(options);
    const checked = this.cut(readInput(input, "input", read.overflow === "truncate", this.access.remote), read);
    return (await this.access.queue.add(batchCall(this.access, [checked], read)))[0];
  }

  /** A vector per input, in order. A bad item rejects the call, naming its index (`error.item`). */
  async embedBatch(inputs: readonly GmeInput[], options?: EmbedOptions): Promise<Float32Array[]> {
    const read = this.readCall(options);
    const checked = readInputs(inputs, read.overflow === "truncate", this.access.remote).map((input) =>
      this.cut(input, read),
    );
    return this.access.queue.add(batchCall(this.access, checked, read));
  }

  /** Results in the order of the source, computed while it is read. A bad item is that item's `error`. */
  async *embedMany(
    source: AsyncIterable<GmeInput> | Iterable<GmeInput>,
    options?: EmbedOptions,
  ): AsyncGenerator<EmbedResult, void, undefined> {
    yield* streamCall(this.access, source, this.readCall(options));
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
    const checked = readInput(input, "input", read.overflow === "truncate", this.access.remote);
    const prepare = async () =>
      checked.image === undefined ? undefined : readImageSize(checked.image, this.access.decode, read.signal);
    const run = async (image?: { width: number; height: number }) => {
      const item = { text: checked.text, instruction: instructionOf(checked, read), image };
      const job = startJob(() =>
        this.access.native.countTokens([withoutUndefined(item)], read.specialTokens === "parse"),
      );
      return (await untilAborted(job, read.signal))[0];
    };
    return this.access.queue.add({ prepare, run, signal: read.signal });
  }

  /** Token ids of the bare text, without the template. */
  async tokenize(text: string, options?: EmbedOptions): Promise<Int32Array> {
    const read = this.readCall(options);
    const checked = readText(text, "text", false);
    const run = async () => {
      const job = startJob(() => this.access.native.tokenize([checked], read.specialTokens === "parse"));
      return (await untilAborted(job, read.signal))[0];
    };
    return this.access.queue.add({ prepare: async () => undefined, run, signal: read.signal });
  }

  /**
   * Embeds as embedBatch does and measures the engine stage by stage. The vectors are the same; the call takes a little longer, since the
   * stages run one after the other with a clock between them. Decoding pictures is not measured.
   */
  async profile(inputs: readonly GmeInput[], options?: EmbedOptions): Promise<EmbedProfile> {
    const read = this.readCall(options);
    const checked = readInputs(inputs, read.overflow === "truncate", this.access.remote).map((input) =>
      this.cut(input, read),
    );
    return this.access.queue.add(profileCall(this.access, checked, read));
  }

  /** Every stage of one item as named tensors, `pixel_values` … `embedding`; names and shapes as in docs/model.md. */
  async inspectStages(input: GmeInput, options?: EmbedOptions): Promise<Stage[]> {
    const read = this.readCall(options);
    const checked = this.cut(readInput(input, "input", read.overflow === "truncate", this.access.remote), read);
    const prepare = async () =>
      checked.image === undefined ? undefined : decodeImage(checked.image, this.access.decode, read.signal);
    const run = async (image: Awaited<ReturnType<typeof prepare>>) => {
      const item = { text: checked.text, image, instruction: instructionOf(checked, read) };
      return untilAborted(
        startJob(() => this.access.native.stages(withoutUndefined(item), nativeParams(read))),
        read.signal,
      );
    };
    return this.access.queue.add({ prepare, run, signal: read.signal });
  }

  /** Idempotent: refuses new work, waits for the calls that were accepted, frees the model. */
  close(): Promise<void> {
    return this.access.queue.close(() => this.access.native.close());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private readCall(options: unknown): ReadEmbedOptions {
    if (this.access.queue.closed) throw closedError();
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
  const { signal, onProgress, minImageTokens, maxImageTokens } = read;
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
  let thrown: unknown;
  const report = (fraction: number) => {
    try {
      onProgress?.(fraction);
    } catch (error) {
      thrown ??= error;
    }
  };
  const native = await untilAborted(
    startJob(() => binding().load(path, nativeLoadParams(read), onProgress && report)),
    signal,
  );
  if (thrown !== undefined || signal?.aborted) {
    await native.close();
    throw thrown === undefined ? abortError(signal) : GmeError.from(thrown, "GME_OPTION_INVALID");
  }
  return new GmeModel(constructorKey, native, read, path);
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
  if (model instanceof URL && model.protocol === "file:") return fileURLToPath(model);
  if (typeof model === "string") checkPathLength(model, "model");
  if (typeof model !== "string" || model === "" || model.includes("\0")) {
    throw badArgument("GME_INPUT_INVALID", "model", "the path of a GGUF file or a pulled model's name", model);
  }
  return model;
}

/** A path as it stands; what is no file and could be no path is a name of the store. */
async function locateModel(named: string): Promise<{ path: string; mmproj?: string }> {
  if (!isModelName(named) || existsSync(named)) return { path: named };
  if (named.includes(".") && (await readModel(named)) === undefined) return { path: named };
  const { file, mmproj } = await findModel(named);
  return { path: file, mmproj };
}

async function checkModelFile(path: string): Promise<void> {
  try {
    if ((await stat(path)).isFile()) return;
  } catch (error) {
    throw ioError(error, path);
  }
  throw new GmeError("GME_IO_ERROR", `${printable(path)}: not a regular file`, { file: path, expected: "a GGUF file" });
}

function nativeLoadParams(options: ReadLoadOptions): NativeLoadParams {
  const { mmproj, loaderResize } = options;
  return {
    ...(mmproj !== undefined && { mmproj }),
    threads: Math.min(options.threads ?? physicalCores(), usableCpus()),
    mmap: options.mmap,
    positions: options.positions ?? "file",
    loaderResize: loaderResize === undefined ? "file" : loaderResize ? "on" : "off",
    minImageTokens: options.minImageTokens ?? 0,
    maxImageTokens: options.maxImageTokens ?? 0,
    maxTokens: options.maxTokens ?? 0,
  };
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

function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
