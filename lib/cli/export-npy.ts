import { GmeError, littleEndian } from "../index";
import type { IndexEntry } from "../index-store/index";
import { npyHeader } from "./embed-formats";
import { entryLines, type EntrySink } from "./export-lines";
import { WholeFile } from "./whole-file";

export const npyTypes = ["f32", "f16", "int8", "binary"] as const;
export type NpyType = (typeof npyTypes)[number];

interface NpyNumbers {
  readonly descr: string;
  readonly columns: (dimensions: number) => number;
  readonly encode: (vector: Float32Array) => Uint8Array;
}

const numbers: { readonly [type in NpyType]: NpyNumbers } = {
  f32: { descr: "<f4", columns: (dimensions) => dimensions, encode: littleEndian },
  f16: { descr: "<f2", columns: (dimensions) => dimensions, encode: halves },
  int8: { descr: "|i1", columns: (dimensions) => dimensions, encode: scaledBytes },
  binary: { descr: "|u1", columns: (dimensions) => Math.ceil(dimensions / 8), encode: signBits },
};

/** A .npy file of all vectors, [rows, dimensions], and beside it `<path>.ids.jsonl`, a line per row in the same order. */
export async function npySink(path: string, type: NpyType, dimensions: number): Promise<EntrySink> {
  const { descr, columns, encode } = numbers[type];
  const file = await WholeFile.open(path);
  const ids = await WholeFile.open(`${path}.ids.jsonl`).catch(async (error) => {
    await file.discard();
    throw error;
  });
  let rows = 0;
  const discard = async () => {
    await file.discard();
    await ids.discard();
  };
  await file.write(npyHeader(descr, [0, columns(dimensions)]));
  return {
    async write(entries) {
      await file.write(Buffer.concat(entries.map((entry) => encode(vectorOf(entry, dimensions)))));
      await ids.write(entryLines(entries, false));
      rows += entries.length;
    },
    async finish() {
      await file.write(npyHeader(descr, [rows, columns(dimensions)]), 0);
      await ids.commit();
      await file.commit();
    },
    discard,
  };
}

function vectorOf({ embedding, key }: IndexEntry, dimensions: number): Float32Array {
  if (embedding?.length === dimensions) return embedding;
  const found = embedding === undefined ? "no vector" : `${embedding.length} numbers`;
  throw new GmeError("GME_INTERNAL", `row ${key} has ${found}, ${dimensions} numbers are expected`, {
    value: embedding?.length,
    expected: `${dimensions} numbers`,
  });
}

/** Numbers of half precision, rounded to the nearest, ties to even. */
function halves(vector: Float32Array): Uint8Array {
  const bits = new Uint32Array(Float32Array.from(vector).buffer);
  const bytes = Buffer.alloc(vector.length * 2);
  for (let i = 0; i < bits.length; i++) bytes.writeUInt16LE(halfOf(bits[i]), i * 2);
  return bytes;
}

function halfOf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 127;
  const fraction = bits & 0x7fffff;
  if (exponent === 128) return sign | 0x7c00 | (fraction === 0 ? 0 : 0x200);
  if (exponent < -25) return sign;
  // A half below 2^-14 has no leading one of its own: the one is written out and shifted down with the fraction.
  const isSmall = exponent < -14;
  const dropped = isSmall ? -1 - exponent : 13;
  const whole = isSmall ? fraction | 0x800000 : ((exponent + 15) << 23) | fraction;
  const rest = whole & (2 ** dropped - 1);
  const tie = 2 ** (dropped - 1);
  const kept = Math.floor(whole / 2 ** dropped);
  const rounded = kept + (rest > tie || (rest === tie && kept % 2 === 1) ? 1 : 0);
  return sign | Math.min(rounded, 0x7c00);
}

function scaledBytes(vector: Float32Array): Uint8Array {
  const largest = vector.reduce((most, number) => Math.max(most, Math.abs(number)), 0);
  const scaled = Int8Array.from(vector, (number) => (largest === 0 ? 0 : Math.round((number / largest) * 127)));
  return new Uint8Array(scaled.buffer);
}

/** As numpy.packbits(vector > 0): the first number in the highest bit. */
function signBits(vector: Float32Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(vector.length / 8));
  for (let i = 0; i < vector.length; i++) if (vector[i] > 0) bytes[i >> 3] |= 0x80 >> (i & 7);
  return bytes;
}
