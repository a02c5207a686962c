import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { binding } from "../../lib/binding";
import { tensorType } from "../../lib/convert/gguf-types";
import { TensorStream } from "../../lib/convert/tensor-stream";
import { type ConvertOptions, convert } from "../../lib/index";
import { gme } from "../helpers/cli";
import { fixture, imageFixture, readJson, readTensors, temporaryFolder } from "../helpers/fixtures";
import { loadReference, Worst } from "../helpers/parity";
import { adapterPrefix, adapterVariant, rename } from "./adapter-variant";
import { type GgufContents, readGguf } from "./gguf-contents";

const folder = temporaryFolder();
const source = fixture("checkpoints", "tiny-a");
const golden = readTensors(fixture("more", "lora-vectors.safetensors"));
const { items } = readJson<{ items: { text: string; image?: string }[] }>("more", "lora-cases.json");
const inputs = items.map(({ text, image }) => ({ text, ...(image && { image: imageFixture(image) }) }));
let made = 0;

async function merged(options: Partial<ConvertOptions> & { lora: string }): Promise<string> {
  const target = join(folder, `${made++}.gguf`);
  await convert({ source, target, type: "f32", ...options });
  return target;
}

const contents = async (options: Partial<ConvertOptions> & { lora: string }) => readGguf(await merged(options));

function differingTensors(a: GgufContents, b: GgufContents): string[] {
  return [...a.data].filter(([name, bytes]) => !b.data.get(name)?.equals(bytes)).map(([name]) => name);
}

for (const [adapter, suffix] of [
  ["old", ""],
  ["new", ""],
  ["rslora-vision", "-rslora-vision"],
] as const) {
  t.test(`the vectors of tiny-a with the ${adapter} adapter are the reference's, in every mode`, async (t) => {
    const file = await merged({ lora: fixture("more", `lora-tiny-a-${adapter}`) });
    const worst = new Worst(`adapter ${adapter}`);
    for (const positions of ["sequential", "mrope"] as const) {
      for (const loaderResize of [true, false]) {
        const model = await loadReference(file, { positions, loaderResize });
        for (const [i, vector] of (await model.embedBatch(inputs)).entries()) {
          const key = `${i}-${positions}${suffix}${loaderResize ? "" : "-single-resize"}`;
          t.ok(worst.add(vector, golden.get(key)?.data), key);
        }
        await model.close();
      }
    }
    t.equal(worst.count, 8);
    worst.report(t);
  });

  t.test(`the file with the ${adapter} adapter runs as SWIFT trains, unless convert was told otherwise`, async (t) => {
    const lora = fixture("more", `lora-tiny-a-${adapter}`);
    const worst = new Worst(`adapter ${adapter}, defaults of the file`);
    const files = {
      [`mrope${suffix}-single-resize`]: await merged({ lora }),
      [`sequential${suffix}`]: await merged({ lora, positions: "sequential", loaderResize: true }),
    };
    for (const [key, file] of Object.entries(files)) {
      const model = await loadReference(file);
      for (const [i, vector] of (await model.embedBatch(inputs)).entries()) {
        t.ok(worst.add(vector, golden.get(`${i}-${key}`)?.data), `${i}-${key}`);
      }
      await model.close();
    }
    worst.report(t);
  });
}

t.test("the file records positions and resize, for a checkpoint without an adapter, too", async (t) => {
  const defaultsOf = async (options: Partial<ConvertOptions>) => {
    const target = join(folder, `${made++}.gguf`);
    await convert({ source, target, ...options });
    const { metadata } = await readGguf(target);
    return [metadata.get("gme.positions")?.value, metadata.get("gme.loader_resize")?.value];
  };
  const lora = fixture("more", "lora-tiny-a-new");
  const pair = [fixture("gguf", "tiny-a-f32.gguf"), fixture("gguf", "mmproj-tiny-a-f32.gguf")] as const;
  t.same(await defaultsOf({}), ["sequential", true]);
  t.same(await defaultsOf({ lora }), ["mrope", false]);
  t.same(await defaultsOf({ lora, positions: "sequential" }), ["sequential", false]);
  t.same(await defaultsOf({ lora, loaderResize: true }), ["mrope", true]);
  t.same(await defaultsOf({ positions: "mrope", loaderResize: false }), ["mrope", false]);
  t.same(await defaultsOf({ source: pair }), [undefined, undefined]);
  t.same(await defaultsOf({ source: pair, positions: "mrope", loaderResize: false }), ["mrope", false]);
});

t.test("the summary lists what was merged, and what was ignored", async (t) => {
  const target = join(folder, "summary.gguf");
  const vision = await convert({ source, target, lora: fixture("more", "lora-tiny-a-rslora-vision") });
  const language = { q_proj: 3, k_proj: 3, v_proj: 3, o_proj: 3, gate_proj: 3, up_proj: 3, down_proj: 3 };
  const tower = { "visual.attn.qkv": 3, "visual.attn.proj": 3, "visual.mlp.fc1": 3, "visual.mlp.fc2": 3 };
  t.same(vision.merged?.targets, { ...language, ...tower, "visual.merger.mlp.0": 1, "visual.merger.mlp.2": 1 });
  t.same(vision.merged?.ranks, [2, 4, 8]);
  t.equal(vision.merged?.base, "tiny-a");
  const more = {
    "base_model.model.lm_head.lora_A.weight": [8, 64],
    "base_model.model.lm_head.lora_B.weight": [2_272, 8],
  };
  const head = await convert({ source, target, force: true, lora: adapterVariant({ more }) });
  t.same(head.merged?.targets, language);
  t.same(head.merged?.ignored, ["lm_head"]);
  t.equal((await convert({ source, target, force: true })).merged, undefined);
});

t.test("names with an adapter's name, and the tower's at either place, are the same modules", async (t) => {
  const plain = await contents({ lora: fixture("more", "lora-tiny-a-rslora-vision") });
  const renamed = adapterVariant({
    of: "rslora-vision",
    header: (header) => {
      for (const name of Object.keys(header).filter((name) => name.includes("lora_"))) {
        rename(
          header,
          name,
          name.replace("model.model.visual", "model.visual").replace(/lora_([AB])/, "lora_$1.default"),
        );
      }
    },
  });
  t.same(differingTensors(plain, await contents({ lora: renamed })), []);
});

t.test("f16 and bf16 factors are merged as the numbers that they are", async (t) => {
  for (const type of ["f16", "bf16"] as const) {
    const convertNumbers = async (from: "f32" | typeof type, to: "f32" | typeof type, bytes: Uint8Array) =>
      Buffer.from(await binding().convertNumbers(from, bytes, to).promise);
    const bytes = adapterBytes("new");
    const narrow = await convertNumbers("f32", type, bytes);
    const wide = await convertNumbers(type, "f32", narrow);
    const rounded = adapterVariant({ data: (data) => wide.copy(data) });
    const stored = adapterVariant({
      as: { dtype: type.toUpperCase(), bytes: (f32) => (f32.length === bytes.length ? narrow : f32.subarray(0, 2)) },
    });
    t.same(differingTensors(await contents({ lora: rounded }), await contents({ lora: stored })), [], type);
  }
});

t.test("the sum is made in f32, and then rounded to the file's type", async (t) => {
  const lora = fixture("more", "lora-tiny-a-rslora-vision");
  const [exact, rounded] = [await contents({ lora }), await contents({ lora, type: "f16" })];
  for (const [name, bytes] of rounded.data) {
    const type = rounded.tensors.get(name)?.type.name === "f16" ? "f16" : "f32";
    const expected = await binding().convertNumbers("f32", exact.data.get(name) as Buffer, type).promise;
    t.ok(bytes.equals(expected), name);
  }
  const plain = join(folder, "plain.gguf");
  await convert({ source, target: plain, type: "f32" });
  const changed = differingTensors(exact, await readGguf(plain));
  t.equal(changed.length, 21 + 3 * (3 + 3) + 2, "every target is changed, qkv in its three parts, and nothing else");
  t.notOk(changed.some((name) => /norm|bias|embd/.test(name)));
});

t.test("patterns are PEFT's: the first that is the name or its end", async (t) => {
  const query = `${adapterPrefix}1.self_attn.q_proj`;
  // Half of alpha on half of b gives the same as a quarter of b alone.
  const scaled = (part: (module: string) => number) => (data: Buffer, header: Record<string, never>) => {
    for (const [name, entry] of Object.entries(header) as [string, { data_offsets: [number, number] }][]) {
      const factor = name.endsWith("lora_B.weight") ? part(name.replace(".lora_B.weight", "")) : 1;
      if (factor === 1 || !entry.data_offsets) continue;
      for (let at = entry.data_offsets[0]; at < entry.data_offsets[1]; at += 4)
        data.writeFloatLE(data.readFloatLE(at) * factor, at);
    }
  };
  const cases: [string, { [pattern: string]: number }, (module: string) => number][] = [
    ["a whole name", { "model.language_model.layers.1.self_attn.q_proj": 16 }, (m) => (m === query ? 0.5 : 1)],
    ["the end of a name", { "layers.1.self_attn.q_proj": 16 }, (m) => (m === query ? 0.5 : 1)],
    ["an expression", { "layers\\.[12]\\..*(q|k)_proj": 16 }, (m) => (/[12]\.self_attn\.[qk]_proj/.test(m) ? 0.5 : 1)],
    ["an end within a part of the name", { roj: 16, proj: 16, _proj: 16 }, () => 1],
    [
      "the first of two",
      { "1.self_attn.q_proj": 16, q_proj: 64 },
      (m) => (m === query ? 0.5 : /q_proj/.test(m) ? 2 : 1),
    ],
    ["an anchor", { "^model.*q_proj": 16, "^layers.*k_proj": 16 }, (m) => (/q_proj/.test(m) ? 0.5 : 1)],
  ];
  for (const [title, alphas, part] of cases) {
    const pattern = adapterVariant({
      config: (config) => {
        config.alpha_pattern = alphas;
      },
    });
    const expected = adapterVariant({ data: scaled(part) });
    t.same(differingTensors(await contents({ lora: pattern }), await contents({ lora: expected })), [], title);
  }
});

t.test("a weight of several pieces gets each row's own update", async (t) => {
  const [rows, columns, rank] = [2_200, 2_048, 3];
  const path = join(folder, "rows.bin");
  // Row i of the weight is i everywhere, b's row i is (i, 1, 0), a's rows are 1, j and sin j: the sum is i + 2 (i + j).
  const numbers = new Float32Array(rows * columns + rank * columns + rows * rank);
  for (let i = 0; i < rows; i++) numbers.fill(i, i * columns, (i + 1) * columns);
  const [a, b] = [numbers.subarray(rows * columns), numbers.subarray((rows + rank) * columns)];
  for (let j = 0; j < columns; j++) {
    for (const [k, number] of [1, j, Math.sin(j)].entries()) a[k * columns + j] = number;
  }
  for (let i = 0; i < rows; i++) b.set([i, 1, 0], i * rank);
  writeFileSync(path, numbers);
  const factor = (name: string, shape: number[], at: number) => {
    const bytes = 4 * shape[0] * shape[1];
    return { name, dtype: "F32", shape, file: path, offset: 4 * at, bytes };
  };
  const update = {
    ...{ module: "m", rank, scale: 2 },
    a: factor("a", [rank, columns], rows * columns),
    b: factor("b", [rows, rank], (rows + rank) * columns),
  };
  const f32 = tensorType("f32");
  const rowBytes = 4 * columns;
  const firstRow = 100;
  const stream = new TensorStream();
  const pieces: Buffer[] = [];
  for await (const piece of stream.pieces({
    ...{ name: "t", ne: [columns, rows - firstRow], type: f32, update: { of: update, firstRow } },
    from: {
      file: path,
      type: f32,
      offset: firstRow * rowBytes,
      runs: rows - firstRow,
      runBytes: rowBytes,
      strideBytes: rowBytes,
    },
  }))
    pieces.push(Buffer.from(piece));
  await stream.close();
  t.ok(pieces.length > 1, `${pieces.length} pieces`);
  const merged = Buffer.concat(pieces);
  let wrong = merged.length === (rows - firstRow) * rowBytes ? 0 : 1;
  for (let i = firstRow; i < rows; i++) {
    for (const j of [0, 1, columns - 1])
      if (merged.readFloatLE(4 * ((i - firstRow) * columns + j)) !== i + 2 * (i + j)) wrong++;
  }
  t.equal(wrong, 0);
});

t.test("the addon takes whole rows and factors that fit them, and nothing else", async (t) => {
  const update = { columns: 3, rank: 2, scale: 1, a: new Uint8Array(24), b: new Uint8Array(16) };
  const add = (type: string, rows: unknown, change: object = {}) =>
    binding().addLowRank(type as "f32", rows as Uint8Array, { ...update, ...change }).promise;
  t.equal((await add("f32", new Uint8Array(24))).length, 24);
  t.equal((await add("bf16", new Uint8Array(12))).length, 24);
  const wrong: [string, unknown, object?][] = [
    ["q8_0", new Uint8Array(24)],
    ["f32", new Uint8Array(20)],
    ["f32", new Uint8Array(0)],
    ["f32", "rows"],
    ["f32", new Uint8Array(24), { rank: 0 }],
    ["f32", new Uint8Array(24), { columns: 2.5 }],
    ["f32", new Uint8Array(24), { scale: "1" }],
    ["f32", new Uint8Array(24), { a: new Uint8Array(20) }],
    ["f32", new Uint8Array(24), { b: new Uint8Array(24) }],
    ["f32", new Uint8Array(24), { b: undefined }],
  ];
  for (const [type, rows, change] of wrong) {
    const title = `${type} ${String(rows).length} ${JSON.stringify(Object.keys(change ?? {}))}`;
    await t.rejects(async () => add(type, rows, change), { code: /^GME_(INPUT|OPTION)_INVALID$/ }, title);
  }
});

t.test("gme convert --lora merges, says what, and names the rule for names", async (t) => {
  const out = join(folder, "cli.gguf");
  const flags = ["convert", source, "--lora", fixture("more", "lora-tiny-a-new"), "-o", out, "--force"];
  const { code, stdout, stderr } = await gme(flags);
  t.equal(code, 0, stderr);
  const said = stdout.toString();
  t.match(said, /merged.*21.*q_proj 3.*down_proj 3/i);
  t.match(said, /mrope/);
  t.match(said, /begin.* with GME/);
  const told = await gme([...flags, "--positions", "sequential", "--loader-resize", "on", "--json"]);
  t.equal(told.code, 0, told.stderr);
  t.equal(JSON.parse(told.stdout.toString()).merged.targets.q_proj, 3);
  const { metadata } = await readGguf(out);
  t.equal(metadata.get("gme.positions")?.value, "sequential");
  t.equal(metadata.get("gme.loader_resize")?.value, true);
  t.equal((await gme([...flags, "--positions", "grid"])).code, 2);
  t.equal((await gme([...flags, "--loader-resize", "maybe"])).code, 2);
});

/** The numbers of an adapter's file. */
function adapterBytes(of: "new"): Buffer {
  let bytes = Buffer.alloc(0);
  adapterVariant({
    of,
    data: (data) => {
      bytes = Buffer.from(data);
    },
  });
  return bytes;
}
