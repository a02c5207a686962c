import { littleEndian } from "../index";

export const embedFormats = ["json", "jsonl", "npy", "base64"] as const;
export type EmbedFormat = (typeof embedFormats)[number];

/** Little-endian f32 numbers as base64. */
export function base64(vector: Float32Array): string {
  return littleEndian(vector).toString("base64");
}

/** A NumPy .npy file, version 1.0, `<f4`, C order: shape (dimensions,) of one vector, or (n, dimensions). */
export function npyFile(vectors: readonly Float32Array[], single: boolean, dimensions: number): Buffer {
  const shape = single ? `(${dimensions},)` : `(${vectors.length}, ${dimensions})`;
  const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const padding = 64 - ((10 + dictionary.length + 1) % 64);
  const header = Buffer.from(`\u0093NUMPY\u0001\u0000..${dictionary}${" ".repeat(padding % 64)}\n`, "latin1");
  header.writeUInt16LE(header.length - 10, 8);
  return Buffer.concat([header, ...vectors.map(littleEndian)]);
}
