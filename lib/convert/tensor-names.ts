import type { CheckpointConfig } from "./checkpoint-config";

/**
 * A tensor of the GGUF file and where its numbers lie in the checkpoint's tensor `source`, which has the shape `shape` (row-major):
 * `runs` pieces of `runLength` numbers, the first at `start`, each `stride` numbers after the one before.
 * `kind`: matrices take the wanted type; vectors (norms, biases) and the patch embedding stay f32.
 */
export interface PlannedTensor {
  readonly name: string;
  readonly ne: readonly number[];
  readonly kind: "matrix" | "vector" | "patches";
  readonly source: string;
  readonly shape: readonly number[];
  readonly start: number;
  readonly runs: number;
  readonly runLength: number;
  readonly stride: number;
}

/** Tensors of a checkpoint that no GME vector depends on: the language head, and tables that are computed anew. */
export const unneededTensors = /^lm_head\.weight$|\.rotary_emb\.inv_freq$|\.rotary_pos_emb\.inv_freq$/;

/** Newer writers put `language_model.` and `model.` into the names; the older, shorter name. */
export function olderName(name: string): string {
  return name
    .replace(/^model\.language_model\./, "model.")
    .replace(/^language_model\.model\./, "model.")
    .replace(/^language_model\.lm_head\./, "lm_head.")
    .replace(/^model\.visual\./, "visual.");
}

/** Every tensor of the single file, in the order in which a vector is computed. */
export function planTensors(config: CheckpointConfig): PlannedTensor[] {
  return [...decoderTensors(config), ...visionTensors(config)];
}

/** The language head, which no GME vector depends on, but which other tools want. */
export function headTensor({ decoder }: CheckpointConfig): PlannedTensor {
  return matrix("output.weight", "lm_head.weight", decoder.vocabulary, decoder.width);
}

function decoderTensors({ decoder }: CheckpointConfig): PlannedTensor[] {
  const { width, feedForward, vocabulary } = decoder;
  const keyValueWidth = (width / decoder.heads) * decoder.keyValueHeads;
  const planned = [matrix("token_embd.weight", "model.embed_tokens.weight", vocabulary, width)];
  for (let layer = 0; layer < decoder.layers; layer++) {
    const to = `blk.${layer}.`;
    const from = `model.layers.${layer}.`;
    planned.push(
      vector(`${to}attn_norm.weight`, `${from}input_layernorm.weight`, width),
      ...linear(`${to}attn_q`, `${from}self_attn.q_proj`, width, width),
      ...linear(`${to}attn_k`, `${from}self_attn.k_proj`, keyValueWidth, width),
      ...linear(`${to}attn_v`, `${from}self_attn.v_proj`, keyValueWidth, width),
      matrix(`${to}attn_output.weight`, `${from}self_attn.o_proj.weight`, width, width),
      vector(`${to}ffn_norm.weight`, `${from}post_attention_layernorm.weight`, width),
      matrix(`${to}ffn_gate.weight`, `${from}mlp.gate_proj.weight`, feedForward, width),
      matrix(`${to}ffn_up.weight`, `${from}mlp.up_proj.weight`, feedForward, width),
      matrix(`${to}ffn_down.weight`, `${from}mlp.down_proj.weight`, width, feedForward),
    );
  }
  return [...planned, vector("output_norm.weight", "model.norm.weight", width)];
}

function visionTensors({ vision, decoder }: CheckpointConfig): PlannedTensor[] {
  const { width, feedForward } = vision;
  const planned = [patchEmbedding("v.patch_embd.weight", width, 0), patchEmbedding("v.patch_embd.weight.1", width, 1)];
  for (let block = 0; block < vision.layers; block++) {
    const to = `v.blk.${block}.`;
    const from = `visual.blocks.${block}.`;
    planned.push(
      ...norm(`${to}ln1`, `${from}norm1`, width),
      ...["q", "k", "v"].flatMap((part, i) => qkvPart(`${to}attn_${part}`, `${from}attn.qkv`, width, i)),
      ...linear(`${to}attn_out`, `${from}attn.proj`, width, width),
      ...norm(`${to}ln2`, `${from}norm2`, width),
      ...linear(`${to}ffn_up`, `${from}mlp.fc1`, feedForward, width),
      ...linear(`${to}ffn_down`, `${from}mlp.fc2`, width, feedForward),
    );
  }
  const merged = 4 * width;
  return [
    ...planned,
    ...norm("v.post_ln", "visual.merger.ln_q", width),
    ...linear("mm.0", "visual.merger.mlp.0", merged, merged),
    ...linear("mm.2", "visual.merger.mlp.2", decoder.width, merged),
  ];
}

function matrix(name: string, source: string, rows: number, columns: number): PlannedTensor {
  const whole = { start: 0, runs: rows, runLength: columns, stride: columns };
  return { name, ne: [columns, rows], kind: "matrix", source, shape: [rows, columns], ...whole };
}

function vector(name: string, source: string, length: number): PlannedTensor {
  const whole = { start: 0, runs: 1, runLength: length, stride: length };
  return { name, ne: [length], kind: "vector", source, shape: [length], ...whole };
}

function linear(name: string, source: string, rows: number, columns: number): PlannedTensor[] {
  return [matrix(`${name}.weight`, `${source}.weight`, rows, columns), vector(`${name}.bias`, `${source}.bias`, rows)];
}

function norm(name: string, source: string, length: number): PlannedTensor[] {
  return [vector(`${name}.weight`, `${source}.weight`, length), vector(`${name}.bias`, `${source}.bias`, length)];
}

/** The checkpoint has q, k and v of the tower in one matrix of three times the rows. */
function qkvPart(name: string, source: string, width: number, part: number): PlannedTensor[] {
  const [weight, bias] = linear(name, source, width, width);
  return [
    { ...weight, shape: [3 * width, width], start: part * width * width },
    { ...bias, shape: [3 * width], start: part * width },
  ];
}

/** [width, 3, 2, 14, 14] → the [width, 3, 14, 14] of one frame. */
function patchEmbedding(name: string, width: number, frame: number): PlannedTensor {
  const pixels = 14 * 14;
  return {
    name,
    ne: [14, 14, 3, width],
    kind: "patches",
    source: "visual.patch_embed.proj.weight",
    shape: [width, 3, 2, 14, 14],
    start: frame * pixels,
    runs: width * 3,
    runLength: pixels,
    stride: 2 * pixels,
  };
}
