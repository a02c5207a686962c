// Small models of any shape and number type, as trees: keys and tensors that fit each other, a vocabulary of the 256 bytes and the
// prompt's special tokens, and weights of a test's choice.
import { decoderTree } from "./gguf-models";
import { type GgufEntry, type GgufTensorEntry, type GgufTree, ggufType } from "./gguf-tree";

export interface NumberType {
  readonly id: number;
  readonly name: string;
  /** Numbers and bytes of one block. */
  readonly block: number;
  readonly bytes: number;
}

/** The types that a matrix may have, as the engine's own list of them. */
export const numberTypes: readonly NumberType[] = (
  [
    [0, "f32", 1, 4],
    [1, "f16", 1, 2],
    [2, "q4_0", 32, 18],
    [3, "q4_1", 32, 20],
    [6, "q5_0", 32, 22],
    [7, "q5_1", 32, 24],
    [8, "q8_0", 32, 34],
    [10, "q2_K", 256, 84],
    [11, "q3_K", 256, 110],
    [12, "q4_K", 256, 144],
    [13, "q5_K", 256, 176],
    [14, "q6_K", 256, 210],
    [16, "iq2_xxs", 256, 66],
    [17, "iq2_xs", 256, 74],
    [18, "iq3_xxs", 256, 98],
    [19, "iq1_s", 256, 50],
    [20, "iq4_nl", 32, 18],
    [21, "iq3_s", 256, 110],
    [22, "iq2_s", 256, 82],
    [23, "iq4_xs", 256, 136],
    [29, "iq1_m", 256, 56],
    [30, "bf16", 1, 2],
    [34, "tq1_0", 256, 54],
    [35, "tq2_0", 256, 66],
    [39, "mxfp4", 32, 17],
    [40, "nvfp4", 64, 36],
    [41, "q1_0", 128, 18],
    [42, "q2_0", 64, 18],
  ] as const
).map(([id, name, block, bytes]) => ({ id, name, block, bytes }));

export const typeNamed = (name: string): NumberType => {
  const type = numberTypes.find((other) => other.name === name);
  if (type === undefined) throw new Error(`no number type ${name}`);
  return type;
};

export const f32 = typeNamed("f32");

export interface ModelShape {
  width: number;
  layers: number;
  feedForward: number;
  heads: number;
  headsKv: number;
  context: number;
  tower: { width: number; layers: number; heads: number; feedForward: number };
}

export const smallShape = (): ModelShape => ({
  width: 32,
  layers: 2,
  feedForward: 64,
  heads: 2,
  headsKv: 1,
  context: 2048,
  tower: { width: 32, layers: 2, heads: 2, feedForward: 64 },
});

/** The widths at which every block type has whole blocks. */
export const blockShape = (): ModelShape => ({
  width: 256,
  layers: 2,
  feedForward: 256,
  heads: 4,
  headsKv: 4,
  context: 2048,
  tower: { width: 256, layers: 1, heads: 4, feedForward: 256 },
});

/** What a tensor is: a matrix may have any type, a vector and a patch frame may not. */
export type TensorKind = "matrix" | "vector" | "patch";

/** The weights of one tensor. */
export type Fill = (name: string, dims: readonly number[], kind: TensorKind) => { type: NumberType; data: Buffer };

export const bytesOf = ({ block, bytes }: NumberType, dims: readonly number[]): number =>
  (dims.reduce((n, side) => n * side, 1) / block) * bytes;

/** Numbers like those of a fresh model: norms near 1, the rest small. The same few thousand again and again. */
export function modestWeights(random: () => number): Fill {
  const some = Float32Array.from({ length: 4093 }, () => random() - 0.5); // a prime: rows differ
  return (name, dims) => {
    const numbers = new Float32Array(dims.reduce((n, side) => n * side, 1));
    const isNorm = /norm\.weight|ln[12]?\.weight$/.test(name);
    for (let i = 0; i < numbers.length; i++) numbers[i] = isNorm ? 1 + some[i % 4093] / 8 : some[i % 4093] / 4;
    return { type: f32, data: Buffer.from(numbers.buffer) };
  };
}

/** Modest vectors, and matrices of random bytes; `mask` keeps scales small where each byte is masked with it. */
export function randomBlocks(random: () => number, type: NumberType, mask = 0xff): Fill {
  const modest = modestWeights(random);
  const some = Buffer.from(Array.from({ length: 65_521 }, () => Math.floor(random() * 256) & mask));
  return (name, dims, kind) => {
    if (kind !== "matrix" || dims[0] % type.block !== 0) return modest(name, dims, kind);
    const data = Buffer.alloc(bytesOf(type, dims));
    for (let at = 0; at < data.length; at += some.length) some.copy(data, at);
    return { type, data };
  };
}

const text = (key: string, value: string): GgufEntry => ({ key, type: ggufType.string, value });
const u32 = (key: string, value: number): GgufEntry => ({ key, type: ggufType.u32, value });
const number = (key: string, value: number): GgufEntry => ({ key, type: ggufType.f32, value });
const list = (key: string, element: number, value: (number | string)[]): GgufEntry => ({
  key,
  type: ggufType.array,
  element,
  value,
});

const specials = [
  "<|endoftext|>",
  "<|im_start|>",
  "<|im_end|>",
  "<|vision_start|>",
  "<|vision_end|>",
  "<|vision_pad|>",
  "<|image_pad|>",
];

/** The 256 bytes as the fixtures' vocabulary writes them, then the special tokens; no merges but those given. */
export function smallVocabulary(extra: string[] = [], merges: string[] = []): GgufEntry[] {
  const tokens = [...bytes256, ...extra];
  const types = tokens.map(() => 1);
  return [
    text("tokenizer.ggml.model", "gpt2"),
    text("tokenizer.ggml.pre", "qwen2"),
    list("tokenizer.ggml.tokens", ggufType.string, [...tokens, ...specials]),
    list("tokenizer.ggml.token_type", ggufType.i32, [...types, ...specials.map(() => 3)]),
    list("tokenizer.ggml.merges", ggufType.string, merges),
  ];
}

const tokenList = (keys: readonly GgufEntry[]): string[] => {
  const entry = keys.find(({ key }) => key === "tokenizer.ggml.tokens");
  if (entry === undefined) throw new Error("no tokens");
  return entry.value as string[];
};

/** The 256 byte tokens are the first of the fixtures' vocabulary. */
const bytes256 = tokenList(decoderTree().keys).slice(0, 256);

export const tokensOf = (keys: readonly GgufEntry[]): number => tokenList(keys).length;

export function decoderOf(shape: ModelShape, fill: Fill, vocabulary: GgufEntry[] = smallVocabulary()): GgufTree {
  const { width, heads, headsKv, feedForward, layers } = shape;
  const headWidth = Math.floor(width / Math.max(1, heads));
  const keys = [
    text("general.architecture", "qwen2vl"),
    u32("qwen2vl.block_count", layers),
    u32("qwen2vl.context_length", shape.context),
    u32("qwen2vl.embedding_length", width),
    u32("qwen2vl.feed_forward_length", feedForward),
    u32("qwen2vl.attention.head_count", heads),
    u32("qwen2vl.attention.head_count_kv", headsKv),
    list("qwen2vl.rope.dimension_sections", ggufType.i32, sectionsOf(headWidth)),
    number("qwen2vl.rope.freq_base", 1e6),
    number("qwen2vl.attention.layer_norm_rms_epsilon", 1e-6),
    ...vocabulary,
  ];
  const kv = headWidth * headsKv;
  const tensor = maker(fill);
  const layer = (n: number): GgufTensorEntry[] => [
    tensor(`blk.${n}.attn_norm.weight`, [width]),
    tensor(`blk.${n}.attn_q.weight`, [width, width]),
    tensor(`blk.${n}.attn_q.bias`, [width]),
    tensor(`blk.${n}.attn_k.weight`, [width, kv]),
    tensor(`blk.${n}.attn_k.bias`, [kv]),
    tensor(`blk.${n}.attn_v.weight`, [width, kv]),
    tensor(`blk.${n}.attn_v.bias`, [kv]),
    tensor(`blk.${n}.attn_output.weight`, [width, width]),
    tensor(`blk.${n}.ffn_norm.weight`, [width]),
    tensor(`blk.${n}.ffn_gate.weight`, [width, feedForward]),
    tensor(`blk.${n}.ffn_up.weight`, [width, feedForward]),
    tensor(`blk.${n}.ffn_down.weight`, [feedForward, width]),
  ];
  const tensors = [
    tensor("token_embd.weight", [width, tokensOf(vocabulary)]),
    ...Array.from({ length: layers }, (_, n) => layer(n)).flat(),
    tensor("output_norm.weight", [width]),
  ];
  return { version: 3, keys, tensors, alignment: 32 };
}

function sectionsOf(headWidth: number): number[] {
  const pairs = Math.floor(headWidth / 2);
  const side = Math.floor((pairs * 3) / 8);
  return [pairs - 2 * side, side, side, 0];
}

export function towerOf(shape: ModelShape, fill: Fill): GgufTree {
  const { width, layers, heads, feedForward } = shape.tower;
  const keys = [
    text("general.architecture", "clip"),
    { key: "clip.has_vision_encoder", type: ggufType.bool, value: 1 },
    text("clip.projector_type", "qwen2vl_merger"),
    u32("clip.vision.projection_dim", shape.width),
    u32("clip.vision.image_size", 560),
    u32("clip.vision.patch_size", 14),
    u32("clip.vision.embedding_length", width),
    u32("clip.vision.feed_forward_length", 0),
    u32("clip.vision.block_count", layers),
    u32("clip.vision.attention.head_count", heads),
    number("clip.vision.attention.layer_norm_epsilon", 1e-6),
    list("clip.vision.image_mean", ggufType.f32, [0.48145466, 0.4578275, 0.40821073]),
    list("clip.vision.image_std", ggufType.f32, [0.26862954, 0.26130258, 0.27577711]),
  ];
  const tensor = maker(fill);
  const pair = (name: string, dims: number[]) => [
    tensor(`${name}.weight`, dims),
    tensor(`${name}.bias`, [dims[dims.length - 1]]),
  ];
  const block = (n: number): GgufTensorEntry[] =>
    [
      pair(`v.blk.${n}.ln1`, [width]),
      pair(`v.blk.${n}.ln2`, [width]),
      ...["attn_q", "attn_k", "attn_v", "attn_out"].map((name) => pair(`v.blk.${n}.${name}`, [width, width])),
      pair(`v.blk.${n}.ffn_up`, [width, feedForward]),
      pair(`v.blk.${n}.ffn_down`, [feedForward, width]),
    ].flat();
  const tensors = [
    tensor("v.patch_embd.weight", [14, 14, 3, width]),
    tensor("v.patch_embd.weight.1", [14, 14, 3, width]),
    ...Array.from({ length: layers }, (_, n) => block(n)).flat(),
    ...pair("v.post_ln", [width]),
    ...pair("mm.0", [4 * width, 4 * width]),
    ...pair("mm.2", [4 * width, shape.width]),
  ];
  return { version: 3, keys, tensors, alignment: 32 };
}

const maker =
  (fill: Fill) =>
  (name: string, dims: number[]): GgufTensorEntry => {
    const kind = dims.length === 1 ? "vector" : dims.length === 4 ? "patch" : "matrix";
    const { type, data } = fill(name, dims, kind);
    return { name, dims, type: type.id, data };
  };

/** Decoder and tower of one file. */
export const together = (decoder: GgufTree, tower: GgufTree): GgufTree => ({
  ...decoder,
  keys: [...decoder.keys, ...tower.keys.filter(({ key }) => String(key).startsWith("clip."))],
  tensors: [...decoder.tensors, ...tower.tensors],
});
