// Beyond the matrix of rows: models of random shapes and types whose parts fit each other, then changed at up to three places. Each is
// refused with a GmeError that is no GME_INTERNAL, or embeds to finite vectors or a named stage. Seeded, so that every run is the same:
// 400 models, 100,000 with GME_TEST_LONG=1 (and tap's --timeout=14400). A failure names its number; GME_TEST_MODEL=N tries that one alone.
import t from "tap";
import { GmeError } from "../../lib/index";
import { randomNumbers } from "../lifetime/native-model";
import { loadHostile } from "./gguf-models";
import { removeHostile, writeHostile } from "./gguf-refusal";
import { type GgufEntry, type GgufScalar, type GgufTree, ggufType } from "./gguf-tree";
import { modelOf, outcome, picture, short } from "./model-runs";
import {
  bytesOf,
  type Fill,
  type ModelShape,
  modestWeights,
  type NumberType,
  numberTypes,
  randomBlocks,
  f32,
} from "./model-shapes";

t.setTimeout(14_400_000);

const count = process.env.GME_TEST_LONG === "1" ? 100_000 : 400;
const only = process.env.GME_TEST_MODEL === undefined ? undefined : Number(process.env.GME_TEST_MODEL);

const masks = [0xff, 0x3f, 0x2b, 0x21];
const modest = modestWeights(randomNumbers(1));
const blocks = new Map<string, Fill>(
  numberTypes.flatMap((type, i) =>
    masks.map((mask) => [`${type.name} ${mask}`, randomBlocks(randomNumbers(i), type, mask)] as const),
  ),
);

class Mutator {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = randomNumbers(seed);
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  /** A number of heads that fits the width, now and then one that does not. */
  heads(width: number): number {
    const fitting = [1, 2, 3, 4, 8, 16].filter((heads) => width % (4 * heads) === 0);
    return this.random() < 0.06 || fitting.length === 0 ? this.pick([0, 3, 5, width]) : this.pick(fitting);
  }

  shape(): ModelShape {
    const width = this.pick([4, 8, 12, 16, 32, 32, 64, 64, 96, 128, this.pick([6, 33, 40])]);
    const towerWidth = this.pick([4, 8, 20, 32, 32, 64, 64, 80]);
    const heads = this.heads(width);
    return {
      width,
      heads,
      headsKv: this.pick([1, heads, heads % 2 === 0 ? heads >> 1 : 1, this.random() < 0.1 ? 3 : 1]),
      layers: this.pick([1, 1, 2, 3]),
      feedForward: this.pick([1, 3, 32, 64, 256, Math.min(512, width * 64), width < 9 ? width * 65 : 64]),
      context: this.pick([32, 100, 2048, 2048, 1 << 20]),
      tower: {
        width: towerWidth,
        heads: this.heads(towerWidth),
        layers: this.pick([1, 1, 2]),
        feedForward: this.pick([1, 32, 64, 256, Math.min(512, towerWidth * 64)]),
      },
    };
  }

  /** A type of its own for each matrix, or one for all, among modest numbers. */
  fill(): Fill {
    const one = this.pick(numberTypes);
    const mixed = this.random() < 0.5;
    const mask = this.pick(masks);
    return (name, dims, kind) => {
      const type = mixed ? this.pick(numberTypes) : one;
      return (this.random() < 0.3 ? modest : (blocks.get(`${type.name} ${mask}`) ?? modest))(name, dims, kind);
    };
  }

  number(near: number): number {
    const power = 2 ** this.below(33);
    return this.pick([
      0,
      1,
      2,
      3,
      4,
      near + 1,
      near - 1,
      near * 2,
      near >> 1,
      power,
      power - 1,
      power + 1,
      -1,
      2 ** 31 - 1,
      2 ** 32 - 1,
    ]);
  }

  float(): number {
    return this.pick([0, -1, 1, 1e-12, 1e-2, 1e9, 1e38, 1e-40, Number.NaN, Infinity, -Infinity, 0.5, 1e3, 1e-3]);
  }

  change(tree: GgufTree): void {
    this.pick([
      this.changeNumber,
      this.changeNumber,
      this.changeKey,
      this.changeToken,
      this.changeShape,
      this.changeShape,
      this.changeType,
      this.changeData,
      this.moveTensor,
    ]).call(this, tree);
  }

  changeNumber(tree: GgufTree): void {
    const isNumber = ({ type, element }: GgufEntry) => type !== ggufType.string && element !== ggufType.string;
    const entry = this.pick(tree.keys.filter((other) => /^(qwen2vl|clip)/.test(String(other.key)) && isNumber(other)));
    const next = (): number =>
      entry.type === ggufType.f32 || entry.element === ggufType.f32
        ? this.float()
        : this.number(Number(entry.value) || 8);
    if (Array.isArray(entry.value)) entry.value[this.below(entry.value.length)] = next();
    else entry.value = entry.type === ggufType.bool ? this.below(2) : next();
  }

  changeKey(tree: GgufTree): void {
    const at = this.below(tree.keys.length);
    if (this.random() < 0.4) tree.keys.splice(at, 1);
    else
      tree.keys[at] = {
        key: tree.keys[at].key,
        ...this.pick([
          { type: ggufType.u32, value: this.below(300) },
          { type: ggufType.i64, value: -1 },
          { type: ggufType.f64, value: this.float() },
          { type: ggufType.string, value: "qwen2vl" },
          { type: ggufType.array, element: ggufType.i32, value: [1, 2, 3, 4] },
          { type: ggufType.array, element: ggufType.string, value: ["a", "b"] },
        ]),
      };
  }

  changeToken(tree: GgufTree): void {
    const list = tree.keys.find(({ key }) => String(key).startsWith("tokenizer.ggml.") && this.random() < 0.4)?.value;
    if (!Array.isArray(list) || list.length === 0) return;
    const other: GgufScalar =
      typeof list[0] === "number"
        ? this.number(3) | 0
        : this.pick(["", "a", "a b", "<|im_end|>", "Ġ Ġ", "日", "q".repeat(4096)]);
    this.pick([
      () => list.splice(this.below(list.length), 1),
      () => list.push(other),
      () => list.splice(this.below(list.length), 1, other),
    ])();
  }

  changeShape(tree: GgufTree): void {
    const tensor = this.pick(tree.tensors);
    const dims = tensor.dims.map(Number);
    const i = this.below(dims.length);
    const next = this.pick([
      [...dims].reverse(),
      dims.map((side, j) => (i === j ? Math.max(1, side + this.pick([-1, 1, 4, 32])) : side)),
      [...dims, 1].slice(0, 4),
      [dims.reduce((n, side) => n * side, 1)],
    ]);
    this.resize(tensor, next, numberTypes.find(({ id }) => id === tensor.type) ?? f32);
  }

  changeType(tree: GgufTree): void {
    const tensor = this.pick(tree.tensors);
    this.resize(tensor, tensor.dims.map(Number), this.pick(numberTypes));
  }

  resize(tensor: GgufTree["tensors"][number], dims: number[], type: NumberType): void {
    const data = Buffer.alloc(Math.min(1 << 22, Math.ceil(bytesOf(type, dims))));
    tensor.data.copy(data);
    Object.assign(tensor, { dims, type: type.id, data });
  }

  changeData(tree: GgufTree): void {
    const tensor = this.pick(tree.tensors);
    tensor.data = Buffer.from(tensor.data);
    tensor.data.fill(this.pick([0, 0x7f, 0xff, 0x80]), this.below(tensor.data.length));
  }

  moveTensor(tree: GgufTree): void {
    const at = this.below(tree.tensors.length);
    const [tensor] = tree.tensors.splice(at, 1);
    if (this.random() < 0.5) tree.tensors.unshift(tensor);
    if (this.random() < 0.2) tree.tensors.push({ ...tensor, name: "blk.9.attn_q.weight" });
  }
}

/** "CODE" of a refusal, or what the inputs come to. */
async function tryModel(seed: number): Promise<string> {
  const mutator = new Mutator(seed);
  const tree = modelOf(mutator.shape(), mutator.fill());
  for (let n = mutator.pick([0, 0, 1, 1, 2, 3]); n > 0; n--) mutator.change(tree);
  const files = writeHostile({ single: tree });
  try {
    const model = await loadHostile(files.path);
    const found = [await outcome(model, short), await outcome(model, picture)];
    await model.close();
    const other = found.find((each) => !/^(finite|GME_TEXT_TOO_LONG|embedding|decoder\.|vision\.)/.test(each));
    return other ?? (found.includes("finite") ? "embeds" : found[0].startsWith("GME_") ? found[0] : "GME_NON_FINITE");
  } catch (error) {
    return error instanceof GmeError ? error.code : `not a GmeError: ${error}`;
  } finally {
    removeHostile(files);
  }
}

const never = /GME_(INTERNAL|ENGINE_CRASHED|OUT_OF_MEMORY|IO_ERROR)|^not|^a vector/;

t.test("G093 models changed at random are refused with a reason or embed", { timeout: 14_400_000 }, async (t) => {
  const counts = new Map<string, number>();
  const wrong: string[] = [];
  for (let seed = only ?? 0; seed < (only === undefined ? count : only + 1); seed++) {
    const found = await tryModel(seed);
    if (never.test(found)) wrong.push(`${seed}: ${found}`);
    counts.set(found, (counts.get(found) ?? 0) + 1);
  }
  const sorted = [...counts].sort(([, a], [, b]) => b - a).map(([code, n]) => `${code} ${n}`);
  t.strictSame(wrong, [], sorted.join(", "));
  if (only === undefined)
    t.ok((counts.get("embeds") ?? 0) > count / 20 && counts.size > 6, "some embed, some are refused");
  t.comment(`count malformed-files: ${count}`);
  t.comment(`G093: ${count} models changed at random: ${sorted.join(", ")}`);
});
