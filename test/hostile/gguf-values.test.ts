import t from "tap";
import { inspectFile } from "../../lib/inspect";
import { type Base, bases, goodFile, testRows, u32, withEntries } from "./gguf-cases";
import { alignmentRows, keyRows, valueRows } from "./gguf-cases-values";
import { vectorOf } from "./gguf-models";
import {
  accepted,
  attempt,
  peakBytes,
  refused,
  removeHostile,
  report,
  resetPeak,
  row,
  type SparseFile,
  writeHostile,
} from "./gguf-refusal";
import { type GgufEntry, type GgufTree, ggufType } from "./gguf-tree";

testRows(t, [...keyRows, ...valueRows, ...alignmentRows]);

const mebi = 2 ** 20;

/** Reads the header alone, as the loader does: the least of a few times, and the worst growth. */
async function readingCost(tree: GgufTree): Promise<{ milliseconds: number; growth: number }> {
  const { path } = writeHostile({ decoder: tree });
  let [milliseconds, growth] = [Number.POSITIVE_INFINITY, 0];
  for (let i = 0; i < 5; i++) {
    const before = resetPeak();
    const start = performance.now();
    await inspectFile(path);
    milliseconds = Math.min(milliseconds, performance.now() - start);
    growth = Math.max(growth, peakBytes() - before);
  }
  removeHostile({ path });
  return { milliseconds, growth };
}

t.test("G025 4,096 keys are read and 60,000 refused, in 50 ms", async (t) => {
  const filled = (count: number, base: Base = "decoder") => {
    const tree = goodFile(base).tree;
    const more = Array.from({ length: count - tree.keys.length }, (_, i) => u32(`hostile.key_${i}`, i));
    return { ...tree, keys: [...tree.keys, ...more] };
  };
  for (const base of bases) await accepted(t, "G025", `4,096 keys (${base})`, { [base]: filled(4_096, base) });
  const { milliseconds } = await readingCost(filled(4_096));
  t.ok(milliseconds <= 50, `4,096 keys are read in ${milliseconds.toFixed(1)} ms`);
  const many = writeHostile({ decoder: filled(60_000) });
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) least = Math.min(least, (await attempt(many.path, many.tower)).milliseconds);
  t.ok(least <= 50, `60,000 keys are refused in ${least.toFixed(1)} ms`);
  removeHostile(many);
  await refused(
    t,
    "G025",
    "60,000 keys",
    { decoder: filled(60_000) },
    { code: "GME_GGUF_LIMIT", field: "header.n_kv" },
  );
  report(t, "G025", `4,096 keys read in ${milliseconds.toFixed(1)} ms`);
});

row(t, "G026", "keys with the names of JavaScript's own properties are plain data", async (t) => {
  const names = ["__proto__", "constructor", "toString", "hasOwnProperty", "__defineGetter__"];
  const before = Object.getOwnPropertyNames(Object.prototype).join();
  for (const base of bases) {
    const tree = withEntries(goodFile(base), ...names.map((name, i) => u32(name, 1000 + i)));
    await accepted(t, "G026", base, { [base]: tree });
    const { path, tower } = writeHostile({ [base]: tree });
    const { keys } = await inspectFile(base === "mmproj" ? String(tower) : path);
    for (const [i, name] of names.entries()) {
      t.equal(Object.getOwnPropertyDescriptor(keys, name)?.value, 1000 + i, `${name} is a value of its own`);
    }
    t.equal(Object.getPrototypeOf(keys), Object.prototype, "the keys' prototype is as it was");
    removeHostile({ path, tower });
  }
  t.equal(Object.getOwnPropertyNames(Object.prototype).join(), before, "every object's prototype is as it was");
});

t.test("G035 arrays of a million strings take little time and memory", async (t) => {
  const figures: string[] = [];
  for (const [title, string] of [
    ["empty strings", ""],
    ["strings of one byte", "x"],
  ]) {
    const value = Array<string>(1_000_000).fill(string);
    const entry: GgufEntry = { key: "hostile.strings", type: ggufType.array, element: ggufType.string, value };
    const { path, tower } = writeHostile({ decoder: withEntries(goodFile("decoder"), entry) });
    const cost = await attempt(path, tower);
    t.equal((await vectorOf(path, tower)).length, 64, "it embeds");
    t.equal(cost.error, undefined, `1,000,000 ${title}: accepted`);
    t.ok(cost.milliseconds <= 500, `in ${cost.milliseconds.toFixed(0)} ms`);
    t.ok(cost.growth <= 128 * mebi, `in ${(cost.growth / mebi).toFixed(1)} MiB`);
    figures.push(
      `1,000,000 ${title} accepted in ${cost.milliseconds.toFixed(0)} ms and ${(cost.growth / mebi).toFixed(0)} MiB`,
    );
    removeHostile({ path, tower });
  }
  report(t, "G035", figures.join(", "));
});

/** A file of the good header and `count` values of `size` bytes that are holes. */
function hollow(entry: (index: number) => Buffer, size: number, count: number): SparseFile {
  const head = Buffer.alloc(24);
  head.write("GGUF", "latin1");
  head.writeUInt32LE(3, 4);
  head.writeBigUInt64LE(1n, 8);
  head.writeBigUInt64LE(BigInt(count), 16);
  const pieces: SparseFile["pieces"] = [[0, head]];
  let at = head.length;
  for (let i = 0; i < count; i++) {
    const bytes = entry(i);
    pieces.push([at, bytes]);
    at += bytes.length + size;
  }
  return { size: at + 64, pieces };
}

function entryHead(key: string, ...numbers: [bytes: 4 | 8, value: number][]): Buffer {
  const parts = [Buffer.alloc(8), Buffer.from(key)];
  parts[0].writeBigUInt64LE(BigInt(key.length));
  for (const [bytes, value] of numbers) {
    const part = Buffer.alloc(bytes);
    part.writeUInt32LE(value);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

row(t, "G036", "metadata of more than 256 MiB is refused before it is read", async (t) => {
  const strings = hollow((i) => entryHead(`hostile.text_${i}`, [4, ggufType.string], [8, 4 * mebi]), 4 * mebi, 65);
  const numbers = hollow(
    (i) => entryHead(`hostile.numbers_${i}`, [4, ggufType.array], [4, ggufType.f64], [8, mebi]),
    8 * mebi,
    33,
  );
  for (const [title, single] of [
    ["65 strings of 4 MiB", strings],
    ["33 arrays of 8 MiB", numbers],
  ] as const) {
    await refused(t, "G036", title, { single }, { code: "GME_GGUF_LIMIT", field: "metadata" });
    await refused(t, "G036", title, { mmproj: single }, { code: "GME_GGUF_LIMIT", field: "metadata" });
  }
});
