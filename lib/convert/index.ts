import { stat } from "node:fs/promises";
import { abortError, badArgument, GmeError, ioError, printable } from "../errors";
import { planCheckpoint } from "./checkpoint-plan";
import { type ConversionPlan, parametersOf } from "./conversion-plan";
import { bool, tensorBytes, text } from "./gguf-types";
import type { MergedAdapter } from "./lora-merge";
import { fileTypes, type NumberType } from "./model-metadata";
import { planPair, planSingle } from "./pair-plan";
import { dataBytes, splitFiles, writeFiles } from "./target-files";
import { TensorStream } from "./tensor-stream";
import { isVision, wantedTypes } from "./type-choice";

export type ConvertType = NumberType;

/** The types that a file's matrices can be given; the K mixes give some of them more bits. */
export const convertTypes = Object.keys(fileTypes) as readonly ConvertType[];

export interface ConvertProgress {
  /** The tensor being written. */
  readonly tensor: string;
  /** Bytes of the target's tensors, written and in all. */
  readonly done: number;
  readonly total: number;
}

export interface ConvertOptions {
  /** A Hugging Face folder, a GGUF file, or llama.cpp's decoder and mmproj files. */
  readonly source: string | readonly [string, string];
  /** The GGUF file to write. */
  readonly target: string;
  /** Type of the matrices; norms, biases and the patch embedding are f32. Default: f16 for a folder, for GGUF files what their tensors have. */
  readonly type?: ConvertType;
  /** Type of the vision tower's matrices. Default: `type`, or q8_0 where that is quantised. */
  readonly visionType?: ConvertType;
  /** Write llama.cpp's two files: the decoder to `target`, the tower to mmproj-<its name> beside it. */
  readonly split?: boolean;
  /** general.name; default: the folder's name, or the decoder's. */
  readonly name?: string;
  /** A folder with a LoRA adapter (PEFT, SWIFT) for the checkpoint `source`; it is merged into the weights. */
  readonly lora?: string;
  /** gme.positions. Default: "mrope" with `lora`, since SWIFT trains with it, else "sequential"; for a pair what it says. */
  readonly positions?: "sequential" | "mrope";
  /** gme.loader_resize. Default: false with `lora`, since SWIFT resizes pictures once, else true; for a pair what it says. */
  readonly loaderResize?: boolean;
  /** Overwrite an existing target. */
  readonly force?: boolean;
  readonly onProgress?: (progress: ConvertProgress) => void;
  readonly signal?: AbortSignal;
}

export interface ConvertSummary {
  readonly file: string;
  /** With `split`: the tower's file. */
  readonly visionFile?: string;
  /** Size of the file, or of both. */
  readonly bytes: number;
  readonly tensors: number;
  readonly parameters: number;
  /** Per type: how many tensors and bytes. */
  readonly types: { readonly [type: string]: { readonly tensors: number; readonly bytes: number } };
  /** Matrices whose rows cannot be cut into the wanted type's blocks, and what they got. */
  readonly fellBack: readonly { readonly from: string; readonly to: string; readonly tensors: number }[];
  /** Tensors of the source that were left out, because no vector depends on them. */
  readonly unneeded: readonly string[];
  /** What the file says of positions and of the first resize; the defaults where it says nothing. */
  readonly positions: string;
  readonly loaderResize: boolean;
  /** With `lora`: what was merged. */
  readonly merged?: MergedAdapter;
  readonly seconds: number;
}

const optionNames = [
  "source",
  "target",
  "type",
  "visionType",
  "split",
  "name",
  "lora",
  "positions",
  "loaderResize",
  "force",
  "onProgress",
  "signal",
];

/**
 * Writes one GGUF file, or llama.cpp's two, from a Hugging Face checkpoint or from GGUF files. The target appears whole or not at all.
 * Rejects with GME_TARGET_EXISTS, GME_CHECKPOINT_BAD, GME_SAFETENSORS_BAD, GME_GGUF_…, GME_TENSOR_…, GME_TOKENIZER_BAD, GME_MODEL_UNSUPPORTED,
 * GME_DISK_FULL, GME_ABORTED, … with file and field.
 */
export async function convert(options: ConvertOptions): Promise<ConvertSummary> {
  const start = performance.now();
  const { target, split = false, force = false, onProgress, signal } = checkOptions(options);
  if (signal?.aborted) throw abortError(signal);
  const plan = await planFor(options);
  const files = split ? splitFiles(plan, target) : [{ path: target, metadata: plan.metadata, outputs: plan.outputs }];
  const total = dataBytes(plan.outputs);
  let done = 0;
  const onWritten = (tensor: string, bytes: number) => {
    done += bytes;
    report(onProgress, { tensor, done, total });
  };
  const stream = new TensorStream(signal);
  try {
    const bytes = await writeFiles(files, stream, { force, onWritten });
    return summaryOf(plan, files.map(({ path }) => path), bytes, (performance.now() - start) / 1000); // biome-ignore format: one line says it
  } catch (error) {
    throw GmeError.from(error);
  } finally {
    await stream.close();
  }
}

async function planFor(options: ConvertOptions): Promise<ConversionPlan> {
  const { source, type, visionType, name, lora, split } = options;
  let plan: ConversionPlan;
  if (typeof source === "string" && (await isFolder(source))) {
    plan = await planCheckpoint(source, { wanted: { type, visionType }, name, lora, withHead: split });
  } else {
    if (lora !== undefined) throw adapterOnGguf(lora);
    const wanted = wantedTypes(type, visionType);
    plan = typeof source === "string" ? await planSingle(source, wanted, split) : await planPair(source, wanted, split);
    if (name !== undefined) plan.metadata.set("general.name", text(name));
  }
  if (split && !plan.outputs.some((output) => isVision(output.name))) throw nothingToSplit(source as string);
  setDefaults(plan, options);
  return plan;
}

function nothingToSplit(file: string): GmeError {
  const message = `${printable(file)} has no vision tower, so there is nothing to split`;
  return new GmeError("GME_OPTION_INVALID", message, {
    file,
    field: "options.split",
    expected: "a file with a vision tower",
  });
}

/** The defaults that the file carries for the model's loader. SWIFT trains with grid positions and one resize. */
function setDefaults(
  { metadata, merged }: ConversionPlan,
  options: Pick<ConvertOptions, "positions" | "loaderResize">,
): void {
  const positions = options.positions ?? (merged && "mrope");
  const loaderResize = options.loaderResize ?? (merged ? false : undefined);
  if (positions !== undefined) metadata.set("gme.positions", text(positions));
  if (loaderResize !== undefined) metadata.set("gme.loader_resize", bool(loaderResize));
}

function adapterOnGguf(lora: string): GmeError {
  const expected = "the Hugging Face folder that the adapter was trained on as the source";
  const message = `an adapter is merged into the weights of a checkpoint before they are split and rounded; expected ${expected}`;
  return new GmeError("GME_OPTION_INVALID", message, { field: "options.lora", value: lora, expected });
}

/** An error of the caller's function stops the conversion and is the caller's to see. */
function report(onProgress: ConvertOptions["onProgress"], progress: ConvertProgress): void {
  try {
    onProgress?.(progress);
  } catch (error) {
    throw GmeError.from(error, "GME_OPTION_INVALID");
  }
}

function summaryOf(
  { metadata, outputs, unneeded, merged }: ConversionPlan,
  [file, visionFile]: readonly string[],
  bytes: number,
  seconds: number,
): ConvertSummary {
  const types: { [type: string]: { tensors: number; bytes: number } } = {};
  for (const { type, ne } of outputs) {
    types[type.name] ??= { tensors: 0, bytes: 0 };
    types[type.name].tensors++;
    types[type.name].bytes += tensorBytes(type, ne);
  }
  const positions = String(metadata.get("gme.positions")?.value ?? "sequential");
  const loaderResize = metadata.get("gme.loader_resize")?.value !== false;
  const counts = { bytes, tensors: outputs.length, parameters: parametersOf(outputs), types };
  const files = { file, ...(visionFile !== undefined && { visionFile }) };
  return {
    ...files,
    ...counts,
    fellBack: fallbacksOf(outputs),
    unneeded,
    positions,
    loaderResize,
    ...(merged && { merged }),
    seconds,
  };
}

function fallbacksOf(outputs: ConversionPlan["outputs"]): ConvertSummary["fellBack"] {
  const counts = new Map<string, number>();
  for (const { type, fellBackFrom } of outputs) {
    if (fellBackFrom === undefined) continue;
    const key = `${fellBackFrom} ${type.name}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, tensors]) => {
    const [from, to] = key.split(" ");
    return { from, to, tensors };
  });
}

function checkOptions(options: ConvertOptions): ConvertOptions {
  if (typeof options !== "object" || options === null)
    throw badArgument("GME_INPUT_INVALID", "options", "an object", options);
  for (const name of Object.keys(options)) {
    if (!optionNames.includes(name))
      throw badArgument("GME_OPTION_INVALID", `options.${name}`, `one of ${optionNames.join(", ")}`, name);
  }
  const { source, target, type, visionType, split, name, lora, positions, loaderResize, force, onProgress, signal } =
    options;
  const isPair = Array.isArray(source) && source.length === 2;
  if (lora !== undefined && !isPath(lora)) throw badArgument("GME_OPTION_INVALID", "options.lora", "a folder", lora);
  const paths = isPair ? [...source, target] : [source, target];
  paths.forEach((path, i) => {
    if (isPath(path)) return;
    const field = i === paths.length - 1 ? "options.target" : "options.source";
    throw badArgument(
      "GME_OPTION_INVALID",
      field,
      field.endsWith("target") ? "a path" : "a folder, a GGUF file, or two",
      path,
    );
  });
  for (const [key, value] of Object.entries({ type, visionType })) {
    if (value !== undefined && !convertTypes.includes(value))
      throw badArgument("GME_OPTION_INVALID", `options.${key}`, convertTypes.join(", "), value);
  }
  if (positions !== undefined && !["sequential", "mrope"].includes(positions))
    throw badArgument("GME_OPTION_INVALID", "options.positions", '"sequential" or "mrope"', positions);
  const checks: [string, unknown, string][] = [
    ["name", name, "string"],
    ["loaderResize", loaderResize, "boolean"],
    ["split", split, "boolean"],
    ["force", force, "boolean"],
    ["onProgress", onProgress, "function"],
  ];
  for (const [key, value, kind] of checks) {
    if (value !== undefined && typeof value !== kind)
      throw badArgument("GME_OPTION_INVALID", `options.${key}`, `a ${kind}`, value);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw badArgument("GME_OPTION_INVALID", "options.signal", "an AbortSignal", signal);
  return options;
}

function isPath(value: unknown): value is string {
  return typeof value === "string" && value !== "" && !value.includes("\0");
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    throw ioError(error, path);
  }
}
