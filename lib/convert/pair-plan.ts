import { GmeError, printable } from "../errors";
import { type ConversionPlan, parametersOf, type PlannedOutput } from "./conversion-plan";
import { type GgufHeader, type GgufTensor, readGgufHeader } from "./gguf-reader";
import { type GgufMetadata, type GgufValue, tensorBytes, tensorType, u32 } from "./gguf-types";
import { fileTypes, type NumberType, sizeLabel } from "./model-metadata";

/** Plans the single file of llama.cpp's pair, given in either order. Tensors keep their types unless `type` is given. */
export async function planPair(files: readonly [string, string], type?: NumberType): Promise<ConversionPlan> {
  const headers = [await readGgufHeader(files[0]), await readGgufHeader(files[1])];
  const decoder = find(headers, "qwen2vl");
  const vision = find(headers, "clip");
  checkProjector(vision, decoder);
  const decoderTensors = [...decoder.tensors.values()].filter(({ name }) => name !== "output.weight");
  const outputs = [
    ...decoderTensors.map((tensor) => outputOf(decoder, tensor, tensor.name, type)),
    ...[...vision.tensors.values()].map((tensor) => outputOf(vision, tensor, upAndDown(vision, tensor), type)),
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
  const unneeded = decoder.tensors.has("output.weight") ? ["output.weight"] : [];
  return { metadata: joinMetadata(decoder, vision, outputs, type), outputs, unneeded };
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

function outputOf({ file }: GgufHeader, tensor: GgufTensor, name: string, wanted?: NumberType): PlannedOutput {
  const { ne, type } = tensor;
  const isMatrix = ne.length === 2;
  const target =
    wanted === undefined || (!isMatrix && type.name === "f32") ? type : tensorType(isMatrix ? wanted : "f32");
  if (target !== type && !Object.hasOwn(fileTypes, type.name)) {
    throw new GmeError(
      "GME_TENSOR_TYPE",
      `${printable(file)}: ${printable(name)} is ${type.name}: join the pair without a type`,
      {
        file,
        field: `tensor["${printable(name)}"].type`,
        value: type.name,
        expected: Object.keys(fileTypes).join(", "),
      },
    );
  }
  const bytes = tensorBytes(type, ne);
  const runs = ne.slice(1).reduce((product, n) => product * n, 1);
  return {
    name,
    ne,
    type: target,
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
  if (type !== undefined) metadata.set("general.file_type", u32(fileTypes[type]));
  return metadata;
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
