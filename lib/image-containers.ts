import { badFormat, checkPossibleSides, corrupt, truncated } from "./image-errors";
import { maxImageSide, tooLarge } from "./input";

/**
 * The RIFF chunks of a WebP: as long as its header says. Of an animation the bytes of the first frame come back, as a file of its own in
 * `bytes`, which must be ours: libwebp reads all frames to count them.
 */
export function checkWebp(bytes: Uint8Array, file: string): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = view.getUint32(4, true) + 8;
  if (end > bytes.length) throw truncated(file, `the WebP has ${bytes.length} of its ${end} bytes`);
  for (let at = 12; at + 8 <= end; ) {
    const type = view.getUint32(at);
    const size = view.getUint32(at + 4, true);
    const next = at + 8 + size + (size % 2);
    if (at + 8 + size > end) throw truncated(file, "a chunk of the WebP ends behind its file");
    if (type === fourCc("ANMF")) {
      if (next >= end) return bytes;
      view.setUint32(4, next - 8, true);
      return bytes.subarray(0, next);
    }
    at = next;
  }
  return bytes;
}

/**
 * The boxes of an AVIF: whole, with possible sizes of its pictures. A sequence is given its still's brand in `bytes`, which must be ours:
 * libvips reads only that.
 */
export function checkAvif(bytes: Uint8Array, file: string): void {
  const seen = new Set<number>();
  const isWhole = () => seen.has(meta) && seen.has(mdat);
  for (const { type, at, end } of boxesIn(bytes, 0, bytes.length)) {
    // What stands behind the picture's own boxes is another's: it is ignored, as libvips ignores it.
    if (end > bytes.length && !isWhole()) throw truncated(file, "the AVIF ends within a box");
    if (end < at && !isWhole()) throw corrupt(file, "a box of the AVIF has an impossible length");
    if (end > bytes.length || end < at) break;
    seen.add(type);
    if (type === meta) checkProperties(bytes, at + 4, end, file);
  }
  if (!isWhole()) throw truncated(file, "the AVIF ends before its pixels or their description");
  bytes.set(Buffer.from("avif"), 8);
}

/** meta → iprp → ipco → ispe: the sizes of the picture and its tiles. */
function checkProperties(bytes: Uint8Array, from: number, to: number, file: string): void {
  for (const { type, at, end } of boxesIn(bytes, from, to)) {
    if (end > to || end < at)
      throw corrupt(file, "a box of the AVIF is longer than the one around it or impossibly short");
    if (type === fourCc("iprp") || type === fourCc("ipco")) checkProperties(bytes, at, end, file);
    if (type !== fourCc("ispe")) continue;
    if (end - at < 12) throw corrupt(file, "a size box of the AVIF is too short");
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, 12);
    const [width, height] = [view.getUint32(4), view.getUint32(8)];
    checkPossibleSides(width, height, file);
    // libvips complains on stderr about sides that it cannot even hold.
    const side = Math.max(width, height);
    if (side > maxImageSide) throw tooLarge(file, `a side of ${side}`, side, `sides of at most ${maxImageSide}`);
  }
}

interface Box {
  readonly type: number;
  /** Of its body. */
  readonly at: number;
  readonly end: number;
}

/** The boxes from one place to another; the last may end beyond it, or before it begins. Fewer than eight bytes behind them are ignored. */
function* boxesIn(bytes: Uint8Array, from: number, to: number): Generator<Box> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = from; start + 8 <= to; ) {
    let size = view.getUint32(start);
    const header = size === 1 ? 16 : 8;
    if (size === 1) size = start + 16 > to ? Number.POSITIVE_INFINITY : Number(view.getBigUint64(start + 8));
    const end = size === 0 ? to : start + size;
    yield { type: view.getUint32(start + 4), at: start + header, end };
    if (end < start + header) return;
    start = end;
  }
}

function fourCc(name: string): number {
  return Buffer.from(name, "latin1").readUInt32BE(0);
}

const meta = fourCc("meta");
const mdat = fourCc("mdat");

/** A box of brands names AVIF among the compatible ones or as its own; those of HEIC are not enough. */
export function hasAvifBrand(bytes: Uint8Array): boolean {
  const size = Math.min(new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0), bytes.length, 256);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, size).toString("latin1");
  for (let at = 8; at + 4 <= size; at += 4)
    if (at !== 12 && ["avif", "avis"].includes(text.slice(at, at + 4))) return true;
  return false;
}

/** What was read of the file by a codec other than AV1 is not what we let in. */
export function checkCodec(compression: string | undefined, file: string): void {
  if (compression !== "av1") throw badFormat(file, `coded with ${compression}`, "an AVIF, coded with AV1");
}
