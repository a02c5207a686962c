import { join } from "node:path";
import t from "tap";
import { gme, jsonLines } from "../helpers/cli";
import { fixture, goldenCases, imageFixture, readJson, readTensors, temporaryFolder } from "../helpers/fixtures";
import { pairPath, relativeL2 } from "../helpers/parity";

const folder = temporaryFolder();
const model = ["--model", pairPath("tiny-a")];

t.test("inspect image prints the sizes, widths first", async (t) => {
  const photo = goldenCases("tiny-a").find(({ image }) => image === "photo-1600x1200.jpg");
  const { code, stdout } = await gme(["inspect", "image", imageFixture("photo-1600x1200.jpg")]);
  t.equal(code, 0);
  t.strictSame(jsonLines(stdout), [
    {
      size: photo?.size,
      loader: photo?.loader_size,
      processor: photo?.processor_size,
      gridThw: photo?.grid_thw,
      imageTokens: photo?.n_image_tokens,
    },
  ]);
});

t.test("inspect image knows orientation, limits and the single resize", async (t) => {
  const exif = imageFixture("exif6-480x360.jpg");
  const [upright, stored, small, single] = await Promise.all([
    gme(["inspect", "image", exif]),
    gme(["inspect", "image", exif, "--orientation", "ignore"]),
    gme(["inspect", "image", imageFixture("one-pixel.png"), "--min-image-tokens", "4", "--json"]),
    gme(["inspect", "image", imageFixture("photo-1600x1200.jpg"), "--loader-resize", "off"]),
  ]);
  t.match(jsonLines(upright.stdout)[0], { size: [360, 480] });
  t.match(jsonLines(stored.stdout)[0], { size: [480, 360] });
  t.match(jsonLines(small.stdout)[0], { size: [1, 1], imageTokens: 4 });
  t.match(jsonLines(single.stdout)[0], { loader: [1600, 1200] });
});

t.test("inspect tokens prints the ids of the bare text, one text or one per line", async (t) => {
  const text = await gme(["inspect", "tokens", ...model, "--text", "hello world"]);
  const [{ ids }] = jsonLines(text.stdout) as { ids: number[] }[];
  t.ok(ids.length > 1 && ids.every(Number.isInteger));
  const stdin = '{"text":"hello world"}\n{"id":"x","text":"<|im_end|>"}\n{"id":7}\n';
  const lines = await gme(["inspect", "tokens", ...model, "--jsonl"], { stdin });
  t.equal(lines.code, 3);
  t.match(jsonLines(lines.stdout), [{ ids }, { id: "x" }, { id: 7, error: { code: "GME_INPUT_INVALID" } }]);
  t.equal((jsonLines(lines.stdout)[1].ids as number[]).length, 1, "special strings are the tokenizer's own tokens");
  const plain = await gme(["inspect", "tokens", ...model, "--text", "<|im_end|>", "--special-tokens", "text"]);
  t.ok((jsonLines(plain.stdout)[0].ids as number[]).length > 1);
});

t.test("inspect stages writes the tensors of every stage", async (t) => {
  const traced = goldenCases("tiny-a").find(({ trace }) => trace === "trace-fused.safetensors");
  const golden = readTensors(fixture("tiny-a", "trace-fused.safetensors"));
  const out = join(folder, "stages.safetensors");
  const args = [
    "--text",
    traced?.text as string,
    "--image",
    imageFixture(traced?.image as string),
    "--out",
    out,
    "--json",
  ];
  const { code, stdout, stderr } = await gme(["inspect", "stages", ...model, ...args]);
  t.equal(code, 0, stderr);
  const tensors = readTensors(out);
  t.strictSame([...tensors.keys()].sort(), [...golden.keys()].sort());
  t.equal((jsonLines(stdout)[0].stages as unknown[]).length, golden.size);
  for (const [name, { shape, data }] of tensors) {
    t.strictSame(shape, golden.get(name)?.shape, name);
    t.ok(relativeL2(data, golden.get(name)?.data as Float32Array) <= 1e-4, name);
  }
});

t.test("inspect model lists keys, tensors, type mix and defaults in force", async (t) => {
  const [json, text] = await Promise.all([
    gme(["inspect", "model", pairPath("tiny-b"), "--json"]),
    gme(["inspect", "model", pairPath("tiny-b")]),
  ]);
  const [report] = jsonLines(json.stdout);
  const { hidden_size } = readJson<{ text_config: { hidden_size: number } }>(
    "checkpoints",
    "tiny-b",
    "config.json",
  ).text_config;
  t.match(report, {
    keys: { "general.architecture": "qwen2vl", "qwen2vl.embedding_length": hidden_size },
    types: { f32: { tensors: Number } },
    defaults: { positions: "sequential", minImageTokens: 256, maxImageTokens: 1280, loaderResize: true },
  });
  t.match(report.tensors, [{ name: String, shape: Array, type: String }]);
  t.match(text.stdout.toString(), /qwen2vl\.embedding_length\s+112/);
  t.match(text.stdout.toString(), /token_embd\.weight\s+\[6272, 112\]\s+f32/);
  const bad = await gme(["inspect", "model", imageFixture("one-pixel.png")]);
  t.equal(bad.code, 1);
  t.match(bad.stderr, /GME_GGUF_/);
});
