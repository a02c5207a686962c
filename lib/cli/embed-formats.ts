import { littleEndian } from "../index";

export const embedFormats = ["json", "jsonl", "npy", "base64"] as const;
export type EmbedFormat = (typeof embedFormats)[number];

/** Little-endian f32 numbers as base64. */
export function base64(vector: Float32Array): string {
  return littleEndian(vector).toString("base64");
}

/** A NumPy .npy file, version 1.0, `<f4`, C order: shape (dimensions,) of one vector, or (n, dimensions). */
export function npyFile(vectors: readonly Float32Array[], single: boolean, dimensions: number): Buffer {
  const header = npyHeader("<f4", single ? [dimensions] : [vectors.length, dimensions]);
  return Buffer.concat([header, ...vectors.map(littleEndian)]);
}

/** The head of a .npy file. It has the same length, 128 bytes, for every count of rows. */
export function npyHeader(type: string, shape: readonly number[]): Buffer {
  const shown = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  const dictionary = `{'descr': '${type}', 'fortran_order': False, 'shape': ${shown}, }`;
  const header = Buffer.from(`\u0093NUMPY\u0001\u0000..${dictionary.padEnd(npyHeaderBytes - 11)}\n`, "latin1");
  header.writeUInt16LE(header.length - 10, 8);
  return header;
}

/** Room for the longest shape: two numbers of 16 digits. */
export const npyHeaderBytes = 128;
