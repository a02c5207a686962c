// The pass figures of a row that refuses (docs/robustness.md, "Pass figures of a reject row"), measured on the public load().
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { cosine, GmeError, type LoadOptions } from "../../lib/index";
import { temporaryFolder } from "../helpers/fixtures";
import { countOpenFiles } from "../lifetime/process-state";
import { decoderPath, goodVector, loadHostile, mmprojPath, vectorOf } from "./gguf-models";
import { type GgufTree, writeTree } from "./gguf-tree";

/** A file with holes: the pieces at their places, zeros between them, `size` bytes in all. */
export interface SparseFile {
  size: number;
  pieces: [at: number, bytes: Buffer][];
}

export type HostileFile = Buffer | GgufTree | SparseFile;

/** The files of a hostile model: bytes, or a tree that is written. What is not given of the pair is the good one. */
export interface HostileFiles {
  decoder?: HostileFile;
  mmproj?: HostileFile;
  single?: HostileFile;
  options?: LoadOptions;
}

export interface Expected {
  code: string | RegExp;
  field?: string | RegExp;
}

interface Figures {
  files: number;
  milliseconds: number;
  growth: number;
  accepted: number;
}

const none: Figures = { files: 0, milliseconds: 0, growth: 0, accepted: 0 };

const longest = 100; // ms
const longestWait = 2_000; // ms
const mostGrowth = 16 << 20;
const tries = 5;
const folder = join(temporaryFolder(), "hostile");
mkdirSync(folder);
const rows = new Map<string, Figures>();
let golden: Promise<Float32Array> | undefined;
let serial = 0;

/** The good pair's vector, computed once; also what opens files once per process is open after it. */
const goldenVector = (): Promise<Float32Array> => (golden ??= goodVector());

/** Paths of the files, written into a folder of their own. */
export function writeHostile({ decoder, mmproj, single }: HostileFiles): { path: string; tower?: string } {
  const at = join(folder, String(serial++));
  mkdirSync(at);
  const put = (name: string, file: HostileFile): string => {
    const path = join(at, name);
    writeFile(path, file);
    return path;
  };
  if (single !== undefined) return { path: put("single.gguf", single) };
  return {
    path: decoder === undefined ? decoderPath : put("decoder.gguf", decoder),
    tower: mmproj === undefined ? mmprojPath : put("tower.gguf", mmproj),
  };
}

export function writeFile(path: string, file: HostileFile): void {
  if (Buffer.isBuffer(file) || "keys" in file) {
    writeFileSync(path, Buffer.isBuffer(file) ? file : writeTree(file));
    return;
  }
  const target = openSync(path, "w");
  ftruncateSync(target, file.size);
  for (const [at, bytes] of file.pieces) writeSync(target, bytes, 0, bytes.length, at);
  closeSync(target);
}

/** Removes what writeHostile wrote. */
export function removeHostile({ path, tower }: { path: string; tower?: string }): void {
  for (const file of [path, tower])
    if (file?.startsWith(folder)) rmSync(join(file, ".."), { recursive: true, force: true });
}

/**
 * Loads the files and checks the six figures: code and field, time, memory, file descriptors, the good pair's vector afterwards, and no
 * pointer in the message. The time is the least of a few tries, of the clock's and the processor's: what else a machine is busy with
 * shows in the clock alone. A refusal that waits for something would show there only, so the clock has a limit of its own.
 */
export async function refused(
  t: Test,
  id: string,
  title: string,
  files: HostileFiles,
  expected: Expected,
): Promise<GmeError | undefined> {
  const paths = writeHostile(files);
  const error = await refusedAt(t, id, title, paths, expected, files.options);
  removeHostile(paths);
  return error;
}

/** The same for files that lie there already. */
export async function refusedAt(
  t: Test,
  id: string,
  title: string,
  { path, tower }: { path: string; tower?: string },
  { code, field }: Expected,
  options?: LoadOptions,
): Promise<GmeError | undefined> {
  const good = await goldenVector();
  const files = countOpenFiles();
  let least = await attempt(path, tower, options);
  for (let i = 1; i < tries && least.milliseconds > longest; i++) {
    const next = await attempt(path, tower, options);
    if (next.milliseconds < least.milliseconds) least = { ...next, growth: Math.max(next.growth, least.growth) };
  }
  const { error, milliseconds, growth } = least;
  if (!(error instanceof GmeError)) {
    t.fail(`${id} ${title}: ${error === undefined ? "it loads" : `not a GmeError: ${error}`}`);
    return undefined;
  }
  const name = `${id} ${title}: ${error.code} ${error.field ?? ""}`;
  const isCode = typeof code === "string" ? error.code === code : code.test(error.code);
  t.ok(isCode, `${name} (${error.message.slice(0, 160)})`);
  const isField =
    field instanceof RegExp ? field.test(error.field ?? "") : field === undefined || error.field === field;
  if (!isField) t.fail(`${name}: the field is not ${field}`);
  if (milliseconds > longest) t.fail(`${name}: ${milliseconds.toFixed(0)} ms`);
  if (least.clock > longestWait) t.fail(`${name}: ${least.clock.toFixed(0)} ms of waiting`);
  if (growth > mostGrowth) t.fail(`${name}: memory grows by ${growth} bytes`);
  if (countOpenFiles() > files) t.fail(`${name}: ${countOpenFiles()} files are open, before ${files}`);
  if (/0x[0-9a-f]{6,}/.test(error.message)) t.fail(`${name}: a pointer stands in the message`);
  const after = await goodVector();
  if (!sameBits(after, good)) t.fail(`${name}: the good model's vector is another one afterwards`);
  const known = rows.get(id) ?? none;
  rows.set(id, {
    ...known,
    files: known.files + 1,
    milliseconds: Math.max(known.milliseconds, milliseconds),
    growth: Math.max(known.growth, growth),
  });
  return error;
}

/** Loads and embeds: accepted on purpose, so the vector must be the good pair's. */
export async function accepted(t: Test, id: string, title: string, files: HostileFiles): Promise<void> {
  const paths = writeHostile(files);
  const vector = await vectorOf(paths.path, paths.tower, files.options);
  const similarity = cosine(vector, await goldenVector());
  t.ok(similarity >= 0.9999, `${id} ${title}: accepted, cosine ${similarity}`);
  const known = rows.get(id) ?? none;
  rows.set(id, { ...known, accepted: known.accepted + 1 });
  removeHostile(paths);
}

/** The row's figures as a comment that begins with its id. */
export function report(t: Test, id: string, more = ""): void {
  const { files, milliseconds, growth, accepted } = rows.get(id) ?? none;
  const counted = (n: number, what: string) => `${n} ${n === 1 ? "file" : "files"} ${what}`;
  const cost = `at most ${milliseconds.toFixed(1)} ms and ${(growth / 2 ** 20).toFixed(1)} MiB each`;
  const figures = [
    ...(files > 0 ? [`${counted(files, "refused")}, ${cost}`] : []),
    ...(accepted > 0 ? [`${counted(accepted, "accepted")}, cosine ≥ 0.9999`] : []),
    ...(more === "" ? [] : [more]),
  ];
  t.comment(`${id}: ${figures.join("; ")}`);
  t.comment(`count malformed-files: ${files}`);
}

/** A row as one test: its title begins with the id, its figures follow. */
export function row(
  t: Test,
  id: string,
  title: string,
  body: (t: Test) => Promise<unknown>,
  more?: () => string,
): void {
  t.test(`${id} ${title}`, async (t) => {
    await body(t);
    report(t, id, more?.());
  });
}

/** What loading costs where it fails, or succeeds: time as refused() takes it, and peak memory over what was there, where the system tells it. */
export async function attempt(
  path: string,
  tower?: string,
  options?: LoadOptions,
): Promise<{ error?: unknown; milliseconds: number; clock: number; growth: number }> {
  const before = resetPeak();
  const processor = process.cpuUsage();
  const start = performance.now();
  const error = await loadHostile(path, tower, options).then(
    (model) => model.close(),
    (error: unknown) => error,
  );
  const clock = performance.now() - start;
  const { user, system } = process.cpuUsage(processor);
  const growth = Math.max(0, peakBytes() - before);
  return {
    ...(error !== undefined && { error }),
    milliseconds: Math.min(clock, (user + system) / 1000),
    clock,
    growth,
  };
}

export function sameBits(a: Float32Array, b: Float32Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength));
}

function statusBytes(field: "VmHWM" | "VmRSS"): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
}

/** The peak of resident memory begins anew; its value now. Where the system cannot do that, the memory now. */
export function resetPeak(): number {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
    return statusBytes("VmHWM");
  } catch {
    return process.memoryUsage.rss();
  }
}

export function peakBytes(): number {
  try {
    return statusBytes("VmHWM");
  } catch {
    return process.memoryUsage.rss();
  }
}
