import { join } from "node:path";
import { GmeError, printable } from "../errors";
import { isObject, type JsonObject, readJsonFile, requireJsonFile } from "./json-file";

export interface DecoderSizes {
  readonly layers: number;
  readonly width: number;
  readonly feedForward: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly context: number;
  readonly vocabulary: number;
  readonly rmsEpsilon: number;
  readonly ropeTheta: number;
  /** Frequency pairs for t, h, w; their sum is half a head's width. */
  readonly ropeSections: readonly [number, number, number];
}

export interface VisionSizes {
  readonly layers: number;
  readonly width: number;
  readonly feedForward: number;
  readonly heads: number;
  /** Per channel, of pixels scaled to 0…1. */
  readonly imageMean: readonly number[];
  readonly imageStd: readonly number[];
}

/** What the JSON files of a checkpoint say, checked. */
export interface CheckpointConfig {
  readonly decoder: DecoderSizes;
  readonly vision: VisionSizes;
  /** The token embeddings are the language head, too. */
  readonly isTied: boolean;
  /** Image tokens per picture. */
  readonly imageTokens: { readonly min: number; readonly max: number };
  /** The token that begins a text; GGUF readers expect one, GME uses none. */
  readonly bosTokenId?: number;
}

const maxJsonBytes = 4 << 20;
const gmeImageTokens = { min: 256, max: 1280 };
/** Qwen2-VL's own budget, which stands in GME's repositories too; GME's code puts its own in its place. */
const generalImageTokens = { min: 4, max: 16_384 };
const clipMean = [0.48145466, 0.4578275, 0.40821073];
const clipStd = [0.26862954, 0.26130258, 0.27577711];
const pixelsPerToken = 28 * 28;

/** Reads config.json, flat or nested, and preprocessor_config.json. */
export async function readCheckpointConfig(folder: string): Promise<CheckpointConfig> {
  const file = join(folder, "config.json");
  const config = new Fields(file, await requireJsonFile(file, maxJsonBytes));
  config.require("model_type", ["qwen2_vl"]);
  if (config.find("quantization_config") !== undefined)
    throw config.unsupported("quantization_config", "weights of F32, F16 or BF16");
  const text = config.under("text_config", true);
  const decoder = readDecoder(text);
  const vision = readVision(config.under("vision_config", false), decoder);
  const preprocessorFile = join(folder, "preprocessor_config.json");
  const preprocessor = new Fields(preprocessorFile, (await readJsonFile(preprocessorFile, maxJsonBytes)) ?? {});
  checkGeometry(preprocessor);
  return {
    decoder,
    vision: {
      ...vision,
      imageMean: preprocessor.triple("image_mean", clipMean),
      imageStd: preprocessor.triple("image_std", clipStd),
    },
    isTied: text.find("tie_word_embeddings") === true,
    imageTokens: readImageTokens(preprocessor),
    bosTokenId: await readBosTokenId(folder, text),
  };
}

function readDecoder(text: Fields): DecoderSizes {
  text.require("hidden_act", ["silu", undefined]);
  text.require("model_type", ["qwen2_vl", "qwen2_vl_text", undefined]);
  const layers = text.integer("num_hidden_layers", 1, 512);
  if (text.find("use_sliding_window") === true && text.integer("max_window_layers", 0, 1 << 20, layers) < layers) {
    throw text.unsupported("use_sliding_window", "false");
  }
  const width = text.integer("hidden_size", 2, 65_536);
  const heads = text.integer("num_attention_heads", 1, 1_024);
  if (width % heads !== 0 || (width / heads) % 4 !== 0 || width / heads > 1_024) {
    const expected = `a divisor of hidden_size ${width} with a quotient divisible by 4, at most 1024`;
    throw text.outOfRange("num_attention_heads", expected);
  }
  const keyValueHeads = text.integer("num_key_value_heads", 1, heads, heads);
  if (heads % keyValueHeads !== 0) throw text.outOfRange("num_key_value_heads", `a divisor of ${heads}`);
  text.require("head_dim", [width / heads, undefined, null]);
  return {
    layers,
    width,
    heads,
    keyValueHeads,
    feedForward: text.integer("intermediate_size", 1, Math.min(1 << 20, 64 * width)),
    context: text.integer("max_position_embeddings", 32, 1 << 20),
    vocabulary: text.integer("vocab_size", 1, 1 << 20),
    rmsEpsilon: text.number("rms_norm_eps", 1e-12, 1e-2),
    ...readRope(text, width / heads),
  };
}

/** rope_scaling and rope_theta of older writers, rope_parameters of newer ones. */
function readRope(text: Fields, headWidth: number): Pick<DecoderSizes, "ropeTheta" | "ropeSections"> {
  const name = text.find("rope_parameters") === undefined ? "rope_scaling" : "rope_parameters";
  const rope = text.under(name, true);
  for (const key of ["type", "rope_type"]) rope.require(key, ["mrope", "default", undefined]);
  const sections = rope.find("mrope_section");
  const sum = headWidth / 2;
  const fits =
    Array.isArray(sections) &&
    sections.length === 3 &&
    sections.every((n) => Number.isInteger(n) && n >= 0) &&
    sections[0] + sections[1] + sections[2] === sum;
  if (!fits) throw rope.outOfRange("mrope_section", `three numbers whose sum is half a head's width, ${sum}`);
  const [t, h, w] = sections as number[];
  return { ropeTheta: rope.number("rope_theta", 1, 1e9), ropeSections: [t, h, w] };
}

function readVision(vision: Fields, decoder: DecoderSizes): Omit<VisionSizes, "imageMean" | "imageStd"> {
  vision.require("hidden_act", ["quick_gelu", undefined]);
  checkGeometry(vision);
  vision.require("in_channels", [3, undefined]);
  vision.require("in_chans", [3, undefined]);
  vision.require("hidden_size", [decoder.width, undefined]);
  const width = vision.integer("embed_dim", 4, 65_536, 1_280);
  const heads = vision.integer("num_heads", 1, 1_024, 16);
  if (width % heads !== 0 || (width / heads) % 4 !== 0) {
    throw vision.outOfRange("num_heads", `a divisor of embed_dim ${width} with a quotient divisible by 4`);
  }
  const feedForward = width * vision.number("mlp_ratio", 1 / 64, 64, 4);
  if (!Number.isInteger(feedForward)) throw vision.outOfRange("mlp_ratio", "a ratio that gives a whole MLP width");
  return { layers: vision.integer("depth", 1, 512, 32), width, heads, feedForward };
}

function checkGeometry(fields: Fields): void {
  fields.require("patch_size", [14, undefined]);
  fields.require("spatial_patch_size", [14, undefined]);
  fields.require("temporal_patch_size", [2, undefined]);
  fields.require("spatial_merge_size", [2, undefined]);
  fields.require("merge_size", [2, undefined]);
}

/** min_pixels and max_pixels; the newest writers call them size.shortest_edge and size.longest_edge (areas, too). */
function readImageTokens(preprocessor: Fields): { min: number; max: number } {
  const size = preprocessor.under("size", false);
  const pixels = (name: string, sizeName: string, fallback: number) =>
    preprocessor.find(name) === undefined
      ? size.integer(sizeName, 1, 2 ** 31, fallback * pixelsPerToken)
      : preprocessor.integer(name, 1, 2 ** 31);
  const min = Math.ceil(pixels("min_pixels", "shortest_edge", gmeImageTokens.min) / pixelsPerToken);
  const max = Math.floor(pixels("max_pixels", "longest_edge", gmeImageTokens.max) / pixelsPerToken);
  if (min === generalImageTokens.min && max === generalImageTokens.max) return gmeImageTokens;
  if (min > max || max > 16_384) {
    throw preprocessor.outOfRange(
      "max_pixels",
      `at least ${min * pixelsPerToken} and at most ${16_384 * pixelsPerToken}`,
    );
  }
  return { min, max };
}

async function readBosTokenId(folder: string, text: Fields): Promise<number | undefined> {
  const generation = await readJsonFile(join(folder, "generation_config.json"), maxJsonBytes);
  const id = text.find("bos_token_id") ?? generation?.bos_token_id;
  return typeof id === "number" && Number.isInteger(id) && id >= 0 ? id : undefined;
}

/** Fields of a JSON object with checks that name file and field. Names not found in a part may stand above it. */
class Fields {
  constructor(
    private readonly file: string,
    private readonly object: JsonObject,
    private readonly path = "",
    private readonly above?: Fields,
  ) {}

  find(name: string): unknown {
    return Object.hasOwn(this.object, name) ? this.object[name] : this.above?.find(name);
  }

  /** The object `name`; `inherits`: what is not in it is looked for here, and it may be absent. */
  under(name: string, inherits: boolean): Fields {
    const value = this.find(name) ?? (inherits ? undefined : {});
    if (value === undefined) return this;
    if (!isObject(value)) throw this.outOfRange(name, "an object");
    return new Fields(this.file, value, `${this.path}${name}.`, inherits ? this : undefined);
  }

  integer(name: string, low: number, high: number, fallback?: number): number {
    const value = this.find(name) ?? fallback;
    if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return value;
    throw this.outOfRange(name, `an integer in ${low}..${high}`);
  }

  number(name: string, low: number, high: number, fallback?: number): number {
    const value = this.find(name) ?? fallback;
    if (typeof value === "number" && value >= low && value <= high) return value;
    throw this.outOfRange(name, `a number in ${low}..${high}`);
  }

  triple(name: string, fallback: readonly number[]): readonly number[] {
    const value = this.find(name) ?? fallback;
    if (Array.isArray(value) && value.length === 3 && value.every((n) => typeof n === "number" && Number.isFinite(n)))
      return value;
    throw this.outOfRange(name, "three numbers");
  }

  /** One of the values that this project knows how to run. */
  require(name: string, allowed: readonly unknown[]): void {
    if (allowed.includes(this.find(name))) return;
    throw this.unsupported(name, String(allowed.find((value) => value !== undefined)));
  }

  unsupported(name: string, expected: string): GmeError {
    return this.fail("GME_MODEL_UNSUPPORTED", name, "is not supported", expected);
  }

  outOfRange(name: string, expected: string): GmeError {
    const isMissing = this.find(name) === undefined;
    return isMissing
      ? this.fail("GME_CHECKPOINT_BAD", name, "is missing", expected)
      : this.fail("GME_HPARAM_RANGE", name, "does not fit", expected);
  }

  /** The name with the names of the parts it stands in. */
  private placeOf(name: string): string {
    const isAbove = !Object.hasOwn(this.object, name) && this.above?.find(name) !== undefined;
    return isAbove ? (this.above?.placeOf(name) ?? name) : `${this.path}${name}`;
  }

  private fail(
    code: "GME_MODEL_UNSUPPORTED" | "GME_CHECKPOINT_BAD" | "GME_HPARAM_RANGE",
    name: string,
    what: string,
    expected: string,
  ) {
    const field = this.placeOf(name);
    const found = this.find(name);
    const value = found === undefined ? "missing" : printable(JSON.stringify(found));
    const message = `${printable(this.file)}: ${field} ${found === undefined ? "" : `${value} `}${what}, expected ${expected}`;
    return new GmeError(code, message, { file: this.file, field, value, expected });
  }
}
