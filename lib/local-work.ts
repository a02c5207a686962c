import { profileCall } from "./bench/profile-call";
import { binding, type NativeLoadParams, type NativeModel } from "./binding";
import { prepareDevices } from "./devices";
import { physicalCores, usableCpus } from "./cpus";
import {
  type BatchPlace,
  batchCall,
  type EmbedResult,
  type EngineAccess,
  instructionOf,
  nativeParams,
  startJob,
  streamCall,
} from "./embed-run";
import { abortError, GmeError } from "./errors";
import { decodeImage, readImageSize } from "./image-decode";
import type { CheckedInput } from "./input";
import { type ModelInfo, modelInfo } from "./model-info";
import type { EmbedProfile, ModelWork, Stage, TokenCount } from "./model-work";
import type { ReadEmbedOptions, ReadLoadOptions } from "./options";
import { CallQueue, untilAborted } from "./queue";
import { remotePolicy } from "./remote-image";

/** The engine in this process: calls run one at a time in their order, the pictures of later ones are decoded ahead. */
export class LocalWork implements ModelWork {
  readonly info: ModelInfo;
  private readonly access: EngineAccess;

  constructor(native: NativeModel, options: ReadLoadOptions, file: string) {
    const { orientation, maxImagePixels } = options;
    this.info = modelInfo(native, options, file);
    this.access = {
      native,
      queue: new CallQueue(),
      decode: { orientation, maxImagePixels },
      remote: remotePolicy(options.remoteImages),
      dimensions: this.info.dimensions,
      onDevice: this.info.vision && this.info.visionDevice !== "cpu",
    };
  }

  get remote() {
    return this.access.remote;
  }

  get isClosed(): boolean {
    return this.access.queue.closed;
  }

  /** `place`: where the inputs stand in the caller's batch, for errors that name their item. */
  embedBatch(inputs: CheckedInput[], options: ReadEmbedOptions, place?: BatchPlace): Promise<Float32Array[]> {
    return this.access.queue.add(batchCall(this.access, inputs, options, place));
  }

  embedMany(source: unknown, options: ReadEmbedOptions): AsyncGenerator<EmbedResult, void, undefined> {
    return streamCall(this.access, source, options);
  }

  /** A piece of a stream: as embedMany, of inputs that have been checked. */
  async embedEach(inputs: CheckedInput[], options: ReadEmbedOptions): Promise<EmbedResult[]> {
    const results: EmbedResult[] = [];
    const asTheyAre = (value: unknown) => value as CheckedInput;
    for await (const result of streamCall(this.access, inputs, options, asTheyAre)) results.push(result);
    return results;
  }

  countTokens(input: CheckedInput, options: ReadEmbedOptions): Promise<TokenCount> {
    const { signal } = options;
    const prepare = async () =>
      input.image === undefined ? undefined : readImageSize(input.image, this.access.decode, signal);
    const run = async (image?: { width: number; height: number }) => {
      const item = { text: input.text, instruction: instructionOf(input, options), image };
      const job = startJob(() =>
        this.access.native.countTokens([withoutUndefined(item)], options.specialTokens === "parse"),
      );
      return (await untilAborted(job, signal))[0];
    };
    return this.access.queue.add({ prepare, run, signal });
  }

  tokenize(text: string, options: ReadEmbedOptions): Promise<Int32Array> {
    const { signal } = options;
    const run = async () => {
      const job = startJob(() => this.access.native.tokenize([text], options.specialTokens === "parse"));
      return (await untilAborted(job, signal))[0];
    };
    return this.access.queue.add({ prepare: async () => undefined, run, signal });
  }

  profile(inputs: CheckedInput[], options: ReadEmbedOptions): Promise<EmbedProfile> {
    return this.access.queue.add(profileCall(this.access, inputs, options));
  }

  stages(input: CheckedInput, options: ReadEmbedOptions): Promise<Stage[]> {
    const { signal } = options;
    const prepare = async () =>
      input.image === undefined ? undefined : decodeImage(input.image, this.access.decode, signal);
    const run = async (image: Awaited<ReturnType<typeof prepare>>) => {
      const item = { text: input.text, image, instruction: instructionOf(input, options) };
      return untilAborted(
        startJob(() => this.access.native.stages(withoutUndefined(item), nativeParams(options))),
        signal,
      );
    };
    return this.access.queue.add({ prepare, run, signal });
  }

  memory() {
    return this.access.native.memory();
  }

  processes(): [] {
    return [];
  }

  close(): Promise<void> {
    return this.access.queue.close(() => this.access.native.close());
  }
}

export type OneDevice<Options> = Options & { device: string };

/** Loads a GGUF file into this process; `path` and `options.mmproj` are files that exist. */
export async function openLocal(path: string, options: OneDevice<ReadLoadOptions>): Promise<LocalWork> {
  const { signal, onProgress } = options;
  let thrown: unknown;
  const report = (fraction: number) => {
    try {
      onProgress?.(fraction);
    } catch (error) {
      thrown ??= error;
    }
  };
  await prepareDevices(options.device);
  if (signal?.aborted) throw abortError(signal);
  const native = await untilAborted(
    startJob(() => binding().load(path, nativeLoadParams(options), onProgress && report)),
    signal,
  );
  if (thrown !== undefined || signal?.aborted) {
    await native.close();
    throw thrown === undefined ? abortError(signal) : GmeError.from(thrown, "GME_OPTION_INVALID");
  }
  return new LocalWork(native, options, path);
}

function nativeLoadParams(options: OneDevice<ReadLoadOptions>): NativeLoadParams {
  const { mmproj, loaderResize } = options;
  return {
    ...(mmproj !== undefined && { mmproj }),
    device: options.device,
    threads: Math.min(options.threads ?? physicalCores(), usableCpus()),
    mmap: options.mmap,
    positions: options.positions ?? "file",
    loaderResize: loaderResize === undefined ? "file" : loaderResize ? "on" : "off",
    minImageTokens: options.minImageTokens ?? 0,
    maxImageTokens: options.maxImageTokens ?? 0,
    maxTokens: options.maxTokens ?? 0,
  };
}

function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
