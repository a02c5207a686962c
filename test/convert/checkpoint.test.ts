import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { exportTokenizer } from "../../lib/convert/tokenizer-export";
import { convert } from "../../lib/index";
import { gme } from "../helpers/cli";
import { fixture, root, temporaryFolder } from "../helpers/fixtures";
import { checkpointVariant } from "./checkpoint-variant";
import { type GgufContents, readGguf } from "./gguf-contents";

const folder = temporaryFolder();
const target = (name: string) => join(folder, `${name}.gguf`);
/** What the single file says otherwise than the pair: one model instead of two, and the tower's MLP width, which is wrong in the pair. */
const differing = /^general\.(name|architecture|type|size_label)$|^clip\.vision\.feed_forward_length$/;

function compareWithPair(t: Test, ours: GgufContents, pair: readonly GgufContents[]): void {
  const names = new Set(ours.tensors.keys());
  for (const theirs of pair) {
    for (const [name, { ne, type }] of theirs.tensors) {
      if (name === "output.weight") continue;
      const tensor = ours.tensors.get(name);
      if (!t.same(tensor && [tensor.ne, tensor.type.name], [ne, type.name], name)) return;
      t.ok(ours.data.get(name)?.equals(theirs.data.get(name) as Buffer), `${name} has the same bytes`);
      names.delete(name);
    }
    for (const [key, value] of theirs.metadata) {
      if (!differing.test(key)) t.same(ours.metadata.get(key), value, key);
    }
  }
  t.same([...names], [], "nothing is left over");
}

for (const [model, mlpWidth] of [
  ["tiny-a", 320],
  ["tiny-b", 256],
] as const) {
  t.test(`${model} converts to the keys and tensors of llama.cpp's pair, bit for bit`, async (t) => {
    const summary = await convert({ source: fixture("checkpoints", model), target: target(model), type: "f32" });
    const pair = [
      await readGguf(fixture("gguf", `${model}-f32.gguf`)),
      await readGguf(fixture("gguf", `mmproj-${model}-f32.gguf`)),
    ];
    const ours = await readGguf(target(model));
    compareWithPair(t, ours, pair);
    t.equal(ours.metadata.get("clip.vision.feed_forward_length")?.value, mlpWidth, "the tower's MLP width is right");
    t.same(summary.unneeded, model === "tiny-b" ? ["lm_head.weight"] : []);
    t.same(Object.keys(summary.types), ["f32"]);
    t.equal(summary.tensors, ours.tensors.size);
  });

  t.test(`the pair of ${model}, in either order, joins to one file`, async (t) => {
    const files = [fixture("gguf", `mmproj-${model}-f32.gguf`), fixture("gguf", `${model}-f32.gguf`)] as const;
    await convert({ source: files, target: target(`${model}-joined`) });
    const joined = await readGguf(target(`${model}-joined`));
    compareWithPair(t, joined, [await readGguf(files[1]), await readGguf(files[0])]);
    t.equal(joined.metadata.get("clip.vision.feed_forward_length")?.value, mlpWidth);
    t.equal(joined.metadata.get("general.architecture")?.value, "qwen2vl");
  });
}

t.test("a joined pair can be given another type, and then equals the converted checkpoint", async (t) => {
  const files = [fixture("gguf", "tiny-a-f32.gguf"), fixture("gguf", "mmproj-tiny-a-f32.gguf")] as const;
  await convert({ source: files, target: target("joined-f16"), type: "f16" });
  await convert({ source: fixture("checkpoints", "tiny-a"), target: target("a-f16"), type: "f16" });
  const [joined, converted] = [await readGguf(target("joined-f16")), await readGguf(target("a-f16"))];
  for (const [name, bytes] of converted.data) t.ok(joined.data.get(name)?.equals(bytes), name);
  t.equal(joined.metadata.get("general.file_type")?.value, 1);
});

t.test("bf16 shards keep their bytes as bf16, and their values as f32", async (t) => {
  const source = fixture("more", "checkpoint-tiny-b-bf16-sharded");
  await convert({ source, target: target("bf16"), type: "bf16" });
  await convert({ source, target: target("bf16-as-f32"), type: "f32" });
  const [narrow, wide] = [await readGguf(target("bf16")), await readGguf(target("bf16-as-f32"))];
  const shards = [1, 2].map((n) => readFileSync(join(source, `model-0000${n}-of-00002.safetensors`)));
  for (const [name, { type }] of narrow.tensors) {
    const [bytes, f32] = [narrow.data.get(name) as Buffer, wide.data.get(name) as Buffer];
    const isMatrix = type.name === "bf16";
    t.equal(
      isMatrix,
      /weight$/.test(name) && !/norm|\.ln[12]\.|post_ln|patch_embd/.test(name),
      `${name} is ${type.name}`,
    );
    if (!isMatrix) t.ok(bytes.equals(f32), name);
    else if (shards.every((shard) => !shard.includes(bytes))) t.fail(`${name} is not in the shards as it is`);
    else
      for (let i = 0; i < bytes.length; i += 2)
        if (f32.readUInt32LE(2 * i) !== bytes.readUInt16LE(i) * 65_536) t.fail(`${name}[${i / 2}]`);
  }
  t.equal(narrow.metadata.get("general.file_type")?.value, 32);
});

t.test("the picture's token budget comes from preprocessor_config.json", async (t) => {
  const { metadata } = await readGguf(join(root, "models", "emoji-tiny-f16.gguf"));
  t.equal(metadata.get("gme.image_tokens_min")?.value, 16);
  t.equal(metadata.get("gme.image_tokens_max")?.value, 16);
  t.equal(metadata.get("gme.positions")?.value, "sequential");
  t.equal(metadata.get("gme.loader_resize")?.value, true);
  t.equal(metadata.get("gme.default_instruction")?.value, "You are a helpful assistant.");
});

t.test("gme convert makes the committed demonstration model again, byte for byte", async (t) => {
  const out = target("emoji");
  const { code, stdout, stderr } = await gme([
    "convert",
    fixture("checkpoints", "emoji-tiny"),
    "--type",
    "f16",
    "-o",
    out,
    "--json",
  ]);
  t.equal(code, 0, stderr);
  t.equal(JSON.parse(stdout.toString()).parameters, 3_273_408);
  t.ok(readFileSync(out).equals(readFileSync(join(root, "models", "emoji-tiny-f16.gguf"))));
  const again = await gme(["convert", fixture("checkpoints", "emoji-tiny"), "-o", out]);
  t.equal(again.code, 1);
  t.match(again.stderr, /GME_TARGET_EXISTS/);
  t.equal((await gme(["convert", "a", "b", "c", "-o", out])).code, 2);
});

t.test("vocab.json with merges.txt gives the tokens of tokenizer.json", async (t) => {
  const copy = checkpointVariant({});
  rmSync(join(copy, "tokenizer.json"));
  t.same(
    await exportTokenizer(copy, 2_272, 2_256),
    await exportTokenizer(fixture("checkpoints", "tiny-a"), 2_272, 2_256),
  );
});
