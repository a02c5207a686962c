import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { besideAsar } from "./asar-path";
import { GmeError } from "./errors";
import { loadHelp } from "./load-help";
import { findPlatformPackage, type LoadAttempt, platformPackage } from "./platform-package";

/** Work on an engine thread. After abort() the promise rejects with code GME_ABORTED, unless the result was there first. */
export interface NativeJob<T> {
  promise: Promise<T>;
  abort(): void;
}

/** Numbers of 0 stand for the file's own value. */
export interface NativeLoadParams {
  mmproj?: string;
  /** `auto`, `cpu`, or the name of one of devices(). */
  device?: string;
  /** 1…512 */
  threads: number;
  mmap: boolean;
  positions: "file" | "sequential" | "mrope";
  loaderResize: "file" | "on" | "off";
  minImageTokens: number;
  maxImageTokens: number;
  maxTokens: number;
}

/** RGB8, rows from the top, width * height * 3 bytes; copied before the call returns. */
export interface NativeImage {
  data: Uint8Array;
  width: number;
  height: number;
}

export interface NativeItem {
  text?: string;
  image?: NativeImage;
  instruction?: string;
}

export interface NativeItemSize {
  text?: string;
  instruction?: string;
  image?: { width: number; height: number };
}

export interface NativeEmbedParams {
  overflow: "error" | "truncate" | "reference";
  parseSpecial: boolean;
  /** Tokens of several items that run in one pass; 0: the engine's choice. */
  batchTokens: number;
}

export interface NativeStage {
  name: string;
  shape: number[];
  data: Float32Array;
}

/** Where the time of a call went; `flop` counts the multiplications and additions of its products, 0 where none are counted. */
export interface NativeStageTime {
  name: string;
  milliseconds: number;
  flop: number;
  runs: number;
}

export interface NativeProfile {
  /** [items, dimensions] flat. */
  vectors: Float32Array;
  /** In the order of first use. */
  stages: NativeStageTime[];
}

export interface NativeRoofline {
  /** 1e9 multiplications and additions per second of the fastest product. */
  gflops: number;
  /** Its shape: weights [rows, columns] times `tokens` rows. */
  weights: [number, number];
  tokens: number;
  /** The weights in another layout than the file's. */
  repacked: boolean;
  /** 1e9 bytes per second, read from a buffer beyond the caches by all threads or by the device. */
  readGigabytesPerSecond: number;
}

/** Sizes in pixels, widths first; gridThw in patches of 14×14. */
export interface NativeImagePlan {
  loader: [number, number];
  processor: [number, number];
  gridThw: [number, number, number];
  imageTokens: number;
}

export interface NativePlanOptions {
  loaderResize: boolean;
  minImageTokens: number;
  maxImageTokens: number;
}

export interface NativePixels {
  /** [height, width, 3] after the first resize. */
  loader: Uint8Array;
  /** [height, width, 3] after the second resize. */
  processor: Uint8Array;
  /** [patches, 1176] */
  pixelValues: Float32Array;
  plan: NativeImagePlan;
}

export interface NativeTokenCount {
  text: number;
  image: number;
  total: number;
}

export type NativeNumberType = "f32" | "f16" | "bf16";

/** Factors of a LoRA adapter as f32 bytes: a [rank, columns], b [rows, rank]. */
export interface NativeLowRank {
  columns: number;
  rank: number;
  scale: number;
  a: Uint8Array;
  b: Uint8Array;
}

/** Bytes between calls: during a call hidden states, keys and values come on top. */
export interface NativeMemory {
  /** Weights mapped from files: the system loads their pages as they are read and may drop them. */
  mappedBytes: number;
  /** Weights in memory of our own. */
  ownedBytes: number;
  /** The graphs' memory as the last call left it, and the threads' working memory. */
  computeBytes: number;
  /** What is kept of the last few instructions, so that it need not be computed again. */
  keptBytes: number;
}

/** Jobs run one at a time, in the order of the calls, on the model's own thread. */
export interface NativeModel {
  /** JSON text of sizes, types, limits and the defaults in force. */
  readonly info: string;
  /** [items, dimensions] flat; onProgress gets the number of items done, with intermediate reports left out when JS is busy. */
  embed(items: NativeItem[], params: NativeEmbedParams, onProgress?: (done: number) => void): NativeJob<Float32Array>;
  /** As embed, timed stage by stage. */
  profile(items: NativeItem[], params: NativeEmbedParams): NativeJob<NativeProfile>;
  stages(item: NativeItem, params: NativeEmbedParams): NativeJob<NativeStage[]>;
  countTokens(items: NativeItemSize[], parseSpecial: boolean): NativeJob<NativeTokenCount[]>;
  tokenize(texts: string[], parseSpecial: boolean): NativeJob<Int32Array[]>;
  /** At once, also while a job runs: as it was after the last one; zeros after close(). */
  memory(): NativeMemory;
  /** Idempotent; jobs called before it still run, then the model is freed. */
  close(): Promise<void>;
}

export interface NativeBinding {
  load(path: string, params: NativeLoadParams, onProgress?: (fraction: number) => void): NativeJob<NativeModel>;
  inspectFile(path: string): NativeJob<string>;
  /** Loads a library of ggml's that drives devices into the process, for good. */
  addDeviceLibrary(path: string): NativeJob<void>;
  /** JSON text: the levels of the processor's kernels and the devices of the added libraries. */
  devices(): NativeJob<string>;
  planImage(width: number, height: number, options: NativePlanOptions): NativeImagePlan;
  preprocessImage(image: NativeImage, options: NativePlanOptions): NativeJob<NativePixels>;
  convertNumbers(from: NativeNumberType, source: Uint8Array, to: NativeNumberType): NativeJob<Uint8Array>;
  /** Whole rows of `columns` numbers to any tensor type; the bytes do not depend on `threads`. */
  quantizeRows(
    from: NativeNumberType,
    rows: Uint8Array,
    to: string,
    options: { columns: number; threads: number },
  ): NativeJob<Uint8Array>;
  /** rows + scale * b·a, as f32 bytes; the rows are whole rows of a weight. */
  addLowRank(type: NativeNumberType, rows: Uint8Array, update: NativeLowRank): NativeJob<Uint8Array>;
  /** ggml's own matrix product by weights of `type` and the reading of memory, for about `seconds` (0…600), on the processor or a device. */
  roofline(type: string, options: { device?: string; threads: number; seconds: number }): NativeJob<NativeRoofline>;
  readonly version: { ggml: string; engine: string };
}

let loaded: NativeBinding | undefined;
let loadedFile: string | undefined;

/** The native addon, loaded at the first call. Throws GME_ADDON_MISSING with everything that was tried when it does not load. */
export function binding(): NativeBinding {
  loaded ??= loadFrom(packageRoot(__dirname));
  return loaded;
}

/** The file that the addon was loaded from last; undefined before. */
export function addonFile(): string | undefined {
  return loadedFile;
}

/**
 * The addon of the package that lies in `root`: build/Release of a source build, else prebuilds/<platform>-<arch>, else the same of the
 * platform package, if its files are those that this version was published with.
 */
export function loadFrom(root: string): NativeBinding {
  const attempts: LoadAttempt[] = [];
  const own = tryFolder(besideAsar(root), attempts);
  if (own !== undefined) return own;
  const folder = tryFind(root);
  if (typeof folder !== "string") attempts.push(folder);
  const published = typeof folder === "string" ? tryFolder(folder, attempts) : undefined;
  if (published !== undefined) return published;
  const file = attempts.find(({ what }) => what.endsWith(".node"))?.what;
  throw new GmeError("GME_ADDON_MISSING", loadHelp(attempts), {
    file,
    cause: attempts.find(({ cause }) => cause)?.cause,
  });
}

/** The addon below a folder; a failure goes to `attempts`. */
function tryFolder(folder: string, attempts: LoadAttempt[]): NativeBinding | undefined {
  let file: string | undefined;
  try {
    const findBuild = require("node-gyp-build") as { resolve(folder: string): string };
    file = findBuild.resolve(folder);
    const candidate = require(file) as Partial<NativeBinding>;
    if (typeof candidate?.load === "function" && candidate.version) {
      loadedFile = file;
      return candidate as NativeBinding;
    }
    attempts.push({ what: file, reason: "it is not the addon of gme-embed" });
  } catch (cause) {
    attempts.push({ what: file ?? `a binary below ${folder}`, reason: reasonOf(cause), cause });
  }
  return undefined;
}

function tryFind(root: string): string | LoadAttempt {
  try {
    return findPlatformPackage(root);
  } catch (cause) {
    return { what: platformPackage(), reason: reasonOf(cause), cause };
  }
}

/** The folder of this package's package.json, above dist/ of an installed package or lib/ of a checkout. */
function packageRoot(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    const file = join(at, "package.json");
    if (existsSync(file) && (JSON.parse(readFileSync(file, "utf8")) as { name?: string }).name === "gme-embed")
      return at;
    if (at === dirname(at)) return dirname(folder);
  }
}

/** Anything can be thrown while a damaged file is loaded, so nothing is taken for granted. */
function reasonOf(cause: unknown): string {
  const { message, code } = (cause ?? {}) as { message?: unknown; code?: unknown };
  const text = typeof message === "string" ? message : String(cause);
  return typeof code === "string" && !text.includes(code) ? `${text} (${code})` : text;
}
