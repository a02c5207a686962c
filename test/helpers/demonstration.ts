import type { Test } from "tap";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { bundledModelPath, type GmeModel, load } from "../../lib/index";
import { root } from "./fixtures";

/** A sample picture in each form in which clients hand one over. */
export function samplePicture(name: string) {
  const path = join(root, "models", "emoji-tiny", "samples", `${name}.png`);
  const bytes = new Uint8Array(readFileSync(path));
  const base64 = Buffer.from(bytes).toString("base64");
  return { path, bytes, base64, dataUrl: `data:image/png;base64,${base64}`, fileUrl: pathToFileURL(path) };
}

/** Closed when the test file has ended. */
export async function demonstrationModel(t: Test): Promise<GmeModel> {
  const model = await load(bundledModelPath, { threads: 1 });
  t.teardown(() => model.close());
  return model;
}

/** What batches of other items around an item may change (README's table): rounding in another order, and nothing else. */
const batchTolerance = 1e-6;

/** The vectors are the library's: arrays of numbers, of the same count and length, each number equal but for the batch. */
export function sameVectors(
  t: Test,
  found: unknown,
  expected: readonly Float32Array[],
  message = "the library's vectors",
) {
  const vectors = found as number[][];
  const isNumbers = Array.isArray(vectors) && vectors.every((vector) => Array.isArray(vector));
  if (!isNumbers || vectors.length !== expected.length) {
    return t.fail(`${message}: ${expected.length} arrays of numbers expected`, { found: typeof found });
  }
  const apart = vectors.map((vector, i) =>
    vector.length === expected[i].length
      ? Math.max(...vector.map((x, j) => Math.abs(x - expected[i][j])))
      : Number.POSITIVE_INFINITY,
  );
  return t.ok(
    apart.every((difference) => difference <= batchTolerance), // false for NaN
    `${message}: ${Math.max(0, ...apart)} apart`,
  );
}
