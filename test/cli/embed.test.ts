import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { GmeInput } from "../../lib/index";
import { gme, jsonLines } from "../helpers/cli";
import { imageFixture, temporaryFolder } from "../helpers/fixtures";
import { loadReference, maxDelta, pairPath } from "../helpers/parity";

const folder = temporaryFolder();
const model = pairPath("tiny-a");
const image = imageFixture("tiny-28x28.png");
const base = ["embed", "--model", model, "--orientation", "ignore"];

async function golden(inputs: GmeInput[], options = {}): Promise<Float32Array[]> {
  const gme = await loadReference(model);
  const vectors: Float32Array[] = [];
  for (const input of inputs) vectors.push(await gme.embed(input, options));
  await gme.close();
  return vectors;
}

const same = (numbers: unknown, vector: Float32Array) => maxDelta(Float32Array.from(numbers as number[]), vector) === 0;

t.test("text and picture come from an argument, a file or stdin", async (t) => {
  const prompt = "Find an image that matches the given text.";
  const [text, picture, fused, query] = await golden([
    "hello",
    { image },
    { text: "hello", image },
    { text: "hello", prompt },
  ]);
  const rows: { title: string; args: string[]; stdin?: string | Uint8Array; vector: Float32Array }[] = [
    { title: "--text", args: ["--text", "hello"], vector: text },
    { title: "--text - from stdin", args: ["--text", "-"], stdin: "hello\n", vector: text },
    { title: "--image", args: ["--image", image], vector: picture },
    { title: "--image - from stdin", args: ["--image", "-"], stdin: readFileSync(image), vector: picture },
    { title: "both", args: ["--text", "hello", "--image", image], vector: fused },
    { title: "text from stdin and a picture", args: ["--text", "-", "--image", image], stdin: "hello", vector: fused },
    { title: "--prompt", args: ["--text", "hello", "--prompt", prompt], vector: query },
    { title: "--instruction", args: ["--text", "hello", "--instruction", prompt], vector: query },
    { title: "--document", args: ["--text", "hello", "--instruction", prompt, "--document"], vector: text },
    { title: "--is-query off", args: ["--text", "hello", "--prompt", prompt, "--is-query", "off"], vector: text },
  ];
  for (const { title, args, stdin, vector } of rows) {
    const { code, stdout, stderr } = await gme([...base, ...args], { stdin });
    t.equal(code, 0, `${title}: exit code; ${stderr}`);
    t.equal(stderr, "", `${title}: nothing on stderr`);
    const [{ embedding, dimensions }] = jsonLines(stdout);
    t.equal(dimensions, 64);
    t.ok(same(embedding, vector), title);
  }
});

t.test("every format holds the same numbers", async (t) => {
  const [vector] = await golden(["hello"]);
  const out = join(folder, "vector.npy");
  const [base64, npy, file] = await Promise.all([
    gme([...base, "--text", "hello", "--format", "base64"]),
    gme([...base, "--text", "hello", "--format", "npy"]),
    gme([...base, "--text", "hello", "--format", "npy", "--out", out]),
  ]);
  t.ok(same(floats(Buffer.from(base64.stdout.toString(), "base64")), vector), "base64");
  const header = 10 + npy.stdout.readUInt16LE(8);
  t.equal(header % 64, 0, "npy: the numbers are aligned");
  t.match(
    npy.stdout.toString("latin1", 0, header),
    /^.NUMPY....\{'descr': '<f4', 'fortran_order': False, 'shape': \(64,\), \} *\n$/s,
  );
  t.ok(same(floats(npy.stdout.subarray(header)), vector), "npy");
  t.equal(file.stdout.length, 0);
  t.strictSame(readFileSync(out), npy.stdout, "--out");
});

function floats(bytes: Buffer): Float32Array {
  return new Float32Array(Uint8Array.from(bytes).buffer);
}

t.test("--jsonl answers each line in its order, errors in their place, exit code 3", async (t) => {
  const lines = [
    JSON.stringify({ id: "a", text: "hello" }),
    "",
    JSON.stringify({ id: "b", image, text: null }),
    "{not json",
    JSON.stringify({ id: "c", image: "/missing.png" }),
    JSON.stringify({ text: "a\u2028b" }).replace("\\u2028", "\u2028"),
    JSON.stringify(["array"]),
    JSON.stringify({ id: "d" }),
    JSON.stringify({ id: 5, text: "hello", image, prompt: "Describe." }),
  ];
  const [a, b, line, fused] = await golden([
    "hello",
    { image },
    "a\u2028b",
    { text: "hello", image, prompt: "Describe." },
  ]);
  const { code, stdout, stderr } = await gme([...base, "--jsonl", "--batch-size", "1"], { stdin: lines.join("\n") });
  t.equal(code, 3, stderr);
  t.match(stderr, /4 items failed/);
  const results = jsonLines(stdout);
  t.match(results, [
    { id: "a" },
    { id: "b" },
    { index: 2, error: { code: "GME_INPUT_INVALID", message: /line 4/ } },
    { id: "c", error: { code: "GME_IO_ERROR" } },
    { index: 4 },
    { index: 5, error: { code: "GME_INPUT_INVALID" } },
    { id: "d", error: { code: "GME_INPUT_INVALID" } },
    { id: 5 },
  ]);
  for (const [i, vector] of [
    [0, a],
    [1, b],
    [4, line],
    [7, fused],
  ] as const)
    t.ok(same(results[i].embedding, vector), `line ${i}`);
});

t.test("--jsonl: lines are answered while stdin is open, and npy and base64 keep the order", async (t) => {
  let early = "";
  const { code } = await gme([...base, "--jsonl"], {
    during(child) {
      child.stdin.write('{"id":1,"text":"a"}\n');
      child.stdout.on("data", (data) => {
        early += data;
        child.stdin.end();
      });
    },
  });
  t.equal(code, 0);
  t.match(early, /^\{"id":1,"embedding":\[/);
  const stdin = '{"text":"hello"}\n{"id":1}\n{"text":"a cat"}\n';
  const vectors = await golden(["hello", "a cat"]);
  const npy = await gme([...base, "--jsonl", "--format", "npy", "--batch-size", "1"], { stdin });
  t.equal(npy.code, 3);
  const header = 10 + npy.stdout.readUInt16LE(8);
  t.match(npy.stdout.toString("latin1", 0, header), /'shape': \(3, 64\)/);
  const rows = floats(npy.stdout.subarray(header));
  t.ok(same(rows.subarray(0, 64), vectors[0]) && same(rows.subarray(128), vectors[1]), "rows");
  t.ok(rows.subarray(64, 128).every(Number.isNaN), "a failed item is a row of NaN");
  t.match(npy.stderr, /GME_INPUT_INVALID/);
  const out = join(folder, "lines.jsonl");
  const base64 = await gme([...base, "--jsonl", "--format", "base64", "--out", out, "--batch-size", "1"], { stdin });
  t.equal(base64.code, 3);
  t.ok(same(floats(Buffer.from(jsonLines(readFileSync(out))[2].embedding as string, "base64")), vectors[1]));
});

t.test("the model comes from --model, else GME_MODEL, else it is the bundled one with a notice", async (t) => {
  const named = await gme(["embed", "--text", "hello"], { env: { GME_MODEL: model } });
  t.equal(jsonLines(named.stdout)[0].dimensions, 64);
  t.equal(named.stderr, "");
  const bundled = await gme(["embed", "--text", "hello"]);
  t.equal(bundled.code, 0, bundled.stderr);
  t.equal(jsonLines(bundled.stdout)[0].dimensions, 192);
  t.match(bundled.stderr, /demonstration model/);
});

t.test("a failing command says why and ends with its exit code", async (t) => {
  const text = join(folder, "picture.png");
  writeFileSync(text, "this is a text, not a picture");
  const rows: { args: string[]; code: number; stderr: RegExp; env?: Record<string, string>; stdin?: string }[] = [
    { args: ["embed", "--text", "a", "--model", "/missing.gguf"], code: 1, stderr: /no such file \[GME_IO_ERROR\]/ },
    { args: [...base, "--image", text], code: 1, stderr: /\[GME_IMAGE_FORMAT\]/ },
    { args: [...base, "--image", text, "--json"], code: 1, stderr: /^\{"error":\{"code":"GME_IMAGE_FORMAT"/ },
    { args: [...base, "--text", "a", "--device", "cuda"], code: 1, stderr: /GME_DEVICE_UNAVAILABLE/ },
    { args: [...base, "--text", "a", "--dimensions", "32"], code: 2, stderr: /Matryoshka/ },
    { args: [...base, "--text", "a", "--threads", "0"], code: 2, stderr: /threads/ },
    { args: [...base, "--text", "a"], code: 2, stderr: /GME_THREADS/, env: { GME_THREADS: "many" } },
    { args: [...base, "--text", "word ".repeat(9_000), "--max-tokens", "100"], code: 1, stderr: /GME_TEXT_TOO_LONG/ },
    { args: [...base, "--text", "-"], code: 1, stderr: /UTF-8/, stdin: Buffer.from([0xff, 0xfe]) as unknown as string },
  ];
  for (const { args, code, stderr, env, stdin } of rows) {
    const result = await gme(args, { env, stdin });
    t.equal(result.code, code, `${args.slice(-2).join(" ").slice(0, 40)}: exit code`);
    t.match(result.stderr, stderr);
    t.equal(result.stdout.length, 0, "nothing on stdout");
  }
});

t.test("a signal ends the command with 130, 143 or 129", { skip: process.platform === "win32" }, async (t) => {
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    const result = await gme([...base, "--jsonl"], {
      during(child) {
        child.stdin.write('{"text":"a"}\n');
        child.stdout.once("data", () => child.kill(signal));
      },
    });
    t.strictSame([result.code, result.signal], [code, null], signal);
    t.equal(jsonLines(result.stdout).length, 1, "the finished line is whole");
  }
});

t.test("a reader that goes away ends the command quietly", { skip: process.platform === "win32" }, async (t) => {
  const { code, stderr } = await gme([...base, "--jsonl", "--batch-size", "1"], {
    during(child) {
      child.stdin.end('{"text":"a"}\n'.repeat(3_000));
      child.stdout.once("data", () => child.stdout.destroy());
    },
  });
  t.equal(code, 0);
  t.equal(stderr, "");
});
