import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { inGroups, pour } from "../../lib/cli/export";
import { type EntrySink, linesSink } from "../../lib/cli/export-lines";
import { npySink, type NpyType } from "../../lib/cli/export-npy";
import { bundledModelPath, GmeError, load } from "../../lib/index";
import { type IndexEntry, openIndex } from "../../lib/index-store/index";
import { gme, jsonLines } from "../helpers/cli";
import { temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { batches, dimensions, entries, oddPath } from "./export-entries";

const folder = temporaryFolder();
interface Npy {
  header: string;
  data: Uint8Array;
}

function readNpy(path: string): Npy {
  const bytes = readFileSync(path);
  const length = bytes.readUInt16LE(8);
  t.equal(bytes.toString("latin1", 0, 8), "\u0093NUMPY\u0001\u0000");
  t.equal((10 + length) % 64, 0, "the data begins at a multiple of 64");
  return { header: bytes.toString("latin1", 10, 10 + length), data: Uint8Array.from(bytes.subarray(10 + length)) };
}

async function exportNpy(type: NpyType): Promise<Npy> {
  const path = join(folder, `${type}.npy`);
  t.equal(await pour(batches(), await npySink(path, type, dimensions), 0), entries.length);
  return readNpy(path);
}

t.test("jsonl has a line per row with everything that the row has", async (t) => {
  const path = join(folder, "rows.jsonl");
  await pour(batches(700), await linesSink(path), 0);
  const lines = jsonLines(readFileSync(path));
  t.equal(lines.length, entries.length);
  const { embedding, ...bare } = entries[1];
  t.strictSame(lines[1], { ...bare, embedding: Array.from(embedding as Float32Array) });
  t.notOk("page" in lines[0], "what a row has not is not there");
  t.equal(lines[2].path, oddPath);
  if (process.platform !== "win32")
    t.equal(lines[2].pathBase64, Buffer.from("/\xff \n.png", "latin1").toString("base64"));
});

t.test("npy has the vectors in order, and its ids a line for each", async (t) => {
  const { header, data } = await exportNpy("f32");
  t.match(header, /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(2500, 12\), \} *\n$/);
  const numbers = new Float32Array(data.buffer);
  const written = Float32Array.from(entries.flatMap(({ embedding }) => Array.from(embedding ?? [])));
  t.ok(Buffer.from(numbers.buffer).equals(Buffer.from(written.buffer)), "every number");
  const ids = jsonLines(readFileSync(join(folder, "f32.npy.ids.jsonl")));
  t.strictSame(
    ids.map(({ key }) => key),
    entries.map(({ key }) => key),
  );
  t.notOk("embedding" in ids[0]);
});

t.test("npy of half precision is the nearest half of every number", async (t) => {
  const { header, data } = await exportNpy("f16");
  t.match(header, "'<f2'");
  const halves = new Uint16Array(data.buffer);
  const worst = entries.slice(0, 100).flatMap(({ embedding }, i) =>
    Array.from(embedding ?? [], (x, d) => {
      const step = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(x)))) - 10);
      return Math.abs(numberOfHalf(halves[i * dimensions + d]) - x) / step;
    }),
  );
  t.ok(Math.max(...worst) <= 0.5, `half a step at most, found ${Math.max(...worst)}`);
  t.ok(Math.max(...worst) > 0.4, "the check sees the steps");
});

t.test("the rounding of halves is that of IEEE 754, at every kind of number", async (t) => {
  const cases: [number, number][] = [
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [1 + 2 ** -11 + 2 ** -20, 0x3c01],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [2 ** -25 * 1.5, 0x0001],
    [2 ** -14 - 2 ** -26, 0x0400],
    [65504, 0x7bff],
    [65520, 0x7c00],
    [1e30, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
  ];
  const path = join(folder, "cases.npy");
  const sink = await npySink(path, "f16", cases.length);
  await sink.write([{ ...entries[0], embedding: Float32Array.from(cases, ([x]) => x) }]);
  await sink.finish();
  const halves = new Uint16Array(readNpy(path).data.buffer);
  for (const [i, [x, half]] of cases.entries()) t.equal(halves[i].toString(16), half.toString(16), `${x}`);
});

t.test("npy of int8 keeps the directions, of binary the signs", async (t) => {
  const { header, data } = await exportNpy("int8");
  t.match(header, /'\|i1'.*\(2500, 12\)/);
  const bytes = new Int8Array(data.buffer);
  const signs = await exportNpy("binary");
  t.match(signs.header, /'\|u1'.*\(2500, 2\)/);
  for (const i of [0, 1, 999, 2_499]) {
    const vector = Array.from(entries[i].embedding ?? []);
    const row = Array.from(bytes.subarray(i * dimensions, (i + 1) * dimensions));
    t.equal(Math.max(...row.map(Math.abs)), 127, `row ${i} uses the whole range`);
    t.ok(cosine(vector, row) > 0.9999, `row ${i}: cosine ${cosine(vector, row)}`);
    const bits = Array.from(signs.data.subarray(i * 2, i * 2 + 2), (byte) => byte.toString(2).padStart(8, "0")).join(
      "",
    );
    t.equal(bits, `${vector.map((x) => (x > 0 ? "1" : "0")).join("")}0000`, `row ${i}: signs`);
  }
});

t.test("batches of any size are put together to groups of rows", async (t) => {
  for (const size of [1, 300, 1_000, 2_500]) {
    const groups: IndexEntry[][] = [];
    for await (const group of inGroups(batches(size), 1_000)) groups.push(group);
    t.strictSame(
      groups.map(({ length }) => length),
      [1_000, 1_000, 500],
      `batches of ${size}`,
    );
    t.ok(
      groups.flat().every((entry, i) => entry === entries[i]),
      "in order",
    );
  }
});

t.test("an index without rows gives files without rows", async (t) => {
  const none = (async function* (): AsyncGenerator<IndexEntry[]> {})();
  t.equal(await pour(none, await npySink(join(folder, "none.npy"), "f32", dimensions), 0), 0);
  t.match(readNpy(join(folder, "none.npy")).header, "(0, 12)");
  t.equal(readFileSync(join(folder, "none.npy.ids.jsonl"), "utf8"), "");
});

t.test("a file appears whole or not at all, and what was there before stays until then", async (t) => {
  const place = join(folder, "whole");
  mkdirSync(place);
  const sinks: [string, (path: string) => Promise<EntrySink>][] = [
    ["a.jsonl", linesSink],
    ["a.npy", (path) => npySink(path, "f32", dimensions)],
  ];
  for (const [name] of sinks) writeFileSync(join(place, name), "before");
  for (const [name, open] of sinks) {
    const broken = (async function* () {
      yield entries.slice(0, 10);
      throw new GmeError("GME_STORE_CORRUPT", "the index is damaged");
    })();
    await rejectsWith(t, async () => pour(broken, await open(join(place, name)), 0), "GME_STORE_CORRUPT", name);
    t.equal(readFileSync(join(place, name), "utf8"), "before", name);
  }
  t.strictSame(readdirSync(place).sort(), sinks.map(([name]) => name).sort(), "nothing else is left");
  for (const [name, open] of sinks) await pour(batches(), await open(join(place, name)), 0);
  t.strictSame(readdirSync(place).sort(), ["a.jsonl", "a.npy", "a.npy.ids.jsonl"]);
  t.ok(readFileSync(join(place, "a.npy")).length > entries.length * dimensions * 4);
});

t.test("a file that cannot be written is named before any row is read", async (t) => {
  const nowhere = join(folder, "nowhere", "x");
  for (const open of [linesSink, (path: string) => npySink(path, "f32" as NpyType, dimensions)]) {
    const error = await rejectsWith(t, () => open(nowhere), "GME_IO_ERROR");
    t.match(error.message, /nowhere.*ENOENT/);
    t.match((await rejectsWith(t, () => open(folder), "GME_IO_ERROR", "a folder")).message, /EISDIR/);
  }
  mkdirSync(join(folder, "b.npy.ids.jsonl"));
  await rejectsWith(t, () => npySink(join(folder, "b.npy"), "f32", dimensions), "GME_IO_ERROR", "the ids' file");
  t.notOk(existsSync(join(folder, "b.npy.part")), "nothing is left of the other");
});

t.test("a row without a vector is an error with its key", async (t) => {
  const sink = await npySink(join(folder, "bad.npy"), "f32", dimensions);
  const bad = { ...entries[0], embedding: new Float32Array(3) };
  t.match((await rejectsWith(t, () => sink.write([bad]), "GME_INTERNAL")).message, /key-0 has 3 numbers, 12/);
  await sink.discard();
});

t.test("gme export writes what the index holds", async (t) => {
  const db = join(folder, "index");
  const model = join(folder, "no-such-model.gguf");
  const loaded = await load(bundledModelPath);
  const index = await openIndex(db, { model: loaded });
  const unit = (place: number) => Float32Array.from({ length: loaded.dimensions }, (_, d) => (d === place ? 1 : 0));
  await index.add(
    [0, 1, 2].map((i) => ({ id: `item ${i}`, text: `words ${i}`, embedding: unit(i) })),
    {},
  );
  await index.close();
  await loaded.close();
  const env = { GME_DB: db, GME_MODEL: model };
  const lines = await gme(["export", "--format", "jsonl", "-o", "-"], { env });
  t.equal(lines.code, 0, lines.stderr);
  t.equal(lines.stderr, "");
  const rows = jsonLines(lines.stdout).sort((a, b) => String(a.path).localeCompare(String(b.path)));
  t.strictSame(
    rows.map(({ path, embedding }) => [path, (embedding as number[]).indexOf(1)]),
    [
      ["item 0", 0],
      ["item 1", 1],
      ["item 2", 2],
    ],
  );
  const out = join(folder, "one.npy");
  const one = await gme(["export", "--db", db, "--format", "npy", "--where", "path = 'item 1'", "-o", out]);
  t.equal(one.code, 0, one.stderr);
  t.equal(one.stdout.length, 0);
  t.match(one.stderr, "1 row written to");
  t.match(readNpy(out).header, `(1, ${unit(0).length})`);
  t.equal(jsonLines(readFileSync(`${out}.ids.jsonl`))[0].path, "item 1");
  const parquet = await gme(["export", "--db", db, "--format", "parquet", "-o", join(folder, "all.parquet")]);
  t.equal(parquet.code, 0, parquet.stderr);
  t.match(parquet.stderr, "3 rows written to");
  t.notOk(
    parquet.addons.some((file) => file.includes("gme_embed")),
    "no model is needed",
  );
});

t.test("gme export refuses wrong usage with 2, and an index that is not there with 1", async (t) => {
  const rows: [string[], RegExp][] = [
    [["--format", "npy", "-o", "x"], /--db DIR or set GME_DB/],
    [["--db", "d", "-o", "x"], /--format/],
    [["--db", "d", "--format", "npy"], /--out/],
    [["--db", "d", "--format", "csv", "-o", "x"], /parquet, npy, jsonl/],
    [["--db", "d", "--format", "npy", "-o", "-"], /npy is binary/],
    [["--db", "d", "--format", "jsonl", "-o", "x", "--dtype", "f16"], /--dtype is for/],
  ];
  const runs = await Promise.all(rows.map(([args]) => gme(["export", ...args], { cwd: folder })));
  for (const [i, { code, stderr, addons }] of runs.entries()) {
    t.equal(code, 2, rows[i][0].join(" "));
    t.match(stderr, rows[i][1]);
    t.strictSame(addons, []);
  }
  const missing = join(folder, "no-index");
  const { code, stderr } = await gme(["export", "--db", missing, "--format", "npy", "-o", join(folder, "n.npy")]);
  t.equal(code, 1, stderr);
  t.match(stderr, /no-index/);
  t.notOk(existsSync(missing) || existsSync(join(folder, "n.npy")) || existsSync(join(folder, "n.npy.part")));
});

function numberOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
