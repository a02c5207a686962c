import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, copyFileSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { bundledModelPath } from "../../lib/bundled-model";
import { openIndex } from "../../lib/index-store/index";
import type { CheckReport } from "../../lib/index-store/index-types";
import type { WriterLimits } from "../../lib/index-store/index-writer";
import { root } from "../helpers/fixtures";
import { maxDelta } from "../helpers/parity";
import { pdfWithPages } from "../helpers/pdf-writer";
import type { RunLine, RunRequest } from "./children/index-run";

export const samplePictures = join(root, "models", "emoji-tiny", "samples");
export const modelFlags = ["--model", bundledModelPath];
/** Commits of a few rows, so that a run of a second has dozens of them; the store is tidied up every fourth. */
export const smallCommits: WriterLimits = { rows: 8, bytes: 64 << 20, ms: 10_000, maintainEvery: 4 };
export const whole = { missing: 0, duplicates: 0, bad: 0 };

/** 51 pictures and 10 copies of them, 6 texts of 6 passages, 2 PDFs of 5 pages, a JSONL file of 30 texts and captioned pictures. */
export function writeSamples(folder: string): void {
  for (const name of ["pictures", "copies", "texts", "pages", "table"])
    mkdirSync(join(folder, name), { recursive: true });
  const names = readdirSync(samplePictures).sort();
  for (const name of names) copyFileSync(join(samplePictures, name), join(folder, "pictures", name));
  for (const name of names.slice(0, 10)) copyFileSync(join(samplePictures, name), join(folder, "copies", name));
  for (let file = 0; file < 6; file++) writeFileSync(join(folder, "texts", `${file}.txt`), textOf(`text ${file}`));
  for (let file = 0; file < 2; file++)
    writeFileSync(
      join(folder, "pages", `${file}.pdf`),
      pdfWithPages(Array.from({ length: 5 }, (_, i) => ({ text: `page ${i} of ${file}`, width: 200, height: 200 }))),
    );
  const rows = names.slice(0, 30).map((name, i) => ({
    text: `caption ${i} of ${name}`,
    ...(i % 2 === 0 && { image: join("..", "pictures", name) }),
  }));
  writeFileSync(join(folder, "table", "rows.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
}

/** About six passages. */
function textOf(title: string): string {
  const lines = Array.from({ length: 100 }, (_, i) => `Sentence ${i} of ${title} is about nothing in particular here.`);
  return `${lines.join("\n")}\n`;
}

/** A picture moved and one swapped with another, a text that grew, a PDF with other pages, a row more and a row changed. */
export function changeSamples(folder: string): void {
  const at = (...parts: string[]) => join(folder, ...parts);
  const names = readdirSync(samplePictures).sort();
  renameSync(at("pictures", names[40]), at("copies", names[40])); // no row of the table names it
  copyFileSync(at("pictures", names[21]), at("swap.tmp"));
  copyFileSync(at("pictures", names[22]), at("pictures", names[21]));
  renameSync(at("swap.tmp"), at("pictures", names[22]));
  writeFileSync(at("texts", "0.txt"), textOf("another text"));
  writeFileSync(at("pages", "0.pdf"), pdfWithPages([{ text: "only page", width: 200, height: 200 }]));
  appendFileSync(at("table", "rows.jsonl"), `${JSON.stringify({ text: "one row more" })}\n`);
}

export interface ChildRun {
  readonly child: ChildProcess;
  /** Resolves when the run has its lock and its model, or ended before. */
  readonly opened: Promise<void>;
  readonly ended: Promise<ChildResult>;
}

export interface ChildResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly lines: readonly RunLine[];
  readonly stderr: string;
}

/** Starts children/index-run.ts. */
export function startRun(request: RunRequest, env: Record<string, string> = {}): ChildRun {
  const { GME_CRASH_AT, ...inherited } = process.env;
  const script = join(root, "test", "index-store", "children", "index-run.ts");
  const child = spawn(process.execPath, ["--require", require.resolve("tsx/cjs"), script, JSON.stringify(request)], {
    cwd: root,
    env: { ...inherited, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  child.stdout?.on("data", (data) => {
    stdout += data;
    if (stdout.includes('"opened"')) open();
  });
  child.stderr?.on("data", (data) => {
    stderr += data;
  });
  const ended = new Promise<ChildResult>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      open();
      const lines = stdout.split("\n").slice(0, -1);
      resolve({ code, signal, stderr, lines: lines.map((line) => JSON.parse(line)) });
    });
  });
  return { child, opened, ended };
}

/** A run to its end, or to where GME_CRASH_AT ends it. */
export function childRun(request: RunRequest, crashAt?: string): Promise<ChildResult> {
  return startRun(request, crashAt === undefined ? {} : { GME_CRASH_AT: crashAt }).ended;
}

/** Vectors that a run computed, committed or not. */
export function vectorsOf({ lines }: ChildResult): number {
  return lines.reduce((sum, line) => sum + (line.type === "embedded" ? line.vectors : 0), 0);
}

export interface StoredRow {
  readonly key: string;
  readonly kind: string;
  readonly paths: readonly string[];
  readonly page?: number;
  readonly passage?: number;
  readonly vector: Float32Array;
}

/** Every row, ordered by key. */
export async function storedRows(db: string): Promise<StoredRow[]> {
  const index = await openIndex(db, { readOnly: true });
  try {
    const rows: StoredRow[] = [];
    for await (const entries of index.entries({ vectors: true }))
      for (const { key, kind, paths, page, passage, embedding } of entries)
        rows.push({ key, kind, paths: [...paths].sort(), page, passage, vector: embedding as Float32Array });
    return rows.sort((a, b) => (a.key < b.key ? -1 : 1));
  } finally {
    await index.close();
  }
}

const vectorTolerance = 1e-4;

/** The same rows: keys, kinds, paths, pages and passages equal, vectors within 1e-4; no key twice. */
export function sameRows(t: Test, actual: readonly StoredRow[], wanted: readonly StoredRow[], title: string): void {
  const plain = (rows: readonly StoredRow[]) => rows.map(({ vector, ...row }) => row);
  t.strictSame(plain(actual), plain(wanted), title);
  t.equal(new Set(actual.map(({ key }) => key)).size, actual.length, `${title}: no key twice`);
  const worst = Math.max(...actual.map(({ vector }, i) => maxDelta(vector, wanted[i]?.vector ?? new Float32Array(0))));
  t.ok(worst <= vectorTolerance, `${title}: vectors differ by ${worst}`);
}

/** Drops what has vanished. */
export async function prune(db: string): Promise<void> {
  const index = await openIndex(db);
  try {
    await index.prune();
  } finally {
    await index.close();
  }
}

/** What `gme index --check` reports. */
export async function checkOf(db: string): Promise<CheckReport> {
  const index = await openIndex(db, { readOnly: true });
  try {
    return await index.check();
  } finally {
    await index.close();
  }
}

/** Random numbers in [0, 1) that a seed determines (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
