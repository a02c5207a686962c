import { binding } from "../binding";
import { bundledModelPath } from "../bundled-model";
import { abortError, GmeError } from "../errors";
import type { CheckpointConfig } from "./checkpoint-config";
import { parametersOf } from "./conversion-plan";
import { readGgufHeader } from "./gguf-reader";
import { array, type GgufMetadata, type GgufScalar, type TensorType, tensorBytes, tensorType } from "./gguf-types";
import { GgufWriter } from "./gguf-writer";
import { modelMetadata, type NumberType } from "./model-metadata";
import { type PlannedTensor, planTensors } from "./tensor-names";
import { exportTokenizer } from "./tokenizer-export";
import { chooseType, countLayers, wantedTypes } from "./type-choice";

export type SyntheticShape = "tiny" | "tiny-full-vocab" | "2b" | "7b";

export interface SyntheticModelOptions {
  readonly shape: SyntheticShape;
  readonly type: NumberType;
  readonly target: string;
  /** The same seed gives the same bytes. Default 1. */
  readonly seed?: number;
  /** Checkpoint folder that the tokenizer is taken from; default: the bundled demonstration model's. */
  readonly tokenizer?: string;
  /** Tokens in the file; default: the shape's. The tokenizer's own are filled up with unused ones. */
  readonly vocabulary?: number;
  readonly force?: boolean;
  /** Bytes of the weights written, and in all. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export interface SyntheticModel {
  readonly file: string;
  readonly parameters: number;
  readonly bytes: number;
}

type Sizes = Omit<CheckpointConfig, "decoder"> & { readonly decoder: Omit<CheckpointConfig["decoder"], "vocabulary"> };

function sizes(
  [width, layers, heads, keyValueHeads, feedForward]: readonly number[],
  ropeSections: readonly [number, number, number],
  [visionWidth, visionLayers, visionHeads]: readonly number[],
): Sizes {
  const decoder = { width, layers, heads, keyValueHeads, feedForward, ropeSections };
  const vision = { width: visionWidth, layers: visionLayers, heads: visionHeads, feedForward: 4 * visionWidth };
  const imageMean = [0.48145466, 0.4578275, 0.40821073];
  const imageStd = [0.26862954, 0.26130258, 0.27577711];
  return {
    decoder: { ...decoder, context: 32_768, rmsEpsilon: 1e-6, ropeTheta: 1e6 },
    vision: { ...vision, imageMean, imageStd },
    imageTokens: { min: 256, max: 1280 },
    isTied: true,
  };
}

const shapes: { readonly [S in SyntheticShape]: readonly [Sizes, number] } = {
  tiny: [sizes([64, 2, 4, 2, 160], [2, 3, 3], [80, 2, 2]), 4_096],
  "tiny-full-vocab": [sizes([16, 1, 2, 1, 32], [1, 1, 2], [32, 1, 2]), 151_936],
  "2b": [sizes([1_536, 28, 12, 2, 8_960], [16, 24, 24], [1_280, 32, 16]), 151_936],
  "7b": [sizes([3_584, 28, 28, 4, 18_944], [16, 24, 24], [1_280, 32, 16]), 152_064],
};

export const syntheticShapes = Object.keys(shapes) as readonly SyntheticShape[];

/**
 * Writes a GGUF model of random weights with the shape of a real one: it costs what the real one costs, and its vectors mean nothing. The
 * file appears whole or not at all. Rejects with GME_TARGET_EXISTS, GME_DISK_FULL, GME_IO_ERROR, GME_ABORTED.
 */
export async function writeSyntheticModel(options: SyntheticModelOptions): Promise<SyntheticModel> {
  const { shape, type, target, seed = 1, force = false, signal } = options;
  const [shapeSizes, ownVocabulary] = shapes[shape];
  const vocabulary = options.vocabulary ?? ownVocabulary;
  const config = { ...shapeSizes, decoder: { ...shapeSizes.decoder, vocabulary } };
  const planned = planTensors(config);
  const tensors = typedTensors(planned, type);
  const parameters = parametersOf(tensors);
  const tokenizer =
    options.tokenizer === undefined
      ? await bundledTokenizer(vocabulary)
      : await exportTokenizer(options.tokenizer, vocabulary);
  const keys = modelMetadata(config, `random-${shape}`, type, parameters);
  const total = tensors.reduce((sum, { type, ne }) => sum + tensorBytes(type, ne), 0);
  const writer = await GgufWriter.create(target, new Map([...keys, ...tokenizer]), tensors, force);
  try {
    const pools = new WeightPools(seed);
    let done = 0;
    for (const { plan, type } of tensors) {
      for await (const piece of pools.pieces(plan, type)) {
        if (signal?.aborted) throw abortError(signal);
        await writer.append(piece);
        done += piece.length;
        options.onProgress?.(done, total);
      }
    }
    return { file: target, parameters, bytes: await writer.finish() };
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

function typedTensors(planned: readonly PlannedTensor[], type: NumberType) {
  const layers = countLayers(planned.map(({ name }) => name));
  const wanted = wantedTypes(type);
  return planned.map((plan) => {
    const { name, ne } = plan;
    const chosen =
      plan.kind === "matrix" && chooseType({ name, columns: ne[0], own: tensorType("f32") }, wanted, layers);
    return { plan, name, ne, type: chosen ? chosen.type : tensorType("f32") };
  });
}

/** tokenizer.ggml.token_type of a token that no text gives. */
const unusedToken = 5;

/** The demonstration model's tokenizer: it splits texts as Qwen2's does, into more tokens, since it knows fewer words. */
async function bundledTokenizer(vocabulary: number): Promise<GgufMetadata> {
  const { metadata } = await readGgufHeader(bundledModelPath);
  const own = new Map([...metadata].filter(([key]) => key.startsWith("tokenizer.")));
  const tokens = filled(own, "tokenizer.ggml.tokens", vocabulary, (id) => `[PAD${id}]`);
  const types = filled(own, "tokenizer.ggml.token_type", vocabulary, () => unusedToken);
  return own
    .set("tokenizer.ggml.tokens", array("string", tokens))
    .set("tokenizer.ggml.token_type", array("i32", types));
}

function filled(metadata: GgufMetadata, key: string, size: number, filler: (id: number) => GgufScalar): GgufScalar[] {
  const value = metadata.get(key);
  if (value?.type !== "array" || value.value.length > size) {
    const expected = `an array of at most ${size}`;
    throw new GmeError("GME_TOKENIZER_BAD", `${key} cannot be filled up to ${size}`, { field: key, expected });
  }
  return Array.from({ length: size }, (_, id) => value.value[id] ?? filler(id));
}

/** Uniform numbers in 0…1 (mulberry32). */
export function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

// Drawing billions of normals would take minutes: pieces are copied from a pool, from another place each time.
// Its length is prime, so that no two rows of a matrix come out alike. Quantised pools hold its whole blocks.
const poolLength = 1_048_573;
const pieceBytes = 8 << 20;

class WeightPools {
  private readonly pools = new Map<string, Buffer>();
  private readonly random: () => number;
  private readonly normals = new Float32Array(poolLength);

  constructor(seed: number) {
    this.random = randomSource(seed);
    for (let i = 0; i < poolLength; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - this.random()));
      this.normals[i] = radius * Math.cos(2 * Math.PI * this.random());
    }
  }

  async *pieces(tensor: PlannedTensor, type: TensorType): AsyncGenerator<Uint8Array> {
    const pool = await this.pool(type, ...scaleOf(tensor));
    const wholeBlocks = pieceBytes - (pieceBytes % type.bytes); // a piece that ended inside a block would shift all that follows
    for (let left = tensorBytes(type, tensor.ne); left > 0; ) {
      const piece = Buffer.allocUnsafe(Math.min(left, wholeBlocks));
      for (let at = 0; at < piece.length; ) {
        const start = Math.floor(this.random() * Math.floor(poolLength / type.block)) * type.bytes;
        at += pool.copy(piece, at, start, Math.min(pool.length, start + piece.length - at));
      }
      yield piece;
      left -= piece.length;
    }
  }

  private async pool(type: TensorType, mean: number, std: number): Promise<Buffer> {
    const key = `${type.name} ${mean} ${std}`;
    let pool = this.pools.get(key);
    if (pool === undefined) {
      const whole = this.normals.subarray(0, poolLength - (poolLength % type.block));
      const scaled = Buffer.from(whole.map((value) => mean + std * value).buffer);
      const columns = type.block;
      const bytes =
        type.name === "f32"
          ? scaled
          : await binding().quantizeRows("f32", scaled, type.name, { columns, threads: 1 }).promise;
      pool = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.pools.set(key, pool);
    }
    return pool;
  }
}

/** Mean and standard deviation that keep the activations near one from layer to layer. */
function scaleOf({ name, kind, ne }: PlannedTensor): [number, number] {
  if (name === "token_embd.weight") return [0, 1];
  if (kind === "patches") return [0, 1.2 / Math.sqrt(2 * 3 * 14 * 14)];
  if (kind === "matrix") return [0, 1.2 / Math.sqrt(ne[0])];
  return name.endsWith(".bias") ? [0, 0.02] : [1, 0.05];
}
