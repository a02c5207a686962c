import { badArgument, GmeError } from "./errors";

type Numbers = ArrayLike<number>;

/**
 * Cosine of the angle between two vectors of the same length, -1…1; higher is nearer. 0 when one of them is all zeros.
 * Embeddings have unit length, so this is their dot product.
 */
export function cosine(a: Numbers, b: Numbers): number {
  checkVector(a, "a");
  checkVector(b, "b");
  if (a.length !== b.length) {
    throw new GmeError("GME_INPUT_INVALID", `vectors of ${a.length} and ${b.length} numbers cannot be compared`, {
      field: "b.length",
      value: b.length,
      expected: String(a.length),
    });
  }
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb);
}

/** Matrix of cosines: row i, column j is `cosine(A[i], B[j])`; one Float32Array of B.length per row. */
export function similarity(A: readonly Numbers[], B: readonly Numbers[]): Float32Array[] {
  for (const [name, list] of [
    ["A", A],
    ["B", B],
  ] as const) {
    if (!Array.isArray(list)) throw badArgument("GME_INPUT_INVALID", name, "an array of vectors", list);
  }
  return A.map((a) => Float32Array.from(B, (b) => cosine(a, b)));
}

/** A fresh vector of the first `dimensions` numbers, renormalised to unit length (eps 1e-12). */
export function cutEmbedding(vector: Float32Array, dimensions: number): Float32Array {
  const cut = vector.slice(0, dimensions);
  if (dimensions >= vector.length) return cut;
  let squares = 0;
  for (const x of cut) squares += x * x;
  const norm = Math.max(Math.sqrt(squares), 1e-12);
  return cut.map((x) => x / norm);
}

function checkVector(value: unknown, name: string): void {
  const isVector = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
  if (!isVector || (value as Numbers).length === 0)
    throw badArgument("GME_INPUT_INVALID", name, "a vector of numbers", value);
}
