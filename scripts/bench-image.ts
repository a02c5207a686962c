// A 12-megapixel JPEG to patches on one core, step by step, and our bicubic resize beside sharp's of the same pixels.
//
//   npx tsx scripts/bench-image.ts [--rounds 9] [--core 0] [--engine FILE] [--picture FILE.jpg] [--json]
//
// The picture is made: overlapping discs whose sizes follow a power law, a texture of equal power per octave and sensor grain, which
// together have a photo's spectrum, edges and bytes per pixel. Decoding is timed through lib/image-decode, from the file; resizes and
// patches inside test/engine/bench-image-resize (compiled here with c++ unless --engine names it). Per round every contender runs once.
// Exits with 1 when a limit is missed. On Linux the whole script runs under `taskset -c CORE`.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { decodeImage } from "../lib/image-decode";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "9" },
    core: { type: "string", default: "0" },
    engine: { type: "string" },
    picture: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

const settings = { orientation: "exif", maxImagePixels: 64e6 } as const;
const limitMs = 250;
const limitRatio = 2;
const toPatches = ["decode", "copy", "streamed", "patches"];

// ---- the picture ----

interface Size {
  width: number;
  height: number;
}

const madeSize: Size = { width: 4_000, height: 3_000 };

/** mulberry32: the same picture on every machine. */
function randomSource(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Twice as large, bilinear. */
function doubled(from: Float32Array, width: number, height: number) {
  const to = new Float32Array(width * height * 4);
  for (let y = 0, at = 0; y < height * 2; y++) {
    const row = Math.min(height - 2, Math.max(0, (y - 1) >> 1)) * width;
    const down = Math.min(1, Math.max(0, (y + 0.5) / 2 - 0.5 - row / width));
    for (let x = 0; x < width * 2; x++, at++) {
      const column = Math.min(width - 2, Math.max(0, (x - 1) >> 1));
      const across = Math.min(1, Math.max(0, (x + 0.5) / 2 - 0.5 - column));
      const i = row + column;
      const upper = from[i] + (from[i + 1] - from[i]) * across;
      const lower = from[i + width] + (from[i + width + 1] - from[i + width]) * across;
      to[at] = upper + (lower - upper) * down;
    }
  }
  return to;
}

/** [side, side], a power of two: noise at every scale, each octave of the same strength but for the finest, which optics soften. */
function texture(side: number, strength: number, random: () => number): Float32Array {
  let values = new Float32Array(16).map(() => (random() - 0.5) * strength);
  for (let at = 4; at < side; at *= 2) {
    values = doubled(values, at, at);
    const amplitude = strength * (at * 2 >= side ? 0.5 : 1);
    for (let i = 0; i < values.length; i++) values[i] += (random() - 0.5) * amplitude;
  }
  return values;
}

/** Discs of radius 3 to 900 in one colour each, over one another, until little of the ground is left. */
function paintDiscs(rgb: Uint8Array, { width, height }: Size, random: () => number): void {
  for (let left = width * height * 5; left > 0; ) {
    const radius = 3 / Math.sqrt(random() * (1 - (3 / 900) ** 2) + (3 / 900) ** 2);
    const [cx, cy, light] = [random() * width, random() * height, 40 + random() * 170];
    const colour = [0, 1, 2].map(() => Math.round(Math.min(235, Math.max(20, light + (random() - 0.5) * 70))));
    for (let y = Math.max(0, Math.ceil(cy - radius)); y < Math.min(height, cy + radius); y++) {
      const half = Math.sqrt(radius * radius - (y - cy) ** 2);
      const end = Math.min(width, Math.ceil(cx + half));
      for (let x = Math.max(0, Math.ceil(cx - half)); x < end; x++) rgb.set(colour, (y * width + x) * 3);
    }
    left -= Math.PI * radius * radius;
  }
}

async function makePhoto(): Promise<Buffer> {
  const random = randomSource(1);
  const { width, height } = madeSize;
  const discs = Buffer.alloc(width * height * 3, 120);
  paintDiscs(discs, madeSize, random);
  const raw = { width, height, channels: 3 } as const;
  const rgb = await sharp(discs, { raw }).blur(0.9).raw().toBuffer(); // a lens
  const side = 1_024;
  const surface = texture(side, 14, random);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const grey = surface[(y % side) * side + (x % side)] + (random() + random() - 1) * 4;
      const at = (y * width + x) * 3;
      for (let c = 0; c < 3; c++) rgb[at + c] = Math.min(255, Math.max(0, rgb[at + c] + grey));
    }
  }
  return sharp(rgb, { raw }).jpeg({ quality: 90 }).toBuffer();
}

// ---- the contenders ----

interface StepTime {
  wall: number;
  cpu: number;
}
type Round = Record<string, StepTime>;
type Pair = [number, number];

function compileEngine(folder: string): string {
  const root = join(__dirname, "..");
  const engine = join(root, "native", "engine");
  const sources = readdirSync(engine).filter((name) => /^(image-.*|error)\.cpp$/.test(name));
  const executable = join(folder, "bench-image-resize");
  const flags = ["-std=c++17", "-O3", "-ffp-contract=off", "-o", executable];
  const files = [
    join(root, "test", "engine", "bench-image-resize.cpp"),
    ...sources.map((source) => join(engine, source)),
  ];
  execFileSync(process.env.CXX ?? "c++", [...flags, ...files], { stdio: "inherit" });
  return executable;
}

/** Our resizes and patches, one round per question. */
class EngineRounds {
  private readonly child;
  private readonly lines;

  constructor(executable: string, file: string, { width, height }: Size) {
    this.child = spawn(executable, ["--rounds", file, String(width), String(height)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /** The first answer tells the sizes. */
  async answer<T>(): Promise<T> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error("bench-image-resize ended early");
    return JSON.parse(value as string) as T;
  }

  round(): Promise<Round> {
    this.child.stdin.write("\n");
    return this.answer<Round>();
  }

  close(): void {
    this.child.stdin.end();
  }
}

async function timed(work: () => Promise<unknown>): Promise<StepTime> {
  const [begin, used] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(used);
  return { wall: performance.now() - begin, cpu: (user + system) / 1_000 };
}

function sharpResize(data: Uint8Array, { width, height }: Size, to: Pair): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .resize(to[0], to[1], { kernel: "cubic", fit: "fill" })
    .raw()
    .toBuffer();
}

/** sharp's loader, processor and direct resizes, of the pixels that ours get. */
async function sharpRound(pixels: Uint8Array, size: Size, loader: Pair, processor: Pair): Promise<Round> {
  const loaderSize = { width: loader[0], height: loader[1] };
  const loaded: Buffer[] = [];
  const first = await timed(async () => loaded.push(await sharpResize(pixels, size, loader)));
  const second = await timed(() => sharpResize(loaded[0], loaderSize, processor));
  const direct = await timed(() => sharpResize(pixels, size, processor));
  return { "sharp loader": first, "sharp processor": second, "sharp direct": direct };
}

/** The sums of the round in which they were taken. */
function withSums(round: Round): Round {
  const sum = (names: string[]): StepTime => ({
    wall: names.reduce((total, name) => total + round[name].wall, 0),
    cpu: names.reduce((total, name) => total + round[name].cpu, 0),
  });
  return {
    ...round,
    "JPEG to patches": sum(toPatches),
    "sharp both": sum(["sharp loader", "sharp processor"]),
  };
}

// ---- the report ----

interface Spread {
  min: number;
  median: number;
  max: number;
}

function spread(numbers: number[]): Spread {
  const sorted = numbers.toSorted((a, b) => a - b);
  return { min: sorted[0], median: sorted[sorted.length >> 1], max: sorted[sorted.length - 1] };
}

const rows: [step: string, rival?: string][] = [
  ["decode"],
  ["copy"],
  ["streamed", "sharp both"],
  ["patches"],
  ["JPEG to patches"],
  ["loader", "sharp loader"],
  ["processor", "sharp processor"],
  ["direct", "sharp direct"],
];

interface Line {
  step: string;
  wall: Spread;
  cpu: Spread;
  sharp?: Spread;
  /** Our time over sharp's, round by round. */
  ratio?: Spread;
}

function lineOf(rounds: Round[], step: string, rival?: string): Line {
  const walls = (name: string) => rounds.map((round) => round[name].wall);
  const line: Line = { step, wall: spread(walls(step)), cpu: spread(rounds.map((round) => round[step].cpu)) };
  if (rival === undefined) return line;
  const ratio = spread(rounds.map((round) => round[step].wall / round[rival].wall));
  return { ...line, sharp: spread(walls(rival)), ratio };
}

function text({ min, median, max }: Spread, digits = 1): string {
  return [min, median, max].map((value) => value.toFixed(digits)).join(" / ");
}

function printTable(lines: Line[], about: string, missed: string[]): void {
  console.log(about);
  const head = ["step", "ms (min / median / max)", "processor ms, median", "sharp, ms", "ours / sharp"];
  const cells = lines.map(({ step, wall, cpu, sharp: theirs, ratio }) => [
    step,
    text(wall),
    cpu.median.toFixed(1),
    theirs ? text(theirs) : "",
    ratio ? text(ratio, 2) : "",
  ]);
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i].length)));
  for (const row of [head, widths.map((width) => "-".repeat(width)), ...cells])
    console.log(`| ${row.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`);
  console.log(missed.length === 0 ? "within the limits" : `missed: ${missed.join("; ")}`);
}

function missedLimits(lines: Line[]): string[] {
  const missed = lines
    .filter(({ ratio }) => ratio !== undefined && ratio.median > limitRatio)
    .map(({ step }) => `${step} takes over ${limitRatio}x sharp's time`);
  const whole = lines.find(({ step }) => step === "JPEG to patches");
  if (whole !== undefined && whole.wall.median > limitMs) missed.push(`JPEG to patches takes over ${limitMs} ms`);
  return missed;
}

// ---- the run ----

async function measure(folder: string): Promise<void> {
  const path = values.picture ?? join(folder, "photo.jpg");
  if (values.picture === undefined) writeFileSync(path, await makePhoto());
  const image = { kind: "path", path } as const;
  const { data, width, height } = await decodeImage(image, settings);
  const raw = join(folder, "photo.rgb");
  writeFileSync(raw, data);
  const engine = new EngineRounds(values.engine ?? compileEngine(folder), raw, { width, height });
  const { loader, processor } = await engine.answer<{ loader: Pair; processor: Pair }>();
  const rounds: Round[] = [];
  for (let i = -1; i < Number(values.rounds); i++) {
    const decode = await timed(() => decodeImage(image, settings));
    const ours = await engine.round();
    const theirs = await sharpRound(data, { width, height }, loader, processor);
    if (i >= 0) rounds.push(withSums({ decode, ...ours, ...theirs })); // round -1 warms up
  }
  engine.close();

  const bytes = statSync(path).size;
  const lines = rows.map(([step, rival]) => lineOf(rounds, step, rival));
  const missed = missedLimits(lines);
  const sizes = [[width, height], loader, processor].map((size) => size.join("x")).join(" -> ");
  const about = `${sizes}, JPEG of ${(bytes / 1e6).toFixed(2)} MB, ${rounds.length} rounds, one core`;
  if (values.json)
    console.log(JSON.stringify({ width, height, bytes, loader, processor, limitMs, limitRatio, missed, lines }));
  else printTable(lines, about, missed);
  if (missed.length > 0) process.exitCode = 1;
}

/** True when this process was started again on one core and has ended. */
function ranOnOneCore(): boolean {
  if (process.platform !== "linux" || availableParallelism() === 1) return false;
  const again = ["-c", values.core, process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { error, status } = spawnSync("taskset", again, { stdio: "inherit" });
  if (error === undefined) process.exitCode = status ?? 1;
  else console.error("taskset is missing: the timings are not confined to one core");
  return error === undefined;
}

async function main(): Promise<void> {
  if (ranOnOneCore()) return;
  sharp.concurrency(1);
  sharp.cache(false);
  const folder = mkdtempSync(join(tmpdir(), "bench-image-"));
  try {
    await measure(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
