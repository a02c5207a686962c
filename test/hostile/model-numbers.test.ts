// G096: weights that are no numbers, or give none. What leaves the engine is a finite vector of length 1, or GME_NON_FINITE at the first
// stage whose numbers are not finite.
import t, { type Test } from "tap";
import { cosine, type GmeError, type GmeInput } from "../../lib/index";
import { imageFixture } from "../helpers/fixtures";
import { randomNumbers } from "../lifetime/native-model";
import { sameBits } from "./gguf-refusal";
import { type GgufTree, tensorOf } from "./gguf-tree";
import {
  blockShape,
  f32,
  type Fill,
  type ModelShape,
  modestWeights,
  numberTypes,
  randomBlocks,
  smallShape,
} from "./model-shapes";
import { fused, long, modelOf, outcome, picture, short, withModel } from "./model-runs";

t.jobs = 1;

const code = "GME_NON_FINITE";
/** GME_TEST_LONG=1 tries more of the same. */
const isLong = process.env.GME_TEST_LONG === "1";
const clean: GmeInput = { text: "a cat" };

/** The first number of the tensor; of the token embeddings the row of "~", byte 126. */
function poison(tree: GgufTree, name: string, value: number): void {
  const tensor = tensorOf(tree, name);
  tensor.data = Buffer.from(tensor.data);
  tensor.data.writeFloatLE(value, name === "token_embd.weight" ? tildeRow * Number(tensor.dims[0]) * 4 : 0);
}
const tildeRow = "~".charCodeAt(0) - "!".charCodeAt(0); // the vocabulary begins with the printable bytes

function stageOf(name: string): string {
  const layer = /^(v\.)?blk\.(\d+)\./.exec(name);
  if (layer) return `${layer[1] ? "vision.block" : "decoder.layer"}.${layer[2]}`;
  if (name === "token_embd.weight") return "decoder.embed";
  if (name === "output_norm.weight") return "decoder.norm";
  return name.startsWith("v.patch_embd") ? "vision.patch_embed" : "vision.merger";
}

const ofTower = (name: string): boolean => name.startsWith("v.") || name.startsWith("mm.");

t.test("G096 NaN or infinity in any tensor is named by the first stage that shows it", async (t) => {
  const shape = smallShape();
  const good = modelOf(shape, modestWeights(randomNumbers(3)));
  let tried = 0;
  let expected: Float32Array = new Float32Array();
  await withModel(good, async (model) => {
    expected = await model.embed(clean);
    for (const input of [short, long, picture, fused])
      t.equal(await outcome(model, input), "finite", "the good model's are finite");
  });
  const wrong: string[] = [];
  for (const { name } of good.tensors)
    for (const value of isLong ? [Number.NaN, Infinity, -Infinity] : [Number.NaN, Infinity]) {
      const tree = modelOf(shape, modestWeights(randomNumbers(3)));
      poison(tree, String(name), value);
      await withModel(tree, async (model) => {
        const [ofPicture, ofText, ofClean] = [
          await outcome(model, fused),
          await outcome(model, short),
          await outcome(model, clean),
        ];
        const stage = stageOf(String(name));
        const texts = ofTower(String(name)) ? "finite" : stage;
        const isRow = stage === "decoder.embed";
        if (ofPicture !== stage || ofText !== texts || ofClean !== (isRow ? "finite" : texts))
          wrong.push(`${name} ${value}: ${ofPicture}, ${ofText}, ${ofClean}`);
        if (ofClean === "finite" && !sameBits(await model.embed(clean), expected))
          wrong.push(`${name} ${value}: another vector`);
        tried++;
      });
    }
  t.strictSame(wrong, [], `${tried} models with one bad number`);
  t.comment(`G096: ${tried} models with one NaN or infinity, ${3 * tried} items, the first stage named for each`);
});

t.test("G096 NaN is not lost under any type of weights, in few tokens and in many", async (t) => {
  const shape = { ...blockShape(), layers: 2, tower: { ...blockShape().tower, width: 64, heads: 2 } };
  shape.tower.feedForward = 256;
  const wrong: string[] = [];
  let tried = 0;
  for (const type of numberTypes) {
    for (const bad of ["blk.1.ffn_norm.weight", "blk.0.attn_v.bias", "v.blk.0.ln2.weight", "token_embd.weight"]) {
      const blocks = randomBlocks(randomNumbers(5), type, 0x2b);
      const modest = modestWeights(randomNumbers(5));
      const tree = modelOf(shape, (name, dims, kind) =>
        (name === "token_embd.weight" ? modest : blocks)(name, dims, kind),
      );
      poison(tree, bad, Number.NaN);
      await withModel(tree, async (model) => {
        const stage = stageOf(bad);
        for (const input of ofTower(bad) ? [picture] : [short, long]) {
          const found = await outcome(model, input);
          if (found !== stage) wrong.push(`${type.name}, NaN in ${bad}: ${found}`);
          tried++;
        }
      });
    }
  }
  t.strictSame(wrong, [], `${tried} items`);
  t.comment(
    `G096: ${numberTypes.length} types, ${tried} items of models with a NaN in a norm, a bias or a token's row: each named`,
  );
});

/** Counts what comes out; anything but a finite vector or GME_NON_FINITE fails. */
async function tryAll(t: Test, title: string, tree: GgufTree, counts: Map<string, number>): Promise<void> {
  await withModel(tree, async (model) => {
    for (const input of [short, long, picture, fused]) {
      const found = await outcome(model, input);
      const kind = /^(decoder|vision|embedding)/.exec(found)?.[0] ?? found;
      if (kind !== "finite" && kind === found && found !== "embedding") t.fail(`${title}: ${found}`);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
  });
}

const counted = (counts: Map<string, number>): string => [...counts].map(([kind, n]) => `${n} ${kind}`).join(", ");

t.test("G096 random bytes as weights of every type give a finite vector or name a stage", async (t) => {
  const counts = new Map<string, number>();
  for (const [i, type] of numberTypes.entries())
    for (const mask of isLong ? [0xff, 0x7f, 0x3f, 0x2b] : [0xff, 0x2b])
      await tryAll(
        t,
        `${type.name} & ${mask}`,
        modelOf(blockShapeSmall(), randomBlocks(randomNumbers(100 + i), type, mask)),
        counts,
      );
  t.ok((counts.get("finite") ?? 0) > 0 && counts.size > 1, counted(counts));
  t.comment(`G096: random bytes under ${numberTypes.length} types: ${counted(counts)}, nothing else`);
});

function blockShapeSmall(): ModelShape {
  return { ...blockShape(), layers: 1, tower: { ...blockShape().tower, width: 64, heads: 1 } };
}

t.test(
  "G096 weights that are all zero, all NaN, all infinite or as large as floats go are refused when they embed",
  async (t) => {
    const shape = smallShape();
    const filled =
      (value: number): Fill =>
      (_, dims) => ({
        type: f32,
        data: Buffer.from(new Float32Array(dims.reduce((n, side) => n * side, 1)).fill(value).buffer),
      });
    const stages: [number, string, string][] = [
      [0, "embedding", "embedding"],
      [Number.NaN, "decoder.embed", "vision.patch_embed"],
      [Infinity, "decoder.embed", "vision.patch_embed"],
      [3e38, "decoder.layer.0", "vision.patch_embed"],
      [1e-30, "embedding", "embedding"],
    ];
    for (const [value, ofText, ofPicture] of stages)
      await withModel(modelOf(shape, filled(value)), async (model) => {
        t.equal(await outcome(model, short), ofText, `a text, all ${value}`);
        t.equal(await outcome(model, picture), ofPicture, `a picture, all ${value}`);
      });
    for (const type of numberTypes) {
      const tree = modelOf(blockShapeSmall(), (name, dims, kind) => ({
        ...randomBlocks(randomNumbers(1), type, 0)(name, dims, kind),
      }));
      tensorOf(tree, "output_norm.weight").data = Buffer.alloc(4 * 256);
      await withModel(
        tree,
        async (model) =>
          void t.equal(await outcome(model, short), "embedding", `${type.name}, an output norm of zeros`),
      );
    }
    t.comment(
      "G096: all-zero weights end in GME_NON_FINITE at embedding, all-NaN ones at decoder.embed and vision.patch_embed",
    );
  },
);

t.test("G096 f16 and bf16 weights that overflow name their layer", async (t) => {
  for (const [name, bits] of [
    ["f16", 0x7c00],
    ["f16", 0xfc00],
    ["f16", 0x7e01],
    ["bf16", 0x7f80],
    ["bf16", 0x7fc0],
  ] as const)
    for (const bad of ["blk.0.ffn_down.weight", "blk.1.attn_k.weight", "mm.2.weight"]) {
      const type = numberTypes.find((other) => other.name === name) ?? f32;
      const tree = modelOf(smallShape(), (tensor, dims, kind) => {
        if (kind !== "matrix") return modestWeights(randomNumbers(2))(tensor, dims, kind);
        const data = Buffer.alloc(2 * dims[0] * dims[1], 0x29); // small numbers in either type
        if (tensor === bad) data.writeUInt16LE(bits, 0);
        return { type, data };
      });
      await withModel(
        tree,
        async (model) =>
          void t.equal(await outcome(model, picture), stageOf(bad), `${name} ${bits.toString(16)} in ${bad}`),
      );
    }
});

t.test("G096 one bad item of a batch is named, and the others get their vectors", async (t) => {
  for (const type of ["f32", "q8_0", "q4_K"]) {
    const blocks = randomBlocks(randomNumbers(9), numberTypes.find(({ name }) => name === type) ?? f32, 0x2b);
    const modest = modestWeights(randomNumbers(9));
    const tree = modelOf(blockShapeSmall(), (name, dims, kind) =>
      (type === "f32" || name === "token_embd.weight" ? modest : blocks)(name, dims, kind),
    );
    poison(tree, "token_embd.weight", Number.NaN);
    await withModel(tree, async (model) => {
      const good: GmeInput[] = [
        { text: "a cat" },
        picture,
        { text: "a dog" },
        { text: "a fused one", image: imageFixture("tiny-28x28.png") },
      ];
      const inputs: GmeInput[] = [good[0], good[1], { text: "a cat ~" }, good[2], fused, good[3]];
      const expected = await model.embedBatch(good);
      const failure = await model.embedBatch(inputs).catch((error: GmeError) => error);
      t.match(failure, { code, field: "decoder.embed" }, `${type}: the batch is refused`);
      t.ok(
        [2, 4].includes((failure as GmeError).item ?? -1),
        `${type}: it names a bad item, ${(failure as GmeError).item}`,
      );
      const vectors: Float32Array[] = [];
      const bad: number[] = [];
      for await (const { index, error, embedding } of model.embedMany(inputs))
        if (embedding !== undefined) vectors.push(embedding);
        else if (error.code === code && error.field === "decoder.embed") bad.push(index);
      t.strictSame(bad, [2, 4], `${type}: embedMany gives the bad items their errors`);
      // How items are packed follows the clock, and packing changes a vector by rounding.
      t.ok(
        vectors.length === 4 && vectors.every((vector, i) => cosine(vector, expected[i]) > 0.9999),
        `${type}: and the others their vectors`,
      );
      const poisoned = await model.embed({ text: "a cat", prompt: "Find ~." }).catch((error: GmeError) => error);
      t.match(poisoned, { code, field: "decoder.embed" }, `${type}: an instruction with the bad token`);
      t.ok(sameBits((await model.embedBatch(good))[0], expected[0]), `${type}: leaves nothing behind`);
    });
  }
  t.comment("G096: a bad item among good ones is named by embedBatch; embedMany gives the other 4 of 6 their vectors");
});
