// What the lifetime tests share: the tiny model of the fixtures through lib/binding, calls of about a given length, and random moments
// that are the same in every run.
import { join } from "node:path";
import {
  binding,
  type NativeEmbedParams,
  type NativeItem,
  type NativeJob,
  type NativeLoadParams,
  type NativeModel,
} from "../../lib/binding";

export const root = join(__dirname, "..", "..");
export const modelFile = join(root, "test", "fixtures", "gguf", "tiny-a-f32.gguf");

export const loadParams: NativeLoadParams = {
  mmproj: join(root, "test", "fixtures", "gguf", "mmproj-tiny-a-f32.gguf"),
  threads: 1,
  mmap: true,
  positions: "file",
  loaderResize: "file",
  minImageTokens: 4,
  maxImageTokens: 16,
  maxTokens: 0,
};

export const embedParams: NativeEmbedParams = { overflow: "error", parseSpecial: false, batchTokens: 64 };

export const open = (): Promise<NativeModel> => binding().load(modelFile, loadParams).promise;

export const embedNow = (model: NativeModel, items: NativeItem[]): Promise<Float32Array> =>
  model.embed(items, embedParams).promise;

const picture = { data: Uint8Array.from({ length: 84 * 56 * 3 }, (_, i) => (i * 37) % 251), width: 84, height: 56 };

/** Texts with a picture every eighth time. */
export const makeItems = (n: number): NativeItem[] =>
  Array.from({ length: n }, (_, i) => (i % 8 === 7 ? { image: picture } : { text: `a short caption, number ${i}` }));

/** As many items as take about `milliseconds` here and now. */
export async function itemsFor(model: NativeModel, milliseconds: number): Promise<NativeItem[]> {
  await embedNow(model, makeItems(8));
  const start = performance.now();
  await embedNow(model, makeItems(16));
  const each = (performance.now() - start) / 16;
  return makeItems(Math.max(8, Math.min(400, Math.round(milliseconds / each))));
}

/** A small generator (mulberry32): the same moments in every run. */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const wait = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Lets the event loop turn until the time is over: moments finer than a timer's millisecond. */
export async function turnFor(milliseconds: number): Promise<void> {
  const end = performance.now() + milliseconds;
  while (performance.now() < end) await new Promise(setImmediate);
}

/** The code a job rejects with, or "fulfilled". */
export const outcomeOf = async (work: Promise<unknown> | NativeJob<unknown>): Promise<string> =>
  ("promise" in work ? work.promise : work).then(
    () => "fulfilled",
    (error: { code?: string }) => error.code ?? String(error),
  );

export const sameVectors = (a: Float32Array, b: Float32Array): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i]);

/** The addon's file and the model's, for processes and threads that run without the TypeScript loader. */
export function childSetup(items: number, more: Record<string, unknown> = {}): string {
  return JSON.stringify({ addon: addonFile(), model: modelFile, loadParams, embedParams, items, ...more });
}

export function addonFile(): string {
  const { resolve } = require("node-gyp-build") as { resolve(folder: string): string };
  return resolve(root);
}
