import { littleEndian } from "../../index";
import { optionError } from "./body-fields";

export type VectorEncoding = "float" | "base64" | "binary" | "ubinary";

/** A vector as JSON text. */
export function encodeVector(vector: Float32Array, encoding: VectorEncoding): string {
  switch (encoding) {
    case "float":
      return `[${vector.join(",")}]`;
    case "base64":
      return `"${littleEndian(vector).toString("base64")}"`;
    case "ubinary":
      return `[${signBits(vector).join(",")}]`;
    case "binary":
      return `[${Array.from(signBits(vector), (byte) => byte - 128).join(",")}]`;
  }
}

/** Eight numbers a byte, the first in the highest bit: 1 for a positive one. */
function signBits(vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(vector.length / 8);
  for (let i = 0; i < vector.length; i++) if (vector[i] > 0) bytes[i >> 3] |= 0x80 >> (i & 7);
  return bytes;
}

/** Whole bytes only. */
export function checkEncoding(encoding: VectorEncoding, dimensions: number, field: string): void {
  if ((encoding !== "binary" && encoding !== "ubinary") || dimensions % 8 === 0) return;
  const reason = `needs a multiple of 8 dimensions, and the vectors have ${dimensions}`;
  throw optionError(field, `${encoding} ${reason}`, { value: dimensions, expected: "a multiple of 8" });
}
