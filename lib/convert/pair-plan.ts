import { GmeError, printable } from "../errors";
import { type ConversionPlan, parametersOf, type PlannedOutput } from "./conversion-plan";
import { type GgufHeader, type GgufTensor, readGgufHeader } from "./gguf-reader";
import { type GgufMetadata, type GgufValue, tensorBytes, tensorType, u32 } from "./gguf-types";
import { fileTypes, type NumberType, sizeLabel } from "./model-metadata";
import {
  type ChosenType,
  chooseType,
  countLayers,
  isFloat,
  isVision,
  type LayerCounts,
  type WantedTypes,
} from "./type-choice";

/** Plans the single file of llama.cpp's pair, given in either order. Tensors keep their types where none is wanted. */
export async function planPair(
  files: readonly [string, string],
  wanted: WantedTypes,
  withHead = false,
): Promise<ConversionPlan> {
  const headers = [await readGgufHeader(files[0]), await readGgufHeader(files[1])];
  const decoder = find(headers, "qwen2vl");
  const vision = find(headers, "clip");
  checkProjector(vision, decoder);
  const decoderTensors = [...decoder.tensors.values()].filter(({ name }) => withHead || name !== "output.weight");
  const layers = countLayers([...decoder.tensors.keys(), ...vision.tensors.keys()]);
  const choose = (header: GgufHeader, tensor: GgufTensor, name: string) =>
    outputOf(header, tensor, name, newType(name, tensor, wanted, layers));
  const outputs = [
    ...decoderTensors.map((tensor) => choose(decoder, tensor, tensor.name)),
    ...[...vision.tensors.values()].map((tensor) => choose(vision, tensor, upAndDown(vision, tensor))),
  ];
  const seen = new Set<string>();
  for (const { name } of outputs) {
    if (seen.has(name))
      throw fail(
        "GME_TENSOR_DUP",
        vision,
        `tensor["${printable(name)}"]`,
        "is in both files",
        name,
        "a name of its own",
      );
    seen.add(name);
  }
  const unneeded = !withHead && decoder.tensors.has("output.weight") ? ["output.weight"] : [];
  return { metadata: joinMetadata(decoder, vision, outputs, wanted.type), outputs, unneeded };
}

/** Plans a single GGUF file anew: the same tensors, in other types where some are wanted. */
export async function planSingle(file: string, wanted: WantedTypes, withHead = false): Promise<ConversionPlan> {
  const header = await readGgufHeader(file);
  find([header], "qwen2vl");
  const tensors = [...header.tensors.values()].filter(({ name }) => withHead || name !== "output.weight");
  const layers = countLayers(header.tensors.keys());
  const outputs = tensors.map((tensor) =>
    outputOf(header, tensor, tensor.name, newType(tensor.name, tensor, wanted, layers)),
  );
  const metadata: GgufMetadata = new Map(header.metadata);
  metadata.delete("general.alignment");
  setFileType(metadata, wanted.type);
  const unneeded = !withHead && header.tensors.has("output.weight") ? ["output.weight"] : [];
  return { metadata, outputs, unneeded };
}

function newType(name: string, { ne, type }: GgufTensor, wanted: WantedTypes, layers: LayerCounts): ChosenType {
  if (ne.length === 2) return chooseType({ name, columns: ne[0], own: type }, wanted, layers);
  const isKept = (isVision(name) ? wanted.visionType : wanted.type) === undefined;
  return { type: isKept ? type : tensorType("f32") };
}

function find(headers: readonly GgufHeader[], architecture: string): GgufHeader {
  const found = headers.find(({ metadata }) => metadata.get("general.architecture")?.value === architecture);
  if (found !== undefined) return found;
  const architectures = headers
    .map(({ metadata }) => String(metadata.get("general.architecture")?.value))
    .join(" and ");
  const message = `${headers.map(({ file }) => printable(file)).join(" and ")}: expected a decoder (qwen2vl) and a vision tower (clip)`;
  const details = {
    file: headers[0].file,
    field: 'kv["general.architecture"]',
    value: printable(architectures),
    expected: architecture,
  };
  throw new GmeError("GME_MODEL_UNSUPPORTED", message, details);
}

function checkProjector(vision: GgufHeader, decoder: GgufHeader): void {
  const projector = vision.metadata.get("clip.projector_type")?.value;
  if (projector !== "qwen2vl_merger") {
    throw fail(
      "GME_MODEL_UNSUPPORTED",
      vision,
      'kv["clip.projector_type"]',
      "is not Qwen2-VL's",
      String(projector),
      "qwen2vl_merger",
    );
  }
  const output = vision.metadata.get("clip.vision.projection_dim")?.value;
  const width = decoder.metadata.get("qwen2vl.embedding_length")?.value;
  if (output === undefined || output !== width) {
    const field = 'kv["clip.vision.projection_dim"]';
    throw fail("GME_MMPROJ_MISMATCH", vision, field, "is not the decoder's width", String(output), String(width));
  }
}

function outputOf({ file }: GgufHeader, tensor: GgufTensor, name: string, chosen: ChosenType): PlannedOutput {
  const { ne, type } = tensor;
  if (chosen.type !== type && !isFloat(type.name)) {
    throw new GmeError(
      "GME_TENSOR_TYPE",
      `${printable(file)}: ${printable(name)} is ${type.name}: numbers that were quantised are not quantised again; give no type, or a file of f32, f16 or bf16`,
      { file, field: `tensor["${printable(name)}"].type`, value: type.name, expected: "f32, f16, bf16" },
    );
  }
  const bytes = tensorBytes(type, ne);
  const runs = ne.slice(1).reduce((product, n) => product * n, 1);
  return {
    name,
    ne,
    ...chosen,
    from: { file, type, offset: tensor.offset, runs, runBytes: bytes / runs, strideBytes: bytes / runs },
  };
}

/** An old script of llama.cpp wrote ffn_up and ffn_down the wrong way round; the first matrix widens. */
function upAndDown({ tensors }: GgufHeader, { name }: GgufTensor): string {
  const part = /^(v\.blk\.\d+\.ffn_)(up|down)\.(weight|bias)$/.exec(name);
  const up = part && tensors.get(`${part[1]}up.weight`);
  if (!part || !up || up.ne[0] <= up.ne[1]) return name;
  return `${part[1]}${part[2] === "up" ? "down" : "up"}.${part[3]}`;
}

function joinMetadata(
  decoder: GgufHeader,
  vision: GgufHeader,
  outputs: readonly PlannedOutput[],
  type?: NumberType,
): GgufMetadata {
  const metadata: GgufMetadata = new Map(decoder.metadata);
  const isOurs = (key: string) => key.startsWith("clip.") || key.startsWith("gme.");
  for (const [key, value] of vision.metadata) if (isOurs(key)) metadata.set(key, value as GgufValue);
  metadata.delete("general.alignment");
  metadata.set("general.size_label", { type: "string", value: sizeLabel(parametersOf(outputs)) });
  const up = outputs.find(({ name }) => name === "v.blk.0.ffn_up.weight");
  if (up !== undefined) metadata.set("clip.vision.feed_forward_length", u32(up.ne[1]));
  setFileType(metadata, type);
  return metadata;
}

function setFileType(metadata: GgufMetadata, type?: NumberType): void {
  if (type === undefined) return;
  metadata.set("general.file_type", u32(fileTypes[type]));
  metadata.set("general.quantization_version", u32(2));
}

function fail(
  code: "GME_TENSOR_DUP" | "GME_MODEL_UNSUPPORTED" | "GME_MMPROJ_MISMATCH",
  { file }: GgufHeader,
  field: string,
  what: string,
  value: string,
  expected: string,
): GmeError {
  const message = `${printable(file)}: ${field} ${printable(value)} ${what} (expected ${printable(expected)})`;
  return new GmeError(code, message, { file, field, value: printable(value), expected });
}
