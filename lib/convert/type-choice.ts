import { type TensorType, tensorType } from "./gguf-types";
import type { NumberType } from "./model-metadata";

/** The types that a file can be made of: what most of its matrices get. The K mixes give some matrices more bits. */
const mainTypes: { readonly [T in NumberType]: string } = {
  f32: "f32",
  f16: "f16",
  bf16: "bf16",
  q8_0: "q8_0",
  q6_k: "q6_k",
  q5_k_m: "q5_k",
  q4_k_m: "q4_k",
  q4_0: "q4_0",
};

const floatTypes: readonly string[] = ["f32", "f16", "bf16"];

export function isFloat(type: string): boolean {
  return floatTypes.includes(type);
}

/** What a conversion is asked for: a type for the decoder's matrices, another for the tower's; without one they keep theirs. */
export interface WantedTypes {
  readonly type?: NumberType;
  readonly visionType?: NumberType;
}

/** The tower follows the decoder among the float types; beside a quantised decoder the tower is q8_0. */
export function wantedTypes(type?: NumberType, visionType?: NumberType): WantedTypes {
  return { type, visionType: visionType ?? (type === undefined || isFloat(type) ? type : "q8_0") };
}

export interface ChosenType {
  readonly type: TensorType;
  /** The type that the rows cannot be cut into, where another had to take its place. */
  readonly fellBackFrom?: string;
}

/** The type of a matrix with rows of `columns` numbers that has the type `own`. */
export function chooseType(
  { name, columns, own }: { name: string; columns: number; own: TensorType },
  wanted: WantedTypes,
  layers: LayerCounts,
): ChosenType {
  const choice = isVision(name) ? wanted.visionType : wanted.type;
  if (choice === undefined) return { type: own };
  const ideal = tensorType(idealType(name, choice, isVision(name) ? layers.vision : layers.decoder));
  const fitting = [ideal, tensorType("q8_0")].find(({ block }) => columns % block === 0) ?? tensorType("f16");
  return fitting === ideal ? { type: ideal } : { type: fitting, fellBackFrom: ideal.name };
}

export function isVision(name: string): boolean {
  return name.startsWith("v.") || name.startsWith("mm.");
}

export interface LayerCounts {
  readonly decoder: number;
  readonly vision: number;
}

/** Layers of the decoder and of the tower, counted by their tensors' names. */
export function countLayers(names: Iterable<string>): LayerCounts {
  const counts = { decoder: 0, vision: 0 };
  for (const name of names) {
    const layer = /^(v\.)?blk\.(\d+)\./.exec(name);
    if (layer === null) continue;
    const part = layer[1] === undefined ? "decoder" : "vision";
    counts[part] = Math.max(counts[part], Number(layer[2]) + 1);
  }
  return counts;
}

/** Every token passes the table; what v and ffn_down add stays in the stream of all layers behind: they get more bits than the rest. */
function idealType(name: string, choice: NumberType, layers: number): string {
  const main = mainTypes[choice];
  if (isFloat(main) || main === "q8_0") return main;
  if (name === "token_embd.weight" || name === "output.weight") return "q6_k";
  const mixed = choice === "q4_k_m" || choice === "q5_k_m";
  const layer = /^(?:v\.)?blk\.(\d+)\.(?:attn_v|ffn_down)\.weight$/.exec(name);
  return mixed && layer !== null && hasMoreBits(Number(layer[1]), layers) ? "q6_k" : main;
}

/** The first and the last eighth of the layers, and every third between them. */
function hasMoreBits(layer: number, layers: number): boolean {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}
