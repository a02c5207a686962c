import { basename, resolve } from "node:path";
import { GmeError, printable } from "../errors";
import { readCheckpointConfig } from "./checkpoint-config";
import { type ConversionPlan, parametersOf, type PlannedOutput } from "./conversion-plan";
import { tensorType } from "./gguf-types";
import { type AdapterPlan, planAdapter } from "./lora-merge";
import { modelMetadata, type NumberType } from "./model-metadata";
import { type CheckpointTensor, duplicateTensor, readCheckpointTensors, unsupportedDtype } from "./safetensors-reader";
import { olderName, type PlannedTensor, planTensors, unneededTensors } from "./tensor-names";
import { exportTokenizer } from "./tokenizer-export";

const sourceTypes: ReadonlyMap<string, NumberType> = new Map([
  ["F32", "f32"],
  ["F16", "f16"],
  ["BF16", "bf16"],
]);

/** Plans the single file of a Hugging Face folder, with matrices of `type`. */
export async function planCheckpoint(
  folder: string,
  type: NumberType,
  name?: string,
  lora?: string,
): Promise<ConversionPlan> {
  const config = await readCheckpointConfig(folder);
  const planned = planTensors(config);
  const { tensors, unneeded } = sortTensors(folder, await readCheckpointTensors(folder), planned);
  const adapter = lora === undefined ? undefined : await planAdapter(lora, planned);
  const outputs = planned.map((plan) => outputOf(plan, tensors.get(plan.source) as CheckpointTensor, type, adapter));
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
  type: NumberType,
  adapter?: AdapterPlan,
): PlannedOutput {
  const sourceType = sourceTypes.get(tensor.dtype);
  if (sourceType === undefined) throw unsupportedDtype(tensor.file, tensor.name, tensor.dtype);
  const source = tensorType(sourceType);
  const update = adapter?.updates.get(plan.source);
  return {
    name: plan.name,
    ne: plan.ne,
    type: tensorType(plan.kind === "matrix" ? type : "f32"),
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
