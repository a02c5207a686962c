import { binding, type NativeJob, type NativeNumberType } from "../binding";
import { abortError, GmeError, printable } from "../errors";
import { type AdapterConfig, readAdapterConfig, scalesOf } from "./lora-config";
import { type AdapterPair, readAdapterPairs } from "./lora-tensors";
import { openForReading, readExactly } from "./file-reading";
import type { CheckpointTensor } from "./safetensors-reader";
import { type PlannedTensor, unneededTensors } from "./tensor-names";

/** What is added to a weight: scale · b · a, with a [rank, columns], b [rows, rank]. */
export interface LowRankUpdate {
  readonly module: string;
  readonly a: CheckpointTensor;
  readonly b: CheckpointTensor;
  readonly rank: number;
  readonly scale: number;
}

/** What of an adapter went into the model. */
export interface MergedAdapter {
  readonly folder: string;
  /** The checkpoint that the adapter was trained on, as it says itself. */
  readonly base?: string;
  /** Merged weights per kind of module: { q_proj: 28, "visual.attn.qkv": 32 }. */
  readonly targets: { readonly [target: string]: number };
  /** Every rank that occurs. */
  readonly ranks: readonly number[];
  /** Modules of the adapter that no vector depends on. */
  readonly ignored: readonly string[];
}

export interface AdapterPlan {
  /** By the older name of the checkpoint's weight. */
  readonly updates: ReadonlyMap<string, LowRankUpdate>;
  readonly merged: MergedAdapter;
}

/** Reads an adapter and checks that every one of its modules is one of the model's linear layers, in its widths. */
export async function planAdapter(folder: string, planned: readonly PlannedTensor[]): Promise<AdapterPlan> {
  const config = await readAdapterConfig(folder);
  const pairs = await readAdapterPairs(folder);
  const shapeOf = new Map(planned.filter(isLinear).map(({ source, shape }) => [source, shape]));
  const ignored = pairs.filter(({ weight }) => unneededTensors.test(weight));
  const order = new Map(planned.map(({ source }, i) => [source, i]));
  const wanted = pairs
    .filter((pair) => !ignored.includes(pair))
    .sort((x, y) => (order.get(x.weight) ?? 0) - (order.get(y.weight) ?? 0));
  const unknown = wanted.filter(({ weight }) => !shapeOf.has(weight)).map(({ module }) => module);
  if (unknown.length > 0) throw unknownTargets(wanted[0].a.file, unknown);
  const scales = scalesOf(config, wanted.map(({ module }) => module)); // biome-ignore format: one line says it
  const updates = new Map<string, LowRankUpdate>();
  const targets: { [target: string]: number } = {};
  for (const [i, { module, weight, a, b }] of wanted.entries()) {
    checkShapes(config, { module, weight, a, b }, scales[i].rank, shapeOf.get(weight) as readonly number[]);
    updates.set(weight, { module, a, b, ...scales[i] });
    const target = targetOf(weight);
    targets[target] = (targets[target] ?? 0) + 1;
  }
  const ranks = [...new Set(scales.map(({ rank }) => rank))].sort((x, y) => x - y);
  const merged = { folder, base: config.base, targets, ranks, ignored: ignored.map(({ module }) => module) };
  return { updates, merged };
}

function isLinear({ kind, source }: PlannedTensor): boolean {
  return kind === "matrix" && source !== "model.embed_tokens.weight";
}

/** model.layers.0.self_attn.q_proj.weight → q_proj; visual.blocks.0.attn.qkv.weight → visual.attn.qkv */
function targetOf(weight: string): string {
  return weight
    .replace(/\.weight$/, "")
    .replace(/^model\.layers\.\d+\.(?:self_attn|mlp)\./, "")
    .replace(/^visual\.blocks\.\d+\./, "visual.");
}

function unknownTargets(file: string, modules: readonly string[]): GmeError {
  const shown = modules.slice(0, 12).map(printable).join(", ");
  const rest = modules.length > 12 ? ` and ${modules.length - 12} more` : "";
  const message = `${printable(file)}: modules that the checkpoint does not have or that cannot be merged: ${shown}${rest}`;
  const expected =
    "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or the tower's attn.qkv, attn.proj, mlp.fc1, mlp.fc2, merger.mlp.0, merger.mlp.2";
  return new GmeError("GME_MODEL_UNSUPPORTED", message, {
    file,
    field: "target_modules",
    value: modules.length,
    expected,
  });
}

function checkShapes(
  config: AdapterConfig,
  { module, a, b }: AdapterPair,
  rank: number,
  shape: readonly number[],
): void {
  const [rows, columns] = shape;
  for (const [{ name, file, shape: found }, wanted] of [
    [a, [rank, columns]],
    [b, [rows, rank]],
  ] as const) {
    if (found.length === 2 && found[0] === wanted[0] && found[1] === wanted[1]) continue;
    const because = `${printable(module)} is [${shape}] in the checkpoint, and ${printable(config.file)} gives it rank ${rank}`;
    throw new GmeError(
      "GME_TENSOR_SHAPE",
      `${printable(file)}: ${printable(name)} has the shape [${found}], but ${because}`,
      {
        file,
        field: `tensor["${printable(name)}"].shape`,
        value: `[${found}]`,
        expected: `[${wanted}]`,
      },
    );
  }
}

/** The factors of one update, in memory as f32. */
export class LowRankFactors {
  private constructor(
    readonly update: LowRankUpdate,
    private readonly a: Uint8Array,
    private readonly b: Uint8Array,
  ) {}

  static async read(update: LowRankUpdate, signal?: AbortSignal): Promise<LowRankFactors> {
    return new LowRankFactors(update, await readF32(update.a, signal), await readF32(update.b, signal));
  }

  /** Whole rows of the weight, of which the first is row `first`, with the update added: f32 bytes. */
  async addTo(rows: Uint8Array, type: NativeNumberType, first: number, signal?: AbortSignal): Promise<Uint8Array> {
    const { rank, scale, a, module } = this.update;
    const columns = a.shape[1];
    const count = rows.length / ((type === "f32" ? 4 : 2) * columns);
    const b = this.b.subarray(first * rank * 4, (first + count) * rank * 4);
    try {
      return await finished(binding().addLowRank(type, rows, { columns, rank, scale, a: this.a, b }), signal);
    } catch (error) {
      const failure = GmeError.from(error);
      if (failure.code !== "GME_NON_FINITE") throw failure;
      const message = `${printable(a.file)}: ${printable(module)}: ${failure.message}`;
      throw new GmeError("GME_NON_FINITE", message, { file: a.file, field: printable(module) });
    }
  }
}

const numberTypes: { readonly [dtype: string]: NativeNumberType } = { F32: "f32", F16: "f16", BF16: "bf16" };

async function readF32(
  { file: path, offset, bytes, dtype }: CheckpointTensor,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const file = await openForReading(path);
  try {
    const read = await readExactly(path, file, offset, bytes);
    return await finished(binding().convertNumbers(numberTypes[dtype], read, "f32"), signal);
  } catch (error) {
    throw GmeError.from(error);
  } finally {
    await file.close();
  }
}

async function finished<T>(job: NativeJob<T>, signal?: AbortSignal): Promise<T> {
  if (signal?.aborted) job.abort();
  const abort = () => job.abort();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await job.promise;
  } catch (error) {
    throw signal?.aborted ? abortError(signal) : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
