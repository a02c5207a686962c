// PNG files by hand: every field of the header, every chunk and the order of them can be wrong.
import { deflateSync } from "node:zlib";
import { pngChunk } from "../helpers/png";

export const pngMagic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

export interface PngChunk {
  type: string;
  data: Uint8Array;
}

export interface PngHeader {
  width: number;
  height: number;
  depth?: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. */
  colour?: number;
  interlace?: number;
}

export function ihdr({ width, height, depth = 8, colour = 2, interlace = 0 }: PngHeader): PngChunk {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([depth, colour, 0, 0, interlace], 8);
  return { type: "IHDR", data };
}

export const iend: PngChunk = { type: "IEND", data: new Uint8Array() };

/** Magic and chunks, each with a right CRC. */
export const pngOf = (chunks: readonly PngChunk[]): Buffer =>
  Buffer.concat([pngMagic, ...chunks.map(({ type, data }) => pngChunk(type, data))]);

const samplesOf: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** Filtered rows (filter 0) of a header; `sample` gives every sample in its own depth. */
export function pngRows(header: PngHeader, sample: (x: number, y: number, channel: number) => number): Buffer {
  const { width, height, depth = 8, colour = 2, interlace = 0 } = header;
  const channels = samplesOf[colour];
  const passes = interlace === 0 ? [[0, 0, 1, 1]] : adam7;
  const rows: Buffer[] = [];
  for (const [left, top, acrossStep, downStep] of passes) {
    if (left >= width) continue;
    for (let y = top; y < height; y += downStep) {
      const across = Math.ceil((width - left) / acrossStep);
      const row = Buffer.alloc(1 + Math.ceil((across * channels * depth) / 8));
      for (let i = 0; i < across * channels; i++) {
        const value = sample(left + Math.floor(i / channels) * acrossStep, y, i % channels);
        if (depth === 16) row.writeUInt16BE(value, 1 + i * 2);
        else row[1 + Math.floor((i * depth) / 8)] |= value << (8 - depth - ((i * depth) % 8));
      }
      rows.push(row);
    }
  }
  return Buffer.concat(rows);
}

/** Left, top, step across and step down of the seven passes. */
const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

/** A whole PNG; `before` goes between IHDR and IDAT. */
export function pngPicture(
  header: PngHeader,
  sample: (x: number, y: number, channel: number) => number,
  before: readonly PngChunk[] = [],
): Buffer {
  const data = deflateSync(pngRows(header, sample));
  return pngOf([ihdr(header), ...before, { type: "IDAT", data }, iend]);
}

export interface PlacedChunk extends PngChunk {
  /** Where its length field lies. */
  at: number;
}

/** The chunks of a valid PNG. */
export function pngChunks(bytes: Buffer): PlacedChunk[] {
  const chunks: PlacedChunk[] = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    chunks.push({ type: bytes.toString("latin1", at + 4, at + 8), data: bytes.subarray(at + 8, at + 8 + length), at });
    at += 12 + length;
  }
  return chunks;
}
