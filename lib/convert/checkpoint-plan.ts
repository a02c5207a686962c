import { basename, resolve } from "node:path";
import { GmeError, printable } from "../errors";
import { readCheckpointConfig } from "./checkpoint-config";
import { type ConversionPlan, parametersOf, type PlannedOutput } from "./conversion-plan";
import { type TensorType, tensorType } from "./gguf-types";
import { type AdapterPlan, planAdapter } from "./lora-merge";
import { modelMetadata } from "./model-metadata";
import { type CheckpointTensor, duplicateTensor, readCheckpointTensors, unsupportedDtype } from "./safetensors-reader";
import { headTensor, olderName, type PlannedTensor, planTensors, unneededTensors } from "./tensor-names";
import { exportTokenizer } from "./tokenizer-export";
import { type ChosenType, chooseType, countLayers, type WantedTypes, wantedTypes } from "./type-choice";

const sourceTypes: ReadonlyMap<string, string> = new Map([
  ["F32", "f32"],
  ["F16", "f16"],
  ["BF16", "bf16"],
]);

export interface CheckpointOptions {
  /** Types of the matrices; f16 where nothing else is wanted. */
  readonly wanted: WantedTypes;
  readonly name?: string;
  readonly lora?: string;
  /** Keep a language head that is not the token embeddings, as llama.cpp's files do. */
  readonly withHead?: boolean;
}

/** Plans the single file of a Hugging Face folder. */
export async function planCheckpoint(folder: string, options: CheckpointOptions): Promise<ConversionPlan> {
  const { name, lora, withHead = false } = options;
  const type = options.wanted.type ?? "f16";
  const wanted = wantedTypes(type, options.wanted.visionType);
  const config = await readCheckpointConfig(folder);
  const found = await readCheckpointTensors(folder);
  const hasHead = withHead && !config.isTied && [...found.keys()].some((key) => olderName(key) === "lm_head.weight");
  const planned = [...planTensors(config), ...(hasHead ? [headTensor(config)] : [])];
  const { tensors, unneeded } = sortTensors(folder, found, planned);
  const adapter = lora === undefined ? undefined : await planAdapter(lora, planned);
  const layers = countLayers(planned.map((plan) => plan.name));
  const outputs = planned.map((plan) => {
    const tensor = tensors.get(plan.source) as CheckpointTensor;
    const source = sourceTypes.get(tensor.dtype);
    if (source === undefined) throw unsupportedDtype(tensor.file, tensor.name, tensor.dtype);
    const matrix = { name: plan.name, columns: plan.ne[0], own: tensorType(source) };
    const chosen = plan.kind === "matrix" ? chooseType(matrix, wanted, layers) : { type: tensorType("f32") };
    return outputOf(plan, tensor, matrix.own, chosen, adapter);
  });
  const metadata = modelMetadata(config, name ?? nameOf(folder), type, parametersOf(outputs));
  const tokenizer = await exportTokenizer(folder, config.decoder.vocabulary, config.bosTokenId);
  return { metadata: new Map([...metadata, ...tokenizer]), outputs, unneeded, merged: adapter?.merged };
}

/** The checkpoint's tensors by their older names: every one that is needed, in its shape, and none that is unknown. */
function sortTensors(folder: string, found: ReadonlyMap<string, CheckpointTensor>, planned: readonly PlannedTensor[]) {
  const tensors = new Map<string, CheckpointTensor>();
  const unneeded: string[] = [];
  const unknown: string[] = [];
  const shapeOf = new Map(planned.map(({ source, shape }) => [source, shape]));
  for (const tensor of found.values()) {
    const name = olderName(tensor.name);
    const first = tensors.get(name);
    if (first !== undefined) throw duplicateTensor(tensor, first);
    if (shapeOf.has(name)) tensors.set(name, tensor);
    else (unneededTensors.test(name) ? unneeded : unknown).push(tensor.name);
  }
  if (unknown.length > 0) {
    throw listError("GME_MODEL_UNSUPPORTED", folder, "tensors that Qwen2-VL does not have", unknown);
  }
  const missing = [...shapeOf.keys()].filter((name) => !tensors.has(name));
  if (missing.length > 0) throw listError("GME_TENSOR_MISSING", folder, "tensors are missing", missing);
  for (const [name, tensor] of tensors) checkShape(tensor, shapeOf.get(name) as readonly number[]);
  return { tensors, unneeded };
}

function listError(
  code: "GME_MODEL_UNSUPPORTED" | "GME_TENSOR_MISSING",
  file: string,
  what: string,
  names: readonly string[],
): GmeError {
  const shown = names.slice(0, 12).map(printable).join(", ");
  const rest = names.length > 12 ? ` and ${names.length - 12} more` : "";
  const field = `tensor["${printable(names[0])}"]`;
  return new GmeError(code, `${printable(file)}: ${what}: ${shown}${rest}`, { file, field, value: names.length });
}

function checkShape({ name, shape, file }: CheckpointTensor, expected: readonly number[]): void {
  if (shape.length === expected.length && shape.every((n, i) => n === expected[i])) return;
  const message = `${printable(file)}: ${printable(name)} has the shape [${shape}], config.json gives [${expected}]`;
  const field = `tensor["${printable(name)}"].shape`;
  throw new GmeError("GME_TENSOR_SHAPE", message, { file, field, value: `[${shape}]`, expected: `[${expected}]` });
}

function outputOf(
  plan: PlannedTensor,
  tensor: CheckpointTensor,
  source: TensorType,
  chosen: ChosenType,
  adapter?: AdapterPlan,
): PlannedOutput {
  const update = adapter?.updates.get(plan.source);
  return {
    name: plan.name,
    ne: plan.ne,
    ...chosen,
    from: {
      file: tensor.file,
      type: source,
      offset: tensor.offset + plan.start * source.bytes,
      runs: plan.runs,
      runBytes: plan.runLength * source.bytes,
      strideBytes: plan.stride * source.bytes,
    },
    ...(update && { update: { of: update, firstRow: plan.start / plan.stride } }),
  };
}

/** The folder's name; in a Hugging Face cache it is a commit, and the repository's name stands two folders above. */
function nameOf(folder: string): string {
  const path = resolve(folder);
  const repository = /[\\/]models--(?:[^\\/]*--)?([^\\/]+)[\\/]snapshots[\\/][^\\/]+$/.exec(path);
  return repository?.[1] ?? basename(path);
}
