// Models that no one makes and that are accepted all the same: sizes at their limits, types side by side, keys at their ends. Each embeds
// a text, a text of two chunks, a picture and both; what would fail inside ggml ends the process and with it this test.
import t, { type Test } from "tap";
import type { LoadOptions } from "../../lib/index";
import { randomNumbers } from "../lifetime/native-model";
import type { GgufTree } from "./gguf-tree";
import { arrayOf, both, dropKey, type Edit, edited, f32, setKey, text, typed, u32 } from "./model-edits";
import { chunks, fused, modelOf, outcome, picture, short, withModel } from "./model-runs";
import {
  blockShape,
  type ModelShape,
  modestWeights,
  numberTypes,
  randomBlocks,
  smallShape,
  typeNamed,
} from "./model-shapes";

t.jobs = 1;

let [models, items] = [0, 0];

async function embeds(
  t: Test,
  title: string,
  tree: GgufTree,
  allowed = "finite",
  options?: LoadOptions,
): Promise<void> {
  const found: string[] = [];
  await withModel(
    tree,
    async (model) => {
      for (const input of [short, chunks, picture, fused]) found.push(await outcome(model, input));
    },
    options,
  );
  models++;
  items += found.length;
  t.ok(
    found.every((each) => each === allowed),
    `${title}: ${[...new Set(found)].join(", ")}`,
  );
}

const shaped = (change: (shape: ModelShape) => void): GgufTree => {
  const shape = smallShape();
  shape.layers = 1;
  shape.tower.layers = 1;
  change(shape);
  return modelOf(shape, modestWeights(randomNumbers(11)));
};

const changed = (...edits: Edit[]): GgufTree =>
  edited(
    shaped(() => undefined),
    both(...edits),
  );

t.test("G093 sizes at their limits are accepted and embed", async (t) => {
  const decoders: [number, number, number][] = [
    [4, 1, 1],
    [8, 2, 1],
    [12, 1, 1],
    [12, 3, 3],
    [20, 1, 1],
    [20, 5, 1],
    [36, 3, 3],
    [44, 11, 11],
    [100, 5, 1],
    [256, 64, 1],
    [256, 64, 64],
    [256, 1, 1],
    [512, 1, 1],
  ];
  for (const [width, heads, headsKv] of decoders)
    await embeds(
      t,
      `width ${width}, ${heads} heads, ${headsKv} of keys`,
      shaped((shape) => Object.assign(shape, { width, heads, headsKv })),
    );
  const towers: [number, number, number][] = [
    [4, 1, 1],
    [8, 2, 3],
    [12, 1, 12 * 64],
    [20, 5, 5],
    [36, 3, 1],
    [100, 5, 7],
    [128, 32, 64],
  ];
  for (const [width, heads, feedForward] of towers)
    await embeds(
      t,
      `a tower of width ${width}, ${heads} heads, MLP ${feedForward}`,
      shaped((shape) => Object.assign(shape.tower, { width, heads, feedForward })),
    );
  for (const feedForward of [1, 2, 3, 17, 33, 32 * 64])
    await embeds(
      t,
      `an MLP of ${feedForward}`,
      shaped((shape) => Object.assign(shape, { feedForward })),
    );
  await embeds(
    t,
    "64 layers in both parts",
    shaped((shape) => Object.assign(shape, { layers: 64, tower: { ...shape.tower, layers: 64 } })),
  );
  await embeds(
    t,
    "a head of 1,024",
    shaped((shape) => Object.assign(shape, { width: 1024, heads: 1, feedForward: 8 })),
  );
});

t.test("G072 a context of 32 holds no prompt, one of 2^20 holds any", async (t) => {
  await embeds(
    t,
    "32",
    shaped((shape) => Object.assign(shape, { context: 32 })),
    "GME_TEXT_TOO_LONG",
  );
  await embeds(
    t,
    "2^20",
    shaped((shape) => Object.assign(shape, { context: 1 << 20 })),
  );
});

t.test("G073 numbers at the ends of their ranges are accepted and embed", async (t) => {
  for (const theta of [1, 1e9])
    await embeds(t, `a base of ${theta}`, changed(setKey("qwen2vl.rope.freq_base", f32(theta))));
  for (const eps of [1e-12, 1e-2])
    await embeds(
      t,
      `epsilons of ${eps}`,
      changed(
        ...["qwen2vl.attention.layer_norm_rms_epsilon", "clip.vision.attention.layer_norm_epsilon"].map((key) =>
          setKey(key, typed("f64", eps)),
        ),
      ),
    );
  for (const sections of [
    [8, 0, 0, 0],
    [0, 8, 0, 0],
    [0, 0, 8, 0],
    [1, 6, 1, 0],
  ])
    await embeds(
      t,
      `sections ${sections}`,
      changed(setKey("qwen2vl.rope.dimension_sections", arrayOf("i32", sections))),
      "finite",
      { positions: "mrope" },
    );
  await embeds(
    t,
    "no sections, mrope by the file",
    changed(dropKey("qwen2vl.rope.dimension_sections"), setKey("gme.positions", text("mrope"))),
  );
  for (const [mean, std] of [
    [1000, 1e-3],
    [-1000, 999],
    [0, 1e-3],
  ])
    await embeds(
      t,
      `mean ${mean}, deviation ${std}`,
      changed(
        setKey("clip.vision.image_mean", arrayOf("f32", [mean, mean, mean])),
        setKey("clip.vision.image_std", arrayOf("f32", [std * 1.0001, std * 1.0001, std * 0.9999 + 2e-7])),
      ),
    );
  await embeds(
    t,
    "gme.image_tokens 1 to 1",
    changed(setKey("gme.image_tokens_min", u32(1)), setKey("gme.image_tokens_max", u32(1))),
  );
});

t.test("G041 every alignment is accepted, mapped or read", async (t) => {
  for (const alignment of [8, 16, 32, 64, 4096, 65536])
    for (const mmap of [true, false]) {
      const tree = changed(setKey("general.alignment", u32(alignment)));
      await embeds(t, `${alignment}, ${mmap ? "mapped" : "read"}`, { ...tree, alignment }, "finite", { mmap });
    }
});

t.test("G093 every type of matrices embeds, alone and beside every other", async (t) => {
  const shape = { ...blockShape(), layers: 1, tower: { width: 256, layers: 1, heads: 4, feedForward: 256 } };
  const kinds = numberTypes.map((type, i) => randomBlocks(randomNumbers(20 + i), type, 0x21));
  const modest = modestWeights(randomNumbers(20));
  // Bytes that are modest in blocks are next to nothing in floats and in exponents of 8 bits.
  const tiny = ["f32", "bf16", "mxfp4", "nvfp4"];
  for (const [i, { name }] of numberTypes.entries())
    if (!tiny.includes(name)) await embeds(t, `all ${name}, token embeddings too`, modelOf(shape, kinds[i]));
  let turn = 0;
  for (let round = 0; round < 4; round++)
    await embeds(
      t,
      `types mixed, ${round}`,
      modelOf(shape, (name, dims, kind) =>
        (kind === "matrix" ? kinds[turn++ % kinds.length] : modest)(name, dims, kind),
      ),
    );
  const q4 = randomBlocks(randomNumbers(1), typeNamed("q4_0"), 0x21);
  const narrow = { ...smallShape(), width: 32, heads: 1, feedForward: 32 };
  await embeds(t, "blocks of 32 in rows of 32", modelOf(narrow, q4));
});

t.teardown(() => t.comment(`G093: ${models} odd models embed ${items} items, no assertion reached`));
