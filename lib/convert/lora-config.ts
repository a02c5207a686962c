import { join } from "node:path";
import { GmeError, type GmeErrorCode, printable } from "../errors";
import { isObject, type JsonObject, requireJsonFile } from "./json-file";
import { matchPatterns, type Pattern } from "./lora-patterns";

/** What adapter_config.json says, checked. */
export interface AdapterConfig {
  readonly file: string;
  /** The checkpoint that the adapter was trained on, as its writer named it. */
  readonly base?: string;
  readonly rank: number;
  readonly alpha: number;
  /** alpha/√r instead of alpha/r. */
  readonly usesRootOfRank: boolean;
  readonly rankPattern: readonly Pattern[];
  readonly alphaPattern: readonly Pattern[];
}

const maxRank = 2_048;
const maxAlpha = 1e6;
/** Fields that change what the factors mean, with the only values that a plain merge reproduces. The rest of PEFT's is about training. */
const allowed: { readonly [field: string]: readonly unknown[] } = {
  peft_type: ["LORA"],
  bias: ["none"],
  use_dora: [false],
  fan_in_fan_out: [false],
  lora_bias: [false],
  use_qalora: [false],
  // pissa, olora, corda, loftq and lora-ga change the base weights before training.
  init_lora_weights: [true, false, "gaussian", "eva", "orthogonal"],
};
const required = ["peft_type", "r", "lora_alpha"];
/** Fields that must say nothing: absent, null, false or empty. */
const empty = [
  "modules_to_save",
  "trainable_token_indices",
  "target_parameters",
  "layer_replication",
  "megatron_config",
  "alora_invocation_tokens",
];
/** Written by every PEFT whether in use or not; the field above says which it is. */
const harmless = ["use_rslora", "loftq_config", "eva_config", "runtime_config"];

/** Reads adapter_config.json. What this project cannot merge is refused by the name of the field. */
export async function readAdapterConfig(folder: string): Promise<AdapterConfig> {
  const file = join(folder, "adapter_config.json");
  const config = await requireJsonFile(file, 1 << 20);
  for (const field of required) {
    if (config[field] === undefined)
      throw bad("GME_CHECKPOINT_BAD", file, config, field, "is missing", "a LoRA adapter's");
  }
  for (const [field, values] of Object.entries(allowed)) {
    if (config[field] === undefined || config[field] === null || values.includes(config[field])) continue;
    throw bad("GME_MODEL_UNSUPPORTED", file, config, field, "cannot be merged", values.join(", "));
  }
  for (const field of empty.filter((field) => !isEmpty(config[field]))) {
    throw bad("GME_MODEL_UNSUPPORTED", file, config, field, "cannot be merged", "nothing");
  }
  const unknown = Object.keys(config).find((field) => isUnknownVariant(field, config[field]));
  if (unknown !== undefined) throw bad("GME_MODEL_UNSUPPORTED", file, config, unknown, "is not known", "plain LoRA");
  if (config.use_rslora !== undefined && config.use_rslora !== null && typeof config.use_rslora !== "boolean") {
    throw bad("GME_HPARAM_RANGE", file, config, "use_rslora", "does not fit", "true or false");
  }
  const base = config.base_model_name_or_path;
  return {
    file,
    base: typeof base === "string" && base !== "" ? base : undefined,
    rank: checkRank(file, "r", config.r),
    alpha: checkAlpha(file, "lora_alpha", config.lora_alpha),
    usesRootOfRank: config.use_rslora === true,
    rankPattern: readPattern(file, config, "rank_pattern", checkRank),
    alphaPattern: readPattern(file, config, "alpha_pattern", checkAlpha),
  };
}

/** Rank and factor of each of the modules, by PEFT's rule: the first pattern that is the name or the end of it, from a dot on. */
export function scalesOf(config: AdapterConfig, modules: readonly string[]): { rank: number; scale: number }[] {
  const ranks = matchPatterns(config.file, "rank_pattern", config.rankPattern, modules);
  const alphas = matchPatterns(config.file, "alpha_pattern", config.alphaPattern, modules);
  return modules.map((_, i) => {
    const [rank, alpha] = [ranks[i] ?? config.rank, alphas[i] ?? config.alpha];
    return { rank, scale: alpha / (config.usesRootOfRank ? Math.sqrt(rank) : rank) };
  });
}

/** Later variants of LoRA announce themselves by such a field. */
function isUnknownVariant(field: string, value: unknown): boolean {
  if (Object.hasOwn(allowed, field) || empty.includes(field) || harmless.includes(field)) return false;
  return (field.startsWith("use_") && value === true) || (field.endsWith("_config") && !isEmpty(value));
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return true;
  return Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;
}

function readPattern(
  file: string,
  config: JsonObject,
  field: string,
  check: (file: string, field: string, value: unknown) => number,
): Pattern[] {
  const value = config[field] ?? {};
  if (!isObject(value)) throw bad("GME_HPARAM_RANGE", file, config, field, "does not fit", "an object");
  return Object.entries(value).map(([pattern, number]) => ({
    pattern,
    number: check(file, `${field}["${printable(pattern)}"]`, number),
  }));
}

function checkRank(file: string, field: string, value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= maxRank) return value;
  throw bad("GME_HPARAM_RANGE", file, { [field]: value }, field, "does not fit", `an integer in 1..${maxRank}`);
}

function checkAlpha(file: string, field: string, value: unknown): number {
  if (typeof value === "number" && value > 0 && value <= maxAlpha) return value;
  throw bad(
    "GME_HPARAM_RANGE",
    file,
    { [field]: value },
    field,
    "does not fit",
    `a number over 0, at most ${maxAlpha}`,
  );
}

function bad(code: GmeErrorCode, file: string, config: JsonObject, field: string, what: string, expected: string) {
  const found = config[field];
  const value = found === undefined ? "missing" : printable(JSON.stringify(found));
  const message = `${printable(file)}: ${field} ${found === undefined ? "" : `${value} `}${what}, expected ${expected}`;
  return new GmeError(code, message, { file, field, value, expected });
}
