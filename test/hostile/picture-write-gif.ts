// GIF files by hand.

export interface GifFrame {
  left?: number;
  top?: number;
  width: number;
  height: number;
  /** Colour indexes, 0 to 127, row by row; or the coded bytes of the frame as they are. */
  pixels?: Uint8Array;
  coded?: Uint8Array;
  /** Index of the transparent colour. */
  transparent?: number;
  interlaced?: boolean;
}

export interface GifPlan {
  width: number;
  height: number;
  frames: readonly GifFrame[];
  /** RGB triples; default: 128 greys and browns. */
  palette?: Uint8Array;
  version?: "87a" | "89a";
  trailer?: boolean;
}

/** 128 colours, each another one. */
export const gifPalette = Uint8Array.from({ length: 384 }, (_, i) => (Math.floor(i / 3) * 2 + (i % 3) * 40) & 255);

export function gifPicture(plan: GifPlan): Buffer {
  const { width, height, frames, palette = gifPalette, version = "89a", trailer = true } = plan;
  const head = Buffer.alloc(13);
  head.write(`GIF${version}`, 0, "latin1");
  head.writeUInt16LE(width, 6);
  head.writeUInt16LE(height, 8);
  head[10] = 0xf6; // a global palette of 128 colours
  const parts: Uint8Array[] = [head, palette, ...frames.flatMap(frameParts)];
  if (trailer) parts.push(Uint8Array.of(0x3b));
  return Buffer.concat(parts);
}

function frameParts(frame: GifFrame): Uint8Array[] {
  const control = frame.transparent === undefined ? [] : [Uint8Array.of(0x21, 0xf9, 4, 1, 0, 0, frame.transparent, 0)];
  const head = Buffer.alloc(10);
  head[0] = 0x2c;
  head.writeUInt16LE(frame.left ?? 0, 1);
  head.writeUInt16LE(frame.top ?? 0, 3);
  head.writeUInt16LE(frame.width, 5);
  head.writeUInt16LE(frame.height, 7);
  head[9] = frame.interlaced ? 0x40 : 0;
  const coded = frame.coded ?? plainCodes(frame.pixels ?? new Uint8Array(frame.width * frame.height));
  return [...control, head, Uint8Array.of(7), ...blocksOf(coded), Uint8Array.of(0)];
}

/** Codes of eight bits: the table is cleared before they would need nine. */
export function plainCodes(pixels: Uint8Array): Uint8Array {
  const codes: number[] = [];
  pixels.forEach((pixel, i) => {
    if (i % 100 === 0) codes.push(128);
    codes.push(pixel & 127);
  });
  codes.push(129);
  return Uint8Array.from(codes);
}

function blocksOf(bytes: Uint8Array): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += 255) {
    const part = bytes.subarray(at, at + 255);
    blocks.push(Uint8Array.of(part.length), part);
  }
  return blocks;
}
