// Search over many rows: time to insert, to build the vector index, recall@10 against exact search, time per query.
//
//   npx tsx scripts/bench-search.ts [--rows 100000] [--dimensions 1536] [--queries 200] [--dir FOLDER]
//
// Two kinds of vectors: clustered (points around 1,000 centres, as embeddings of real collections are) and random (uniform on the
// sphere, the worst case of any vector index). Queries are fresh points of the same kind, none of them a row.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { EntryTable } from "../lib/index-store/entry-table";
import type { EntryRow } from "../lib/index-store/entry-row";
import { indexPlace } from "../lib/index-store/index-place";
import { searchIndex } from "../lib/index-store/index-search";
import type { IndexPin } from "../lib/index-store/index-types";
import { ensureVectorIndex } from "../lib/index-store/vector-index";

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "100000" },
    dimensions: { type: "string", default: "1536" },
    queries: { type: "string", default: "200" },
    dir: { type: "string" },
  },
});
const rows = Number(values.rows);
const dimensions = Number(values.dimensions);
const queryCount = Number(values.queries);
const centreCount = 1_000;
/** Of a point around its centre, against the centre's length of 1: cosine within a cluster is about 0.74. */
const spread = 0.6;
const batchRows = 2_000;

/** mulberry32: the same vectors on every machine. */
function randomSource(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

type VectorSource = () => Float32Array;

function gaussian(random: () => number): Float32Array {
  return Float32Array.from(
    { length: dimensions },
    () => Math.sqrt(-2 * Math.log(random() + 1e-300)) * Math.cos(2 * Math.PI * random()),
  );
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0));
  return vector.map((x) => x / length);
}

function vectorSource(kind: "clustered" | "random"): VectorSource {
  const random = randomSource(kind === "random" ? 1 : 2);
  if (kind === "random") return () => unit(gaussian(random));
  const centres = Array.from({ length: centreCount }, () => gaussian(random));
  return () => {
    const centre = centres[Math.floor(random() * centreCount)];
    const noise = gaussian(random);
    return unit(centre.map((x, i) => x + spread * noise[i]));
  };
}

const pin: IndexPin = {
  version: 1,
  model: "synthetic",
  fingerprint: "synthetic",
  dimensions,
  positions: "sequential",
  loaderResize: true,
  minImageTokens: 256,
  maxImageTokens: 1280,
  orientation: "exif",
  instruction: "",
  specialTokens: "text",
};

function rowOf(number: number, vector: Float32Array): EntryRow {
  const path = `/pictures/folder ${number % 100}/picture ${number}.jpg`;
  const times = { captionSize: null, captionMtime: null };
  return {
    key: number.toString(16).padStart(64, "0"),
    vector,
    kind: "image",
    sources: [{ path, row: null, image: null, size: 1e6, mtime: 1.7e12, file: "00".repeat(32), parts: 1, ...times }],
    page: null,
    passage: null,
    snippet: null,
    caption: null,
    width: 4_000,
    height: 3_000,
    thumbnail: new Uint8Array(4_000),
    time: 1.7e12,
  };
}

async function fill(table: EntryTable, next: VectorSource): Promise<number> {
  const start = performance.now();
  for (let at = 0; at < rows; at += batchRows)
    await table.merge(Array.from({ length: Math.min(batchRows, rows - at) }, (_, i) => rowOf(at + i, next())));
  return (performance.now() - start) / 1_000;
}

const noEngine = () => Promise.reject(new Error("no query is embedded here"));

async function measure(
  table: EntryTable,
  next: VectorSource,
  exact: boolean,
): Promise<{ times: number[]; found: string[][] }> {
  const times: number[] = [];
  const found: string[][] = [];
  for (const embedding of Array.from({ length: queryCount }, next)) {
    const start = performance.now();
    const results = await searchIndex(table, undefined, { embedding, limit: 10, exact }, noEngine);
    times.push(performance.now() - start);
    found.push(results.map(({ key }) => key));
  }
  return { times: times.sort((a, b) => a - b), found };
}

function shown(times: number[]): string {
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(1);
  return `min ${at(0)}, median ${at(0.5)}, 95 % ${at(0.95)}, max ${at(1)} ms`;
}

async function run(kind: "clustered" | "random"): Promise<void> {
  const folder = mkdtempSync(join(values.dir ?? tmpdir(), "gme-bench-"));
  try {
    const table = await EntryTable.create(indexPlace(folder), pin);
    const next = vectorSource(kind);
    console.log(`${kind}: ${rows} rows of ${dimensions}, inserted in ${(await fill(table, next)).toFixed(1)} s`);
    const built = await ensureVectorIndex(table, 1);
    console.log(`  vector index built in ${built?.seconds.toFixed(1)} s`);
    const queries = Array.from({ length: queryCount }, next);
    const repeat = () => {
      let i = 0;
      return () => queries[i++];
    };
    const exact = await measure(table, repeat(), true);
    const fast = await measure(table, repeat(), false);
    const hits = fast.found.flatMap((keys, i) => keys.filter((key) => exact.found[i].includes(key))).length;
    console.log(`  exact:  ${shown(exact.times)}`);
    console.log(`  index:  ${shown(fast.times)}; recall@10 ${(hits / exact.found.flat().length).toFixed(4)}`);
    table.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  await run("clustered");
  await run("random");
}

void main();
