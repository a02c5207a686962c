import { stat } from "node:fs/promises";
import { binding } from "./binding";
import { startJob } from "./embed-run";
import { badArgument, GmeError, ioError } from "./errors";
import { readImageSize } from "./image-decode";
import { type ImageSource, readImage } from "./input";
import { type ImageOptions, imageOptions, type ReadImageOptions, readOptions } from "./options";
import { untilAborted } from "./queue";

/** Keys, tensors and sizes of a GGUF file, as the engine's reader sees them. */
export interface FileReport {
  readonly file: string;
  /** Bytes. */
  readonly size: number;
  readonly version: number;
  readonly alignment: number;
  readonly parameters: number;
  /** Tensors and bytes per number type. */
  readonly types: Readonly<Record<string, { tensors: number; bytes: number }>>;
  /** Values as they stand in the file; a long array or string as `{ type, count }`. */
  readonly keys: Readonly<Record<string, unknown>>;
  readonly tensors: readonly { name: string; shape: number[]; type: string; bytes: number; offset: number }[];
  /** What the file's `gme.*` keys say, and what holds where they are absent. */
  readonly defaults: {
    positions: unknown;
    minImageTokens: unknown;
    maxImageTokens: unknown;
    loaderResize: unknown;
    instruction: unknown;
    maxTokens: unknown;
  };
}

/** Sizes a picture passes through, widths first; `gridThw` is t, h, w in patches of 14×14 pixels. */
export interface ImagePlan {
  size: [number, number];
  loader: [number, number];
  processor: [number, number];
  gridThw: [number, number, number];
  imageTokens: number;
}

/** Reads a GGUF file's header without loading it as a model. Rejects with GME_IO_ERROR, GME_GGUF_… or GME_TENSOR_…. */
export async function inspectFile(path: string): Promise<FileReport> {
  if (typeof path !== "string" || path === "" || path.includes("\0"))
    throw badArgument("GME_INPUT_INVALID", "path", "the path of a GGUF file", path);
  try {
    if (!(await stat(path)).isFile())
      throw new GmeError("GME_IO_ERROR", "not a regular file", { file: path, expected: "a GGUF file" });
  } catch (error) {
    throw error instanceof GmeError ? error : ioError(error, path);
  }
  const report = JSON.parse(await untilAborted(startJob(() => binding().inspectFile(path)))) as Omit<
    FileReport,
    "defaults"
  >;
  return { ...report, defaults: defaultsOf(report.keys) };
}

function defaultsOf(keys: FileReport["keys"]): FileReport["defaults"] {
  return {
    positions: keys["gme.positions"] ?? "sequential",
    minImageTokens: keys["gme.image_tokens_min"] ?? 256,
    maxImageTokens: keys["gme.image_tokens_max"] ?? 1280,
    loaderResize: keys["gme.loader_resize"] ?? true,
    instruction: keys["gme.default_instruction"] ?? "You are a helpful assistant.",
    maxTokens: keys[`${keys["general.architecture"]}.context_length`] ?? null,
  };
}

/** The sizes a picture of `width` × `height` pixels passes through. */
export function planImage(width: number, height: number, options?: ImageOptions): ImagePlan {
  const {
    loaderResize = true,
    minImageTokens = 0,
    maxImageTokens = 0,
  } = readOptions<ImageOptions>(imageOptions, options);
  for (const [name, side] of [
    ["width", width],
    ["height", height],
  ] as const) {
    if (!Number.isSafeInteger(side) || side < 1)
      throw badArgument("GME_INPUT_INVALID", name, "a positive integer", side);
  }
  const min = minImageTokens || Math.min(256, maxImageTokens || 256);
  const max = maxImageTokens || Math.max(1280, min);
  if (min > max)
    throw badArgument("GME_OPTION_INVALID", "options.minImageTokens", `at most maxImageTokens (${max})`, min);
  const plan = startJob(() =>
    binding().planImage(width, height, { loaderResize, minImageTokens: min, maxImageTokens: max }),
  );
  const { loader, processor, gridThw, imageTokens } = plan;
  return { size: [width, height], loader, processor, gridThw, imageTokens };
}

/** The same for a picture, whose header is read; upright unless `orientation: "ignore"`. */
export async function inspectImage(image: ImageSource, options?: ImageOptions): Promise<ImagePlan> {
  const { orientation, maxImagePixels } = readOptions<ReadImageOptions>(imageOptions, options);
  const { width, height } = await readImageSize(readImage(image, "image"), { orientation, maxImagePixels });
  return planImage(width, height, options);
}
