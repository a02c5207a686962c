import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { GmeError, ioError, printable } from "../errors";
import { type CheckpointTensor, duplicateTensor, readSafetensorsHeader, unsupportedDtype } from "./safetensors-reader";
import { olderName } from "./tensor-names";

/** The two factors of one module's update: a [rank, columns], b [rows, rank]. */
export interface AdapterPair {
  /** The module's name in the model that was trained, as rank_pattern and alpha_pattern see it. */
  readonly module: string;
  /** The older name of the weight in a checkpoint. */
  readonly weight: string;
  readonly a: CheckpointTensor;
  readonly b: CheckpointTensor;
}

const weightsName = "adapter_model.safetensors";
const factorName = /^base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight$/;
const reasons: readonly [RegExp, string][] = [
  [/lora_magnitude_vector/, "DoRA's magnitudes cannot be merged"],
  [/lora_embedding_|embed_tokens|wte/, "trained token embeddings cannot be merged"],
  [/modules_to_save|original_module/, "modules that were trained whole cannot be merged"],
  [/lora_[AB].*\.bias$/, "biases of the factors cannot be merged"],
  [/lora_[AB]\./, "only one adapter, named default, can be merged"],
];

/** The pairs of adapter_model.safetensors. Tensors that are no factor, and factors that stand alone, are refused. */
export async function readAdapterPairs(folder: string): Promise<AdapterPair[]> {
  const file = await findWeights(folder);
  const halves = { A: new Map<string, CheckpointTensor>(), B: new Map<string, CheckpointTensor>() };
  const moduleOf = new Map<string, string>();
  for (const tensor of await readSafetensorsHeader(file)) {
    const [, module, half] = factorName.exec(tensor.name) ?? [];
    if (module === undefined) throw unknownTensor(tensor);
    if (!["F32", "F16", "BF16"].includes(tensor.dtype)) throw unsupportedDtype(file, tensor.name, tensor.dtype);
    const weight = olderName(`${module}.weight`);
    const side = halves[half as "A" | "B"];
    const first = side.get(weight);
    if (first !== undefined) throw duplicateTensor(tensor, first);
    side.set(weight, tensor);
    moduleOf.set(weight, module);
  }
  if (moduleOf.size === 0) {
    throw new GmeError("GME_CHECKPOINT_BAD", `${printable(file)}: no tensors`, { file, expected: "a LoRA adapter's" });
  }
  return [...moduleOf].map(([weight, module]) => {
    const [a, b] = [halves.A.get(weight), halves.B.get(weight)];
    if (a === undefined || b === undefined) throw missingHalf(file, module, a ?? b, a === undefined ? "A" : "B");
    return { module, weight, a, b };
  });
}

/** Nothing beside the adapter may hold weights that would be left out: SWIFT writes a fully trained tower into a file of its own. */
async function findWeights(folder: string): Promise<string> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw ioError(error, folder);
  }
  if (!names.includes(weightsName)) {
    const other = names.find((name) => /^adapter_model\.|^adapter_model-/.test(name));
    const found = other === undefined ? "" : `, ${printable(other)} is not read`;
    const message = `${printable(folder)}: ${weightsName} is not there${found}`;
    throw new GmeError("GME_CHECKPOINT_BAD", message, { file: folder, value: other, expected: weightsName });
  }
  const surplus = names.filter((name) => name.endsWith(".safetensors") && name !== weightsName);
  if (surplus.length > 0) {
    const list = surplus.map(printable).join(", ");
    throw new GmeError("GME_MODEL_UNSUPPORTED", `${printable(folder)}: weights beside the adapter's: ${list}`, {
      file: folder,
      value: list,
      expected: `${weightsName} alone`,
    });
  }
  return join(folder, weightsName);
}

function unknownTensor({ name, file }: CheckpointTensor): GmeError {
  const reason = reasons.find(([pattern]) => pattern.test(name))?.[1] ?? "not a factor of LoRA";
  return new GmeError("GME_MODEL_UNSUPPORTED", `${printable(file)}: ${printable(name)}: ${reason}`, {
    file,
    field: `tensor["${printable(name)}"]`,
    expected: "base_model.model.….lora_A.weight and lora_B.weight",
  });
}

function missingHalf(file: string, module: string, other: CheckpointTensor | undefined, half: "A" | "B"): GmeError {
  const message = `${printable(file)}: ${printable(module)} has no lora_${half}, only ${printable(other?.name ?? "")}`;
  const field = `tensor["base_model.model.${printable(module)}.lora_${half}.weight"]`;
  return new GmeError("GME_TENSOR_MISSING", message, { file, field });
}
