import { checkPossibleSides, corrupt, truncated } from "./image-errors";

/** libvips keeps a record of each frame, and a frame may be 20 bytes; the size of a GIF is that of its first ones. */
const maxFrames = 256;

/**
 * Walks to the first frame and counts the pixels that its codes stand for. libvips leaves the rest of a frame blank, without a word, when
 * its codes end early. What follows the first frame is not looked at; from the 257th on it is cut off, in `bytes`, which must be ours.
 */
export function checkGif(bytes: Uint8Array, file: string): Uint8Array {
  const ends = (at: number) => {
    if (at > bytes.length) throw truncated(file, "the GIF ends within its first picture");
  };
  let at = 13 + paletteBytes(bytes[10]);
  for (;;) {
    ends(at + 1);
    const kind = bytes[at];
    if (kind === 0x2c) break;
    if (kind === 0x3b) throw corrupt(file, "the GIF has no picture");
    if (kind !== 0x21) throw corrupt(file, "the GIF has an unknown block before its first picture");
    at += 2;
    for (ends(at + 1); bytes[at] !== 0; ends(at + 1)) at += 1 + bytes[at];
    at++;
  }
  ends(at + 11);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [width, height] = [view.getUint16(at + 5, true), view.getUint16(at + 7, true)];
  checkPossibleSides(width, height, file);
  at += 10 + paletteBytes(bytes[at + 9]);
  ends(at + 1);
  const found = codedPixels(bytes, at, width * height);
  if (found === "damaged") throw corrupt(file, "the codes of the GIF's first picture make no sense");
  if (found < width * height)
    throw truncated(file, `the GIF's first picture has ${found} of its ${width * height} pixels`);
  return withoutTail(bytes, at + 1);
}

/** `from` is where the codes of the first frame begin. */
function withoutTail(bytes: Uint8Array, from: number): Uint8Array {
  let at = from;
  for (let frames = 1; ; ) {
    while (bytes[at] > 0) at += 1 + bytes[at];
    at++;
    const kind = bytes[at];
    if (kind === 0x2c && frames++ === maxFrames) {
      bytes[at] = 0x3b;
      return bytes.subarray(0, at + 1);
    }
    if (kind === 0x21) at += 2;
    else if (kind === 0x2c) at += 11 + paletteBytes(bytes[at + 9]);
    else return bytes;
  }
}

const paletteBytes = (flags: number): number => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);

const maxCodes = 4096;

/** How many pixels the codes stand for, up to `enough`; only their lengths are kept. `at` is where the code size stands. */
function codedPixels(bytes: Uint8Array, at: number, enough: number): number | "damaged" {
  const least = bytes[at];
  if (least < 1 || least > 11) return "damaged";
  const [clear, end] = [1 << least, (1 << least) + 1];
  const lengths = new Uint16Array(maxCodes).fill(1, 0, clear);
  const codes = new CodeReader(bytes, at + 1);
  let [pixels, next, width, before] = [0, clear + 2, least + 1, 0];
  while (pixels < enough) {
    const code = codes.read(width);
    if (code < 0 || code === end) break;
    if (code === clear) {
      [next, width, before] = [clear + 2, least + 1, 0];
      continue;
    }
    if (code > next || (code === next && (before === 0 || next === maxCodes))) return "damaged";
    if (before > 0 && next < maxCodes) {
      lengths[next++] = before + 1;
      if (next === 1 << width && width < 12) width++;
    }
    before = lengths[code];
    if (before === 0) return "damaged";
    pixels += before;
  }
  return pixels;
}

/** Codes of changing width out of blocks of up to 255 bytes. */
class CodeReader {
  private held = 0;
  private bits = 0;
  private left: number;

  constructor(
    private readonly bytes: Uint8Array,
    private at: number,
  ) {
    this.left = bytes[at] ?? 0;
    this.at++;
  }

  /** Below zero when the blocks have ended. */
  read(width: number): number {
    while (this.bits < width) {
      if (this.left === 0) return -1;
      if (this.at >= this.bytes.length) return -1;
      this.held |= this.bytes[this.at++] << this.bits;
      this.bits += 8;
      if (--this.left === 0) this.left = this.bytes[this.at++] ?? 0;
    }
    const code = this.held & ((1 << width) - 1);
    this.held >>>= width;
    this.bits -= width;
    return code;
  }
}
