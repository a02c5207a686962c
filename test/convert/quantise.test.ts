import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { binding } from "../../lib/binding";
import { tensorType } from "../../lib/convert/gguf-types";
import { chooseType, countLayers, wantedTypes } from "../../lib/convert/type-choice";
import { type ConvertType, convert, convertTypes, cosine, load } from "../../lib/index";
import { gme } from "../helpers/cli";
import { fixture, imageFixture, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { readGguf } from "./gguf-contents";

const folder = temporaryFolder();
const target = (name: string) => join(folder, `${name}.gguf`);

function randomRows(rows: number, columns: number): Float32Array {
  let state = 7;
  return Float32Array.from({ length: rows * columns }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const bytesOf = (numbers: Float32Array) => new Uint8Array(numbers.buffer);

t.test("the number of threads does not change the bytes", async (t) => {
  const rows = bytesOf(randomRows(37, 512));
  for (const type of ["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "q4_0"]) {
    const digests = new Set<string>();
    for (const threads of [1, 2, 3, 8, 64]) {
      const quantised = await binding().quantizeRows("f32", rows, type, { columns: 512, threads }).promise;
      t.equal(quantised.length, (37 * 512 * tensorType(type).bytes) / tensorType(type).block);
      digests.add(createHash("sha256").update(quantised).digest("hex"));
    }
    t.equal(digests.size, 1, type);
  }
});

t.test("q8_0 is off by half a step of its block's 127 at most", async (t) => {
  const numbers = randomRows(3, 64);
  const bytes = await binding().quantizeRows("f32", bytesOf(numbers), "q8_0", { columns: 64, threads: 1 }).promise;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let block = 0; block < 6; block++) {
    const values = numbers.subarray(32 * block, 32 * block + 32);
    const scale = Math.max(...values.map(Math.abs)) / 127;
    for (let i = 0; i < 32; i++) {
      const error = Math.abs(view.getInt8(34 * block + 2 + i) * scale - values[i]);
      if (error > 0.51 * scale) t.fail(`block ${block}, number ${i}: off by ${error}`);
    }
  }
});

t.test("rows that are no whole blocks, unknown types and numbers that are not finite are refused", async (t) => {
  const rows = bytesOf(randomRows(1, 64));
  const quantise = (type: string, columns: number, source = rows, threads = 1) =>
    binding().quantizeRows("f32", source, type, { columns, threads }).promise;
  const cases: [string, Promise<unknown>, string][] = [
    ["q4_k", quantise("q4_k", 64), "to"],
    ["no type", quantise("q9_9", 64), "to"],
    ["half a row", quantise("q8_0", 128), "rows"],
    ["no threads", quantise("q8_0", 64, rows, 0), "threads"],
  ];
  for (const [title, promise, field] of cases) {
    t.equal(await promise.catch((error: { field?: string }) => error.field), field, title);
  }
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const numbers = randomRows(1, 64);
    numbers[40] = value;
    await t.rejects(quantise("q8_0", 64, bytesOf(numbers)), { code: "GME_NON_FINITE" }, String(value));
  }
});

t.test("the mixes give more bits to the table, and to v and ffn_down of some layers", (t) => {
  const names = [...Array(28).keys()].map((i) => `blk.${i}.attn_v.weight`);
  const layers = countLayers(names);
  t.same(layers, { decoder: 28, vision: 0 });
  const chosen = (type: ConvertType, name: string, columns = 1536) =>
    chooseType({ name, columns, own: tensorType("f32") }, wantedTypes(type), layers).type.name;
  const higher = names.flatMap((name, i) => (chosen("q4_k_m", name) === "q6_k" ? [i] : []));
  t.same(higher, [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27]);
  t.equal(chosen("q5_k_m", "blk.3.ffn_down.weight"), "q5_k");
  t.equal(chosen("q5_k_m", "blk.24.ffn_down.weight"), "q6_k");
  t.equal(chosen("q4_k_m", "blk.24.ffn_up.weight"), "q4_k");
  for (const type of ["q6_k", "q5_k_m", "q4_k_m", "q4_0"] as const) t.equal(chosen(type, "token_embd.weight"), "q6_k");
  t.equal(chosen("q8_0", "token_embd.weight"), "q8_0");
  t.equal(chosen("q4_k_m", "v.blk.0.attn_q.weight", 1280), "q8_0");
  t.equal(chosen("bf16", "v.blk.0.attn_q.weight", 1280), "bf16");
  const fallback = (columns: number) =>
    chooseType({ name: "blk.0.attn_q.weight", columns, own: tensorType("f32") }, wantedTypes("q4_k_m"), layers);
  t.same([fallback(512).fellBackFrom, fallback(512).type.name], [undefined, "q4_k"]);
  t.same([fallback(160).fellBackFrom, fallback(160).type.name], ["q4_k", "q8_0"]);
  t.same([fallback(100).fellBackFrom, fallback(100).type.name], ["q4_k", "f16"]);
  t.end();
});

/** Least cosines that a random model of two layers keeps to its f32 self; the trained one's stand in docs/models.md. */
const gates: { readonly [type in ConvertType]: number } = {
  f32: 0.999999,
  f16: 0.99999,
  bf16: 0.999,
  q8_0: 0.999,
  q6_k: 0.99,
  q5_k_m: 0.98,
  q4_k_m: 0.95,
  q4_0: 0.95,
};
const fileTypes = { f32: 0, f16: 1, bf16: 32, q8_0: 7, q6_k: 18, q5_k_m: 17, q4_k_m: 15, q4_0: 2 };

async function vectorsOf(path: string): Promise<Float32Array[]> {
  const model = await load(path, { threads: 1 });
  try {
    return await model.embedBatch(["a photo of a cat", { image: imageFixture("tiny-28x28.png") }]);
  } finally {
    await model.close();
  }
}

t.test("a checkpoint becomes a model of every type that embeds alike", async (t) => {
  let reference: Float32Array[] | undefined;
  for (const type of convertTypes) {
    const summary = await convert({ source: fixture("checkpoints", "tiny-a"), target: target(type), type });
    const { metadata, tensors } = await readGguf(target(type));
    t.equal(metadata.get("general.file_type")?.value, fileTypes[type], `${type}: general.file_type`);
    t.equal(metadata.get("general.quantization_version")?.value, 2);
    for (const { name, ne, type: own } of tensors.values()) if (ne.length !== 2) t.equal(own.name, "f32", name);
    const vectors = await vectorsOf(target(type));
    reference ??= vectors;
    for (const [i, vector] of vectors.entries()) {
      const score = cosine(vector, reference[i]);
      t.ok(score >= gates[type], `${type}: ${i === 0 ? "text" : "image"} ${score}`);
    }
    const isQuantised = !["f32", "f16", "bf16"].includes(type);
    t.equal(summary.fellBack.length > 0, isQuantised, `${type}: ${JSON.stringify(summary.fellBack)}`);
  }
});

async function sameTensors(t: Test, one: string, other: string): Promise<void> {
  const [a, b] = [await readGguf(one), await readGguf(other)];
  t.same([...a.data.keys()].sort(), [...b.data.keys()].sort());
  for (const [name, bytes] of a.data) {
    t.equal(b.tensors.get(name)?.type.name, a.tensors.get(name)?.type.name, name);
    t.ok(b.data.get(name)?.equals(bytes), `${name} has the same bytes`);
  }
}

t.test("one GGUF file takes another type, as the checkpoint would have", async (t) => {
  await convert({ source: target("f32"), target: target("retyped"), type: "q4_k_m" });
  await sameTensors(t, target("q4_k_m"), target("retyped"));
  t.equal((await readGguf(target("retyped"))).metadata.get("general.file_type")?.value, 15);
  await convert({ source: target("q8_0"), target: target("copied"), type: "q8_0" });
  await sameTensors(t, target("q8_0"), target("copied"));
  await convert({ source: target("q4_0"), target: target("named"), name: "GME other" });
  t.equal((await readGguf(target("named"))).metadata.get("general.name")?.value, "GME other");
  await convert({ source: target("f32"), target: target("vision"), visionType: "q8_0" });
  const { tensors } = await readGguf(target("vision"));
  t.same([tensors.get("blk.0.attn_q.weight")?.type.name, tensors.get("mm.0.weight")?.type.name], ["f32", "q8_0"]);
});

t.test("numbers that were quantised are not quantised again", async (t) => {
  const call = () => convert({ source: target("q8_0"), target: target("twice"), type: "f16" });
  const error = await rejectsWith(t, call, "GME_TENSOR_TYPE");
  t.equal(error.field, 'tensor["token_embd.weight"].type');
  t.equal(error.value, "q8_0");
});

t.test("a weight that is not finite is named", async (t) => {
  const { tensors } = await readGguf(target("f32"));
  const bytes = readFileSync(target("f32"));
  bytes.writeFloatLE(Number.NaN, tensors.get("blk.1.ffn_up.weight")?.offset);
  writeFileSync(target("nan"), bytes);
  const call = () => convert({ source: target("nan"), target: target("from-nan"), type: "q8_0" });
  const error = await rejectsWith(t, call, "GME_NON_FINITE");
  t.equal(error.field, 'tensor["blk.1.ffn_up.weight"]');
  t.equal(error.file, target("nan"));
});

t.test("gme convert names what fell back, and the tower has a type of its own", async (t) => {
  const source = fixture("checkpoints", "tiny-a");
  const out = target("cli");
  const { code, stdout, stderr } = await gme([
    "convert",
    source,
    "-o",
    out,
    "--type",
    "q4_k_m",
    "--vision-type",
    "f16",
  ]);
  t.equal(code, 0, stderr);
  t.match(stdout.toString(), /\d+ matrices are q8_0, since their rows are no whole blocks of q4_k\./);
  t.equal((await readGguf(out)).tensors.get("mm.0.weight")?.type.name, "f16");
});
