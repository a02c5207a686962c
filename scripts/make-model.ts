// Makes a GGUF model of random weights, for tests and measurements that need a size but no meaning. The same seed gives the same bytes.
//
//   npx tsx scripts/make-model.ts --shape tiny|tiny-full-vocab|2b|7b [--type f16|q8_0|q4_0|…] [--seed N] [--force] --out F
import { join } from "node:path";
import { parseArgs } from "node:util";
import { binding } from "../lib/binding";
import type { CheckpointConfig } from "../lib/convert/checkpoint-config";
import { parametersOf } from "../lib/convert/conversion-plan";
import { type TensorType, tensorBytes, tensorType } from "../lib/convert/gguf-types";
import { GgufWriter } from "../lib/convert/gguf-writer";
import { fileTypes, modelMetadata, type NumberType } from "../lib/convert/model-metadata";
import { type PlannedTensor, planTensors } from "../lib/convert/tensor-names";
import { exportTokenizer } from "../lib/convert/tokenizer-export";
import { chooseType, countLayers, wantedTypes } from "../lib/convert/type-choice";

const fixtures = join(__dirname, "..", "test", "fixtures");
const fullTokenizer = join(fixtures, "tokenizer");

interface Shape extends CheckpointConfig {
  readonly tokenizer: string;
}

function shape(
  tokenizer: string,
  vocabulary: number,
  [width, layers, heads, keyValueHeads, feedForward]: readonly number[],
  ropeSections: readonly [number, number, number],
  [visionWidth, visionLayers, visionHeads]: readonly number[],
): Shape {
  const decoder = { width, layers, heads, keyValueHeads, feedForward, vocabulary, ropeSections };
  const vision = { width: visionWidth, layers: visionLayers, heads: visionHeads, feedForward: 4 * visionWidth };
  const imageMean = [0.48145466, 0.4578275, 0.40821073];
  const imageStd = [0.26862954, 0.26130258, 0.27577711];
  return {
    tokenizer,
    decoder: { ...decoder, context: 32_768, rmsEpsilon: 1e-6, ropeTheta: 1e6 },
    vision: { ...vision, imageMean, imageStd },
    imageTokens: { min: 256, max: 1280 },
    isTied: true,
  };
}

const tinyTokenizer = join(fixtures, "checkpoints", "tiny-a");
const shapes: { readonly [name: string]: Shape } = {
  tiny: shape(tinyTokenizer, 2_272, [64, 2, 4, 2, 160], [2, 3, 3], [80, 2, 2]),
  "tiny-full-vocab": shape(fullTokenizer, 151_936, [16, 1, 2, 1, 32], [1, 1, 2], [32, 1, 2]),
  "2b": shape(fullTokenizer, 151_936, [1_536, 28, 12, 2, 8_960], [16, 24, 24], [1_280, 32, 16]),
  "7b": shape(fullTokenizer, 152_064, [3_584, 28, 28, 4, 18_944], [16, 24, 24], [1_280, 32, 16]),
};

/** Uniform numbers in 0…1 (mulberry32). */
function randomSource(seed: number): () => number {
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

async function makeModel(
  shapeName: string,
  typeName: NumberType,
  out: string,
  seed: number,
  force: boolean,
): Promise<void> {
  const config = shapes[shapeName];
  const planned = planTensors(config);
  const layers = countLayers(planned.map(({ name }) => name));
  const wanted = wantedTypes(typeName);
  const tensors = planned.map((plan) => {
    const { name, ne } = plan;
    const chosen =
      plan.kind === "matrix" && chooseType({ name, columns: ne[0], own: tensorType("f32") }, wanted, layers);
    return { plan, name, ne, type: chosen ? chosen.type : tensorType("f32") };
  });
  const parameters = parametersOf(tensors);
  const keys = modelMetadata(config, `random-${shapeName}`, typeName, parameters);
  const tokenizer = await exportTokenizer(config.tokenizer, config.decoder.vocabulary);
  const start = performance.now();
  const writer = await GgufWriter.create(out, new Map([...keys, ...tokenizer]), tensors, force);
  try {
    const pools = new WeightPools(seed);
    for (const { plan, type } of tensors) {
      for await (const piece of pools.pieces(plan, type)) await writer.append(piece);
    }
    const bytes = await writer.finish();
    const seconds = (performance.now() - start) / 1000;
    console.log(
      `${out}: ${parameters.toLocaleString("en")} parameters, ${bytes.toLocaleString("en")} bytes, ${seconds.toFixed(1)} s`,
    );
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

const { values } = parseArgs({
  options: {
    shape: { type: "string" },
    type: { type: "string", default: "f16" },
    out: { type: "string" },
    seed: { type: "string", default: "1" },
    force: { type: "boolean", default: false },
  },
});
const { shape: shapeName = "", type, out, seed, force } = values;
if (!Object.hasOwn(shapes, shapeName) || !Object.hasOwn(fileTypes, type) || !out || !/^\d{1,9}$/.test(seed)) {
  console.error(
    `--shape ${Object.keys(shapes).join("|")} --type ${Object.keys(fileTypes).join("|")} --out F [--seed N] [--force]`,
  );
  process.exit(2);
}
makeModel(shapeName, type as NumberType, out, Number(seed), force).catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
