// G097–G107: the vision tower's file, by itself and against its decoder.
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { load } from "../../lib/index";
import { fixture, imageFixture, temporaryFolder } from "../helpers/fixtures";
import { testThreads } from "../helpers/parity";
import { decoderPath, decoderTree, goodVector, mmprojPath, mmprojTree, singleTree, vectorOf } from "./gguf-models";
import { refused, refusedAt, removeHostile, sameBits, writeHostile } from "./gguf-refusal";
import { entryOf, writeTree } from "./gguf-tree";
import {
  acceptedBoth,
  arrayOf,
  both,
  dropKey,
  dropTensor,
  edited,
  f32,
  i32,
  keyField,
  modelRow as row,
  refuseValues as refuseValuesOf,
  refusedBoth,
  reshapeTensor,
  setKey,
  tensorField,
  text,
  typed,
  u32,
  type Value,
} from "./model-edits";

t.jobs = 1;

const range = "GME_HPARAM_RANGE";
const unsupported = "GME_MODEL_UNSUPPORTED";
const mismatch = "GME_MMPROJ_MISMATCH";

const refuseValues = (t: Test, id: string, key: string, values: { [name: string]: Value }, code = range) =>
  refuseValuesOf(t, id, key, values, code, "tower");

const numbers = (...values: number[]): { [name: string]: Value } =>
  Object.fromEntries(values.map((n) => [String(n), n < 0 ? i32(n) : u32(n)]));

row(t, "G097", "files in each other's place are refused with a hint", async (t) => {
  const architecture = keyField("general.architecture");
  await refusedAt(
    t,
    "G097",
    "the tower as the model",
    { path: mmprojPath },
    { code: unsupported, field: architecture },
  );
  await refusedAt(
    t,
    "G097",
    "both swapped",
    { path: mmprojPath, tower: decoderPath },
    { code: unsupported, field: architecture },
  );
  const isDecoder = { code: mismatch, field: keyField("clip.projector_type") };
  await refusedAt(t, "G097", "the decoder twice", { path: decoderPath, tower: decoderPath }, isDecoder);
  await refusedAt(
    t,
    "G097",
    "the tower twice",
    { path: mmprojPath, tower: mmprojPath },
    { code: unsupported, field: architecture },
  );
  const empty = { mmproj: edited(mmprojTree(), (tree) => Object.assign(tree, { keys: [], tensors: [] })) };
  await refused(t, "G097", "a tower's file without anything", empty, isDecoder);
  // One file with both parts holds a tower, so that naming it twice says nothing wrong.
  const single = writeHostile({ single: singleTree() });
  t.ok(
    sameBits(await vectorOf(single.path, single.path), await goodVector()),
    "the single file as both: the same vector",
  );
  t.ok(
    sameBits(await vectorOf(decoderPath, single.path), await goodVector()),
    "the single file as the decoder's tower: the same vector",
  );
  removeHostile(single);
});

row(t, "G098", "another projector is refused", async (t) => {
  const key = "clip.projector_type";
  for (const name of ["mlp", "qwen2.5vl_merger", "qwen2vl_merger ", "QWEN2VL_MERGER", "", "ldp", "x".repeat(100_000)])
    await refuseValues(t, "G098", key, { [JSON.stringify(name.slice(0, 20))]: text(name) }, unsupported);
  await refusedBoth(t, "G098", "missing", "tower", dropKey(key), { code: unsupported, field: keyField(key) });
  await refuseValues(t, "G098", key, { "a number": u32(1) }, "GME_GGUF_WRONG_TYPE");
});

row(t, "G099", "a tower of another width than the decoder is refused with both widths and both files", async (t) => {
  const other = fixture("gguf", "mmproj-tiny-b-f32.gguf");
  const expected = { code: mismatch, field: keyField("clip.vision.projection_dim") };
  await refusedAt(t, "G099", "another model's tower", { path: decoderPath, tower: other }, expected);
  const error = await vectorOf(decoderPath, other).catch((error: Error) => error as Error);
  for (const said of [other, decoderPath, "112", "64"])
    t.match((error as Error).message, said, `the message says ${said}`);
  for (const n of [1, 63, 65, 65536])
    await refusedBoth(
      t,
      "G099",
      `projection_dim ${n}`,
      "tower",
      setKey("clip.vision.projection_dim", u32(n)),
      expected,
    );
  // A tower that is only found beside a decoder must not keep texts from working.
  const folder = temporaryFolder();
  const beside = join(folder, "model.gguf");
  writeFileSync(beside, writeTree(decoderTree()));
  copyFileSync(other, join(folder, "mmproj-model.gguf"));
  const model = await load(beside, { threads: testThreads });
  t.equal(model.info.vision, false, "a tower beside it of another width is left alone");
  t.ok((await model.embed("a cat")).every(Number.isFinite), "and texts embed");
  const picture = model.embed({ image: imageFixture("tiny-28x28.png") });
  await t.rejects(
    picture,
    { code: "GME_MODEL_NO_VISION", message: /112 for a decoder of width 64/ },
    "a picture is told why",
  );
  await model.close();
});

row(t, "G100", "a patch size other than 14 is refused", async (t) => {
  const key = "clip.vision.patch_size";
  await refuseValues(t, "G100", key, numbers(0, 1, 7, 13, 15, 16, 28, 65536, 2 ** 31, -14, -1));
});

row(t, "G101", "a merge size other than 2 is refused, and so is another number of frames", async (t) => {
  for (const key of ["clip.vision.spatial_merge_size", "clip.vision.temporal_patch_size"]) {
    await refuseValues(t, "G101", key, numbers(0, 1, 3, 4, 65536, 2 ** 32 - 1, -2));
    await refuseValues(t, "G101", key, { "as f32": f32(2) }, "GME_GGUF_WRONG_TYPE");
    await acceptedBoth(t, "G101", `${key} 2`, "tower", setKey(key, u32(2)));
  }
});

row(t, "G102", "a picture size that is no whole number of patches is refused", async (t) => {
  await refuseValues(t, "G102", "clip.vision.image_size", numbers(0, 1, 7, 14, 27, 29, 559, 561, 65537, 2 ** 31, -560));
  await acceptedBoth(t, "G102", "28", "tower", setKey("clip.vision.image_size", u32(28)));
});

row(t, "G103", "a tower's layers, heads and widths out of range are refused", async (t) => {
  await refuseValues(t, "G103", "clip.vision.block_count", numbers(0, 513, 2e8, 2 ** 31, -1));
  await refuseValues(t, "G103", "clip.vision.attention.head_count", numbers(0, 3, 7, 8, 16, 40, 80, 1025, 2 ** 31));
  await refuseValues(t, "G103", "clip.vision.embedding_length", numbers(0, 1, 3, 65537, 2 ** 31));
  await refuseValues(t, "G103", "clip.vision.projection_dim", numbers(0, 65537, 2 ** 31));
  for (const n of [40, 160])
    await refusedBoth(t, "G103", `embedding_length ${n}`, "tower", setKey("clip.vision.embedding_length", u32(n)), {
      code: "GME_TENSOR_SHAPE",
      field: tensorField("v.patch_embd.weight", ".ne"),
    });
  // Files of llama.cpp's first script say 0 here, later ones the decoder's width: the tensors decide.
  for (const n of [0, 1, 64, 2 ** 31])
    await acceptedBoth(
      t,
      "G103",
      `feed_forward_length ${n}`,
      "tower",
      setKey("clip.vision.feed_forward_length", u32(n)),
    );
  const wide = both(
    ...[0, 1, 2].flatMap((n) => [
      reshapeTensor(`v.blk.${n}.ffn_up.weight`, [80, 80 * 65], 0, 80 * 80 * 65 * 4),
      reshapeTensor(`v.blk.${n}.ffn_up.bias`, [80 * 65], 0, 80 * 65 * 4),
      reshapeTensor(`v.blk.${n}.ffn_down.weight`, [80 * 65, 80], 0, 80 * 80 * 65 * 4),
    ]),
  );
  await refused(
    t,
    "G103",
    "an MLP 65 times as wide",
    { mmproj: edited(mmprojTree(), wide) },
    { code: "GME_TENSOR_SHAPE", field: tensorField("v.blk.0.ffn_up.weight", ".ne") },
  );
});

row(t, "G104", "a normalisation that is none is refused", async (t) => {
  for (const name of ["image_mean", "image_std"]) {
    const key = `clip.vision.${name}`;
    const odd = name === "image_std" ? [0, -1, 1e-4] : [];
    const values = [...odd, Number.NaN, Infinity, -Infinity, 1e30, -1e30];
    for (let channel = 0; channel < 3; channel++)
      await refuseValues(
        t,
        "G104",
        key,
        Object.fromEntries(
          values.map((n) => [
            `${n} in channel ${channel}`,
            arrayOf(
              "f32",
              [0.5, 0.5, 0.5].map((good, i) => (i === channel ? n : good)),
            ),
          ]),
        ),
      );
    for (const n of [0, 1, 2, 4])
      await refuseValues(t, "G104", key, { [`${n} numbers`]: arrayOf("f32", Array(n).fill(0.5)) });
    const types = {
      "of u8": arrayOf("u8", [1, 1, 1]),
      "of f64": arrayOf("f64", [1, 1, 1]),
      "of strings": arrayOf("string", ["1", "1", "1"]),
      "a number": f32(0.5),
    };
    await refuseValues(t, "G104", key, types, "GME_GGUF_WRONG_TYPE");
    await refusedBoth(t, "G104", `no ${name}`, "tower", dropKey(key), {
      code: "GME_GGUF_MISSING_KEY",
      field: keyField(key),
    });
  }
});

row(t, "G105", "a patch frame that is missing or of another shape is refused", async (t) => {
  const width = Number(entryOf(mmprojTree(), "clip.vision.embedding_length").value);
  for (const name of ["v.patch_embd.weight", "v.patch_embd.weight.1"]) {
    await refusedBoth(t, "G105", `no ${name}`, "tower", dropTensor(name), {
      code: "GME_TENSOR_MISSING",
      field: tensorField(name),
    });
    for (const dims of [
      [14, 14, 3, width + 4],
      [14, 14, 4, width],
      [14, 13, 3, width],
      [28, 7, 3, width],
      [588, width],
      [14, 14, 3, 1],
    ])
      await refusedBoth(
        t,
        "G105",
        `${name} ${dims.join("×")}`,
        "tower",
        reshapeTensor(
          name,
          dims,
          0,
          dims.reduce((n, side) => n * side, 4),
        ),
        {
          code: "GME_TENSOR_SHAPE",
          field: tensorField(name, ".ne"),
        },
      );
  }
});

row(t, "G106", "a file that does not say that it holds a tower is refused", async (t) => {
  const key = "clip.has_vision_encoder";
  const values = {
    false: typed("bool", 0),
    "a number": u32(1),
    "a string": text("true"),
    "an array": arrayOf("bool", [1]),
  };
  await refuseValues(t, "G106", key, values, "GME_GGUF_BAD_VALUE");
  await refusedBoth(t, "G106", "missing", "tower", dropKey(key), { code: "GME_GGUF_BAD_VALUE", field: keyField(key) });
});

row(t, "G107", "keys of other towers are never read", async (t) => {
  const keys: [string, Value][] = [
    ["clip.vision.n_wa_pattern", u32(0)],
    ["clip.vision.window_size", u32(0)],
    ["clip.vision.wa_layer_indexes", arrayOf("i32", [-1, 2 ** 31 - 1])],
    ["clip.vision.fullatt_block_indexes", arrayOf("i32", [7, 15])],
    ["clip.vision.projector.scale_factor", u32(0)],
    ["clip.vision.image_grid_pinpoints", arrayOf("i32", [0, 0])],
    ["clip.audio.block_count", u32(2 ** 31)],
  ];
  for (const [key, value] of keys) await acceptedBoth(t, "G107", key, "tower", setKey(key, value));
  await acceptedBoth(t, "G107", "all of them", "tower", both(...keys.map(([key, value]) => setKey(key, value))));
});
