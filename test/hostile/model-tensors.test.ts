// G092–G095: every tensor against the architecture.
import t from "tap";
import { decoderTree, loadHostile, mmprojTree, singleTree } from "./gguf-models";
import { removeHostile, writeHostile } from "./gguf-refusal";
import type { GgufTensorEntry } from "./gguf-tree";
import {
  acceptedBoth,
  dropTensor,
  type Edit,
  edited,
  inPair,
  inSingle,
  type Part,
  refusedBoth,
  reshapeTensor,
  tensorField,
  modelRow as row,
} from "./model-edits";
import { bytesOf, f32, type NumberType, typeNamed } from "./model-shapes";
import { RefusalLoop } from "./model-loops";

t.jobs = 1;

const required: [Part, GgufTensorEntry[]][] = [
  ["decoder", decoderTree().tensors],
  ["tower", mmprojTree().tensors],
];

/** Types that a file may hold and no matrix may have. */
const others: NumberType[] = (
  [
    [9, "q8_1", 32, 36],
    [15, "q8_K", 256, 292],
    [24, "i8", 1, 1],
    [25, "i16", 1, 2],
    [26, "i32", 1, 4],
    [27, "i64", 1, 8],
    [28, "f64", 1, 8],
  ] as const
).map(([id, name, block, bytes]) => ({ id, name, block, bytes }));

const reshape = (name: string, dims: number[], type = f32): Edit =>
  reshapeTensor(name, dims, type.id, bytesOf(type, dims));

t.test("G092 each required tensor that is missing is named", async (t) => {
  const loop = await RefusalLoop.begin(t, "G092");
  for (const [part, tensors] of required)
    for (const name of tensors.map((tensor) => String(tensor.name))) {
      const expected = { code: "GME_TENSOR_MISSING", field: tensorField(name) };
      await loop.refuse(`without ${name}, in the pair`, inPair(part, dropTensor(name)), expected);
      await loop.refuse(`without ${name}, in the single file`, inSingle(dropTensor(name)), expected);
    }
  await loop.end(188);
});

/** Other shapes of as many or nearly as many numbers. */
function wrongShapes(dims: number[]): number[][] {
  const product = dims.reduce((n, side) => n * side, 1);
  const shapes = dims.flatMap((side, i) =>
    [side + 1, side - 1].map((other) => dims.map((old, j) => (j === i ? other : old))),
  );
  if (dims.length === 1) shapes.push([dims[0], 1], [1, dims[0]], [dims[0], 1, 1], [dims[0], 2]);
  if (dims.length === 2)
    shapes.push([...dims].reverse(), [product], [...dims, 1], [...dims, 1, 1], [...dims, 2], [1, ...dims]);
  if (dims.length === 4)
    shapes.push(
      [...dims].reverse(),
      [product / dims[3], dims[3]],
      [dims[1] * dims[0], 1, dims[2], dims[3]],
      [product],
      [14, 14, 1, dims[3]],
    );
  return shapes.filter((shape) => JSON.stringify(shape) !== JSON.stringify(dims));
}

t.test("G093 each required tensor of another shape is refused with both shapes", async (t) => {
  const loop = await RefusalLoop.begin(t, "G093");
  for (const [part, tensors] of required)
    for (const { name, dims } of tensors)
      for (const shape of wrongShapes(dims.map(Number))) {
        // A wrong width of the MLP shows at whichever of its two matrices comes first.
        const field = /v\.blk\.\d\.ffn/.test(String(name))
          ? /\.ffn_(up|down)\.(weight|bias)"\]\.ne$/
          : tensorField(String(name), ".ne");
        const files = inPair(part, reshape(String(name), shape));
        const isRowCount = name === "token_embd.weight" && shape.length === 2 && shape[0] === Number(dims[0]);
        const expected = isRowCount
          ? { code: "GME_TOKENIZER_BAD", field: "tokenizer.ggml.tokens" }
          : { code: "GME_TENSOR_SHAPE", field };
        await loop.refuse(`${name} ${shape.join("×")}`, files, expected);
      }
  await loop.end(700);
});

t.test("G093 each required tensor of a type that its place does not take is refused", async (t) => {
  const loop = await RefusalLoop.begin(t, "G093");
  const f16 = typeNamed("f16");
  for (const [part, tensors] of required)
    for (const { name, dims } of tensors) {
      const shape = dims.map(Number);
      const fits = ({ block }: NumberType) => shape[0] % block === 0;
      const wrong =
        shape.length === 1
          ? [f16, typeNamed("bf16"), typeNamed("q8_0"), others[2], others[6]]
          : shape.length === 4
            ? [others[3], others[6]]
            : [others[0], others[2], others[6]];
      for (const type of wrong.filter(fits))
        await loop.refuse(`${name} as ${type.name}`, inPair(part, reshape(String(name), shape, type)), {
          code: "GME_TENSOR_TYPE",
          field: tensorField(String(name), ".type"),
        });
    }
  await loop.end(300);
});

row(t, "G094", "token embeddings of a type that no row can be read from are refused", async (t) => {
  const [name, rows] = ["token_embd.weight", Number(decoderTree().tensors[0].dims[1])];
  for (const type of others) {
    const width = Math.max(64, type.block);
    const expected =
      width === 64 ? { code: "GME_TENSOR_TYPE", field: tensorField(name, ".type") } : { code: "GME_TENSOR_SHAPE" };
    await refusedBoth(t, "G094", type.name, "decoder", reshape(name, [width, rows], type), expected);
  }
  // That rows can be read of every type that is accepted, model-oddities.test.ts shows.
});

row(t, "G095", "unknown tensors are accepted and listed", async (t) => {
  const more: GgufTensorEntry[] = [
    { name: "rope_freqs.weight", dims: [8], type: 0, data: Buffer.alloc(32) },
    { name: "blk.0.attn_q.scale", dims: [1], type: 0, data: Buffer.alloc(4) },
    { name: "blk.x.weight", dims: [1], type: 28, data: Buffer.alloc(8) },
    { name: "v.position_embd.weight", dims: [2, 2, 2, 2], type: 24, data: Buffer.alloc(16) },
    { name: "__proto__", dims: [1], type: 0, data: Buffer.alloc(4) },
  ];
  const add: Edit = (tree) => tree.tensors.push(...more);
  await acceptedBoth(t, "G095", "five more tensors", "decoder", add);
  await acceptedBoth(t, "G095", "five more tensors in the tower", "tower", add);
  const files = writeHostile({ single: edited(singleTree(), add) });
  const model = await loadHostile(files.path);
  t.strictSame(
    model.info.unusedTensors,
    more.map(({ name }) => name),
    "info.unusedTensors names them",
  );
  await model.close();
  removeHostile(files);
});
