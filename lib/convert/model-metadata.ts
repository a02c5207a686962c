import type { CheckpointConfig, DecoderSizes, VisionSizes } from "./checkpoint-config";
import { array, bool, f32, type GgufMetadata, type GgufValue, text, u32 } from "./gguf-types";

/** general.file_type for each type that a file can be made of. */
export const fileTypes = { f32: 0, f16: 1, bf16: 32, q8_0: 7, q6_k: 18, q5_k_m: 17, q4_k_m: 15, q4_0: 2 } as const;
export type NumberType = keyof typeof fileTypes;

const defaultInstruction = "You are a helpful assistant.";

/** Every key of the single file but the tokenizer's: general, decoder, tower, and the project's own. */
export function modelMetadata(
  config: CheckpointConfig,
  name: string,
  type: NumberType,
  parameters: number,
): GgufMetadata {
  return new Map<string, GgufValue>([
    ["general.architecture", text("qwen2vl")],
    ["general.type", text("model")],
    ["general.name", text(name)],
    ["general.size_label", text(sizeLabel(parameters))],
    ["general.file_type", u32(fileTypes[type])],
    ["general.quantization_version", u32(2)],
    ...decoderKeys(config.decoder),
    ...visionKeys(config.vision, config.decoder.width),
    ["gme.positions", text("sequential")],
    ["gme.loader_resize", bool(true)],
    ["gme.image_tokens_min", u32(config.imageTokens.min)],
    ["gme.image_tokens_max", u32(config.imageTokens.max)],
    ["gme.default_instruction", text(defaultInstruction)],
  ]);
}

function decoderKeys(decoder: DecoderSizes): [string, GgufValue][] {
  return [
    ["qwen2vl.block_count", u32(decoder.layers)],
    ["qwen2vl.context_length", u32(decoder.context)],
    ["qwen2vl.embedding_length", u32(decoder.width)],
    ["qwen2vl.feed_forward_length", u32(decoder.feedForward)],
    ["qwen2vl.attention.head_count", u32(decoder.heads)],
    ["qwen2vl.attention.head_count_kv", u32(decoder.keyValueHeads)],
    ["qwen2vl.attention.layer_norm_rms_epsilon", f32(decoder.rmsEpsilon)],
    ["qwen2vl.rope.freq_base", f32(decoder.ropeTheta)],
    ["qwen2vl.rope.dimension_sections", array("i32", [...decoder.ropeSections, 0])],
  ];
}

function visionKeys(vision: VisionSizes, outputWidth: number): [string, GgufValue][] {
  return [
    ["clip.has_vision_encoder", bool(true)],
    ["clip.projector_type", text("qwen2vl_merger")],
    ["clip.vision.projection_dim", u32(outputWidth)],
    // Required by readers of the format; no size is fixed in Qwen2-VL.
    ["clip.vision.image_size", u32(560)],
    ["clip.vision.patch_size", u32(14)],
    ["clip.vision.embedding_length", u32(vision.width)],
    ["clip.vision.feed_forward_length", u32(vision.feedForward)],
    ["clip.vision.block_count", u32(vision.layers)],
    ["clip.vision.attention.head_count", u32(vision.heads)],
    ["clip.vision.attention.layer_norm_epsilon", f32(1e-6)],
    ["clip.vision.image_mean", array("f32", vision.imageMean)],
    ["clip.vision.image_std", array("f32", vision.imageStd)],
  ];
}

/** Parameters as the field writes them: 451K, 2.2B; at least two digits. */
export function sizeLabel(parameters: number): string {
  const units: [number, string][] = [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "K"],
  ];
  const [unit, letter] = units.find(([least]) => parameters > least) ?? [1e3, "K"];
  const scaled = parameters / unit;
  return `${scaled.toFixed(Math.round(scaled) < 10 ? 1 : 0)}${letter}`;
}
