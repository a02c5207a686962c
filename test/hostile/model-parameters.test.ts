// G063–G077: the decoder's numbers.
import t from "tap";
import { decoderTree } from "./gguf-models";
import { refused } from "./gguf-refusal";
import { type GgufEntry, entryOf, ggufType } from "./gguf-tree";
import {
  acceptedBoth,
  arrayOf,
  both,
  dropKey,
  type Edit,
  f32,
  i32,
  inPair,
  keyField,
  modelRow as row,
  type Part,
  refusedBoth,
  refuseValues,
  setKey,
  tensorField,
  text,
  typed,
  u32,
  type Value,
} from "./model-edits";

t.jobs = 1;

const range = "GME_HPARAM_RANGE";
const wrongType = "GME_GGUF_WRONG_TYPE";
const missing = "GME_GGUF_MISSING_KEY";

const decoderIntegers = [
  "qwen2vl.block_count",
  "qwen2vl.context_length",
  "qwen2vl.embedding_length",
  "qwen2vl.feed_forward_length",
  "qwen2vl.attention.head_count",
  "qwen2vl.attention.head_count_kv",
];
const decoderNumbers = ["qwen2vl.attention.layer_norm_rms_epsilon", "qwen2vl.rope.freq_base"];
const decoderTexts = ["general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre"];
const towerIntegers = ["block_count", "embedding_length", "attention.head_count", "projection_dim", "patch_size"].map(
  (name) => `clip.vision.${name}`,
);
const towerNumbers = ["clip.vision.attention.layer_norm_epsilon"];

const required: [Part, string[]][] = [
  ["decoder", [...decoderTexts, ...decoderIntegers, ...decoderNumbers]],
  ["tower", [...towerIntegers, ...towerNumbers, "clip.vision.image_mean", "clip.vision.image_std"]],
];

row(t, "G063", "another architecture, or none, is refused and the supported one named", async (t) => {
  const key = "general.architecture";
  const refuse = (title: string, edit: Edit, code: string) =>
    refusedBoth(t, "G063", title, "decoder", edit, { code, field: keyField(key) });
  await refuse("missing", dropKey(key), missing);
  await refuse("a number", setKey(key, u32(1)), wrongType);
  await refuse("an array", setKey(key, arrayOf("string", ["qwen2vl"])), wrongType);
  for (const name of ["llama", "", "qwen2", "qwen2.5vl", "QWEN2VL", "clip", "x".repeat(1 << 20)])
    await refuse(JSON.stringify(name.slice(0, 12)), setKey(key, text(name)), "GME_MODEL_UNSUPPORTED");
});

row(t, "G064", "each required key that is missing is named", async (t) => {
  for (const [part, keys] of required)
    for (const key of keys)
      await refusedBoth(t, "G064", `without ${key}`, part, dropKey(key), { code: missing, field: keyField(key) });
  const others: [Part, string, string, string][] = [
    ["decoder", "tokenizer.ggml.tokens", "GME_TOKENIZER_BAD", "tokenizer.ggml.tokens"],
    ["decoder", "tokenizer.ggml.merges", "GME_TOKENIZER_BAD", "tokenizer.ggml.merges"],
    ["decoder", "tokenizer.ggml.token_type", "GME_TOKENIZER_BAD", "tokenizer.ggml.token_type"],
    ["tower", "clip.projector_type", "GME_MODEL_UNSUPPORTED", keyField("clip.projector_type")],
    ["tower", "clip.has_vision_encoder", "GME_GGUF_BAD_VALUE", keyField("clip.has_vision_encoder")],
  ];
  for (const [part, key, code, field] of others)
    await refusedBoth(t, "G064", `without ${key}`, part, dropKey(key), { code, field });
});

row(
  t,
  "G065",
  "a required key of another type is refused, an integer of another width with the same value accepted",
  async (t) => {
    const value = (part: Part, key: string): number => {
      const tree = inPair(part, () => undefined);
      return Number(entryOf((tree.decoder ?? tree.mmproj) as never, key).value);
    };
    const wrong = (type: GgufEntry["type"]): { [name: string]: Value } => ({
      ...(type !== ggufType.f32 && { "as f32": f32(1) }),
      ...(type === ggufType.f32 && { "as u32": u32(1), "as i32": i32(1) }),
      ...(type !== ggufType.string && { "as a string": text("4") }),
      ...(type === ggufType.string && { "as u32": u32(1) }),
      "as a boolean": typed("bool", 1),
      "as an array": arrayOf("u32", [4]),
    });
    for (const [part, integers, numbers] of [
      ["decoder", decoderIntegers, decoderNumbers],
      ["tower", towerIntegers, towerNumbers],
    ] as const) {
      for (const key of integers) await refuseValues(t, "G065", key, wrong(ggufType.u32), wrongType, part);
      for (const key of numbers) await refuseValues(t, "G065", key, wrong(ggufType.f32), wrongType, part);
    }
    for (const key of decoderTexts) await refuseValues(t, "G065", key, wrong(ggufType.string), wrongType);
    await refuseValues(t, "G065", "clip.projector_type", wrong(ggufType.string), wrongType, "tower");
    for (const key of ["clip.vision.image_mean", "clip.vision.image_std"])
      await refuseValues(
        t,
        "G065",
        key,
        { "as f64": arrayOf("f64", [1, 1, 1]), "no array": f32(1) },
        wrongType,
        "tower",
      );
    for (const width of ["i32", "u64", "i64"] as const)
      for (const [part, keys] of [
        ["decoder", decoderIntegers],
        ["tower", towerIntegers],
      ] as const)
        await acceptedBoth(
          t,
          "G065",
          `integers as ${width}`,
          part,
          both(...keys.map((key) => setKey(key, typed(width, value(part, key))))),
        );
    await acceptedBoth(
      t,
      "G065",
      "numbers as f64",
      "decoder",
      both(...decoderNumbers.map((key) => setKey(key, typed("f64", value("decoder", key))))),
    );
  },
);

row(t, "G066", "a number of layers out of range is refused", (t) =>
  refuseValues(t, "G066", "qwen2vl.block_count", {
    "0": u32(0),
    "513": u32(513),
    "2^31": u32(2 ** 31),
    "2·10^8": u32(2e8),
    "2^32-1": u32(2 ** 32 - 1),
    "-1": i32(-1),
    "2^63": typed("u64", 2n ** 63n),
  }),
);

row(t, "G067", "a number of layers other than the tensors' is refused", async (t) => {
  const [key, tower] = ["qwen2vl.block_count", "clip.vision.block_count"];
  for (const [n, part, name] of [
    [4, "decoder", key],
    [512, "decoder", key],
    [4, "tower", tower],
    [512, "tower", tower],
  ] as const)
    await refusedBoth(t, "G067", `${name} ${n}`, part, setKey(name, u32(n)), {
      code: "GME_TENSOR_MISSING",
      field: tensorField(part === "decoder" ? "blk.3.attn_norm.weight" : "v.blk.3.ln1.weight"),
    });
  for (const n of [1, 2]) {
    await refusedBoth(t, "G067", `${key} ${n}`, "decoder", setKey(key, u32(n)), { code: range, field: keyField(key) });
    await refusedBoth(t, "G067", `${tower} ${n}`, "tower", setKey(tower, u32(n)), {
      code: range,
      field: keyField(tower),
    });
  }
  const far: Edit = (tree) =>
    tree.tensors.push({ name: "blk.400.attn_norm.weight", dims: [64], type: 0, data: Buffer.alloc(256) });
  await refusedBoth(t, "G067", "a layer far behind the last", "decoder", far, { code: range, field: keyField(key) });
});

row(t, "G068", "a number of heads that does not divide the width into fours is refused", async (t) => {
  const key = "qwen2vl.attention.head_count";
  const values = [0, 3, 5, 7, 32, 64, 128, 1025, 2 ** 31, 2 ** 32 - 1];
  await refuseValues(t, "G068", key, Object.fromEntries(values.map((n) => [String(n), u32(n)])));
  await refusedBoth(t, "G068", "missing", "decoder", dropKey(key), { code: missing, field: keyField(key) });
});

row(t, "G069", "a number of key heads that does not divide the heads is refused", async (t) => {
  const key = "qwen2vl.attention.head_count_kv";
  await refuseValues(t, "G069", key, Object.fromEntries([0, 3, 5, 2 ** 31].map((n) => [String(n), u32(n)])));
  await refuseValues(t, "G069", key, { "an array": arrayOf("u32", [2, 2, 2]) }, wrongType);
  for (const n of [1, 4])
    await refusedBoth(t, "G069", `${n}, other than the tensors'`, "decoder", setKey(key, u32(n)), {
      code: "GME_TENSOR_SHAPE",
      field: tensorField("blk.0.attn_k.weight", ".ne"),
    });
});

row(t, "G070", "a width out of range or other than the tensors' is refused", async (t) => {
  const key = "qwen2vl.embedding_length";
  await refuseValues(t, "G070", key, Object.fromEntries([0, 1, 2, 3, 65537, 2 ** 31].map((n) => [String(n), u32(n)])));
  for (const n of [32, 128, 65536]) {
    const edit = both(setKey(key, u32(n)), dropKey("qwen2vl.rope.dimension_sections"));
    const expected =
      n === 65536 ? { code: range } : { code: "GME_TENSOR_SHAPE", field: tensorField("token_embd.weight", ".ne") };
    await refused(t, "G070", `${n} for tensors of 64, without a tower`, { single: edit4(edit) }, expected);
    if (n !== 65536)
      await refusedBoth(t, "G070", `${n} for tensors of 64`, "decoder", edit, {
        code: "GME_MMPROJ_MISMATCH",
        field: keyField("clip.vision.projection_dim"),
      });
  }
});

function edit4(edit: Edit) {
  const tree = decoderTree();
  edit(tree);
  return tree;
}

row(t, "G071", "an MLP width other than the tensors' is refused with both shapes", async (t) => {
  const key = "qwen2vl.feed_forward_length";
  for (const n of [1, 64, 159, 161, 320, 4096])
    await refusedBoth(t, "G071", String(n), "decoder", setKey(key, u32(n)), {
      code: "GME_TENSOR_SHAPE",
      field: tensorField("blk.0.ffn_gate.weight", ".ne"),
    });
  await refuseValues(t, "G071", key, {
    "0": u32(0),
    "65 widths": u32(64 * 65),
    "2^20": u32(1 << 20),
    "2^31": u32(2 ** 31),
  });
});

row(t, "G072", "a context length out of range is refused, and the largest sizes nothing", async (t) => {
  const key = "qwen2vl.context_length";
  await refuseValues(
    t,
    "G072",
    key,
    Object.fromEntries([0, 31, (1 << 20) + 1, 2 ** 31, 2 ** 32 - 1].map((n) => [String(n), u32(n)])),
  );
  await acceptedBoth(t, "G072", "2^20", "decoder", setKey(key, u32(1 << 20)));
});

const badNumbers = (values: number[]): { [name: string]: Value } =>
  Object.fromEntries(
    values.flatMap((n) => [
      [`${n} as f32`, f32(n)],
      [`${n} as f64`, typed("f64", n)],
    ]),
  );

row(t, "G073", "a rope base that is no base is refused", async (t) => {
  const key = "qwen2vl.rope.freq_base";
  await refuseValues(t, "G073", key, badNumbers([0, -1, 0.5, Number.NaN, Infinity, -Infinity, 1e38]));
  await refuseValues(t, "G073", key, { "as a string": text("1000000") }, wrongType);
});

row(t, "G074", "an epsilon that is none is refused", async (t) => {
  const values = badNumbers([0, -1e-6, Number.NaN, Infinity, 1e30, 1]);
  await refuseValues(t, "G074", "qwen2vl.attention.layer_norm_rms_epsilon", values);
  await refuseValues(t, "G074", "clip.vision.attention.layer_norm_epsilon", values, range, "tower");
});

row(t, "G075", "rope sections that do not share out half a head are refused", async (t) => {
  const key = "qwen2vl.rope.dimension_sections";
  const sections = {
    none: [],
    "3 numbers": [2, 3, 3],
    "5 numbers": [2, 3, 3, 0, 0],
    "a sum of 7": [2, 3, 2, 0],
    "a sum of 9": [3, 3, 3, 0],
  };
  const more = {
    negative: [-2, 5, 5, 0],
    "a fourth": [2, 3, 2, 1],
    "2^31": [2 ** 31, 3, 3, 0],
    overflowing: [2 ** 31 - 1, 2 ** 31 - 1, 10, 0],
  };
  for (const [name, value] of Object.entries({ ...sections, ...more }))
    await refuseValues(t, "G075", key, {
      [`${name} as i32`]: arrayOf("i32", value),
      [`${name} as u32`]: arrayOf("u32", value),
    });
  const types = {
    "of u8": arrayOf("u8", [2, 3, 3, 0]),
    "of f32": arrayOf("f32", [2, 3, 3, 0]),
    "of strings": arrayOf("string", ["2"]),
    "a number": u32(2),
  };
  await refuseValues(t, "G075", key, types, wrongType);
  await acceptedBoth(t, "G075", "as u32", "decoder", setKey(key, arrayOf("u32", [2, 3, 3, 0])));
});

row(t, "G076", "head lengths other than the heads' are refused", async (t) => {
  for (const name of ["key_length", "value_length"]) {
    const key = `qwen2vl.attention.${name}`;
    await refuseValues(t, "G076", key, Object.fromEntries([0, 15, 17, 32, 1 << 20].map((n) => [String(n), u32(n)])));
    await refuseValues(t, "G076", key, { "as a string": text("16") }, wrongType);
    await acceptedBoth(t, "G076", `${key} 16`, "decoder", setKey(key, u32(16)));
  }
});

row(t, "G077", "another pooling than the last token's is refused", async (t) => {
  const key = "qwen2vl.pooling_type";
  await refuseValues(
    t,
    "G077",
    key,
    Object.fromEntries([0, 1, 2, 4, 99].map((n) => [String(n), u32(n)])),
    "GME_MODEL_UNSUPPORTED",
  );
  await refuseValues(t, "G077", key, { "as a string": text("last") }, wrongType);
  await acceptedBoth(t, "G077", "3, the last token", "decoder", setKey(key, u32(3)));
});
