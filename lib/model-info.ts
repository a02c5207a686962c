import type { NativeMemory, NativeModel } from "./binding";
import { maxImageBytes, maxImageSide, maxTextLength } from "./input";
import {
  embedOptions,
  type ReadLoadOptions,
  type Orientation,
  type Overflow,
  type Positions,
  type SpecialTokens,
} from "./options";

/** Between calls. During a call hidden states, keys and values come on top. */
export type ModelMemory = Readonly<NativeMemory>;

/** How the child process of an isolated model's engine is. */
export interface EngineProcessReport {
  /** Absent while there is none. */
  readonly pid?: number;
  /** `down`: it ended, and is started again by the next call. */
  readonly state: "down" | "starting" | "ready";
  /** Milliseconds since its last sign of life; it gives one each second, also while it computes. */
  readonly silentMs: number;
  /** How often a process of this engine has ended. */
  readonly ends: number;
}

/** What a model says about itself. Sizes in bytes unless their name says otherwise. Further keys of the engine pass through. */
export interface ModelInfo {
  readonly name: string;
  /** Path as it was given to `load`; the vision tower's file, null without one. */
  readonly file: string;
  readonly visionFile: string | null;
  readonly architecture: string;
  /** Number type of most weights: f32, f16, bf16, q8_0, … */
  readonly type: string;
  readonly parameters: number;
  readonly fileBytes: number;
  /** Length of the vectors. */
  readonly dimensions: number;
  /** false: a decoder without a vision tower; pictures reject with GME_MODEL_NO_VISION. */
  readonly vision: boolean;
  /** `cpu`, or the device that the decoder runs on; of several engines each one's, with commas. */
  readonly device: string;
  /** What its driver calls it; empty for the processor. */
  readonly deviceDescription: string;
  /** `cpu`, or the device that the vision tower runs on. */
  readonly visionDevice: string;
  /** Why not all of it is on the device that could have been, with the numbers; empty otherwise. */
  readonly deviceNote: string;
  /** Of all engines together. */
  readonly threads: number;
  /** Bytes that the model takes now, read anew at each look; zeros once it is closed. */
  readonly memory: ModelMemory;
  /** Of the weights that decide the vectors: vectors of different fingerprints must not be compared. */
  readonly fingerprint: string;
  readonly limits: {
    readonly maxTokens: number;
    readonly contextLength: number;
    readonly maxImagePixels: number;
    readonly maxImageSide: number;
    readonly maxImageBytes: number;
    readonly maxTextLength: number;
  };
  /** What holds where a call says nothing. */
  readonly defaults: {
    readonly instruction: string;
    readonly positions: Positions;
    readonly loaderResize: boolean;
    readonly minImageTokens: number;
    readonly maxImageTokens: number;
    readonly orientation: Orientation;
    readonly isQuery: boolean;
    readonly overflow: Overflow;
    readonly specialTokens: SpecialTokens;
    readonly batchSize: number;
  };
  readonly [name: string]: unknown;
}

interface NativeInfo {
  readonly [name: string]: unknown;
}

/** The engine's report, its limits and defaults beside the library's own. */
export function modelInfo(native: NativeModel, options: ReadLoadOptions, file: string): ModelInfo {
  const report = JSON.parse(native.info) as NativeInfo;
  const { maxTokens, contextLength, defaultInstruction, ...rest } = report;
  const { positions, loaderResize, minImageTokens, maxImageTokens, ...plain } = rest;
  const { orientation, maxImagePixels } = options;
  return deepFreeze({
    ...plain,
    file,
    memory: memoryOf(native),
    limits: { maxTokens, contextLength, maxImagePixels, maxImageSide, maxImageBytes, maxTextLength },
    defaults: {
      instruction: defaultInstruction,
      ...{ positions, loaderResize, minImageTokens, maxImageTokens, orientation },
      ...Object.fromEntries(
        embedOptions.flatMap((spec) => (spec.default === undefined ? [] : [[spec.name, spec.default]])),
      ),
    },
  }) as unknown as ModelInfo;
}

function memoryOf(native: NativeModel): ModelMemory {
  return {
    get mappedBytes() {
      return native.memory().mappedBytes;
    },
    get ownedBytes() {
      return native.memory().ownedBytes;
    },
    get computeBytes() {
      return native.memory().computeBytes;
    },
    get keptBytes() {
      return native.memory().keptBytes;
    },
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
