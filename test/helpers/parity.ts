import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { convert, cosine, type GmeInput, type GmeModel, type LoadOptions, load } from "../../lib/index";
import { fixture, type GoldenCase, imageFixture, temporaryFolder } from "./fixtures";

/** Gates of f32 files (test/fixtures/README.md): the engine adds in another order than the reference, nothing more. */
export const leastCosine = 0.999999;
export const largestDelta = 2e-5;
export const largestTraceError = 1e-4;

/** One thread: test files run side by side, and threads that wait for each other on busy CPUs take many times longer. */
export const testThreads = 1;

/** The worst numbers of one group of comparisons. */
export class Worst {
  cosine = 1;
  delta = 0;
  count = 0;

  constructor(private readonly title: string) {}

  /** Compares and keeps; false when a gate is missed. */
  add(
    actual: Float32Array,
    golden: Float32Array | undefined,
    cosineGate = leastCosine,
    deltaGate = largestDelta,
  ): boolean {
    if (golden === undefined || golden.length !== actual.length) return false;
    const [similarity, delta] = [cosine(actual, golden), maxDelta(actual, golden)];
    this.cosine = Math.min(this.cosine, similarity);
    this.delta = Math.max(this.delta, delta);
    this.count++;
    return similarity >= cosineGate && delta <= deltaGate;
  }

  report(t: Test): void {
    const distance = (1 - this.cosine).toExponential(1);
    t.comment(
      `${this.title}: ${this.count} vectors, worst 1 - cosine ${distance}, worst |Δ| ${this.delta.toExponential(1)}`,
    );
  }
}

export function maxDelta(a: Float32Array, b: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] - b[i]));
  return a.length === b.length ? largest : Number.POSITIVE_INFINITY;
}

/** ‖a − b‖ / ‖b‖ */
export function relativeL2(a: Float32Array, b: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    norm += b[i] ** 2;
  }
  return a.length === b.length ? Math.sqrt(difference / norm) : Number.POSITIVE_INFINITY;
}

/** The item of a golden case; its instruction is the item's prompt. */
export function inputOf({
  text,
  image,
  instruction,
}: Pick<GoldenCase, "text" | "image"> & { instruction?: string }): GmeInput {
  return {
    ...(text !== null && text !== undefined && { text }),
    ...(image && { image: imageFixture(image) }),
    ...(instruction !== undefined && { prompt: instruction }),
  };
}

/** The way of the reference: EXIF orientation ignored. */
export function loadReference(path: string, options: LoadOptions = {}): Promise<GmeModel> {
  return load(path, { orientation: "ignore", threads: testThreads, ...options });
}

/** The two files as llama.cpp's converter writes them; the second is found beside the first. */
export function pairPath(model: string): string {
  return fixture("gguf", `${model}-f32.gguf`);
}

const folder = temporaryFolder();

/** A checkpoint of the fixtures as one GGUF, converted by the public `convert`. */
export async function converted(checkpoint: string, type: "f32" | "f16" | "bf16" = "f32"): Promise<string> {
  const target = join(folder, `${checkpoint.replaceAll("/", "-")}-${type}.gguf`);
  if (!existsSync(target)) await convert({ source: fixture(checkpoint), target, type });
  return target;
}

/** Ids of the whole template, put together from the tokens of its runs between special tokens. */
export async function templateIds(
  model: GmeModel,
  text: string,
  instruction: string,
  mode: "text" | "parse",
): Promise<number[]> {
  const special = (token: string) => model.tokenize(token, { specialTokens: "parse" });
  const run = (plain: string) => model.tokenize(plain, { specialTokens: mode });
  const parts = [
    special("<|im_start|>"),
    run(`system\n${instruction}`),
    special("<|im_end|>"),
    run("\n"),
    special("<|im_start|>"),
    run(`user\n${text}`),
    special("<|im_end|>"),
    run("\n"),
    special("<|im_start|>"),
    run("assistant\n"),
    special("<|endoftext|>"),
  ];
  return (await Promise.all(parts)).flatMap((ids) => [...ids]);
}
