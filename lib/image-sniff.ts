import { checkAvif, checkWebp, hasAvifBrand } from "./image-containers";
import { badFormat, truncated } from "./image-errors";
import { checkGif } from "./image-gif";
import { checkJpeg } from "./image-jpeg";
import { checkPng } from "./image-png";
import { checkTiff } from "./image-tiff";

export type ImageFormat = "jpeg" | "png" | "webp" | "gif" | "tiff" | "avif";

const allowed = "JPEG, PNG, WebP, GIF, TIFF or AVIF";

export interface SniffedImage {
  readonly format: ImageFormat;
  /** What a decoder may see: all of them, or no more than the first picture of several. */
  readonly bytes: Uint8Array;
}

/**
 * The picture's format by its first bytes, and whether its structure is whole; extension and MIME type never count. Throws before any
 * decoder sees the bytes. They must be ours: what links a first picture to others is taken out of them.
 */
export function sniffImage(bytes: Uint8Array, file: string): SniffedImage {
  if (bytes.length === 0) throw truncated(file, "the file is empty");
  const format = formatOf(bytes);
  if (format === undefined) {
    if (bytes.length < 12 && startsLikeImage(bytes)) throw truncated(file, `only ${bytes.length} bytes`);
    throw badFormat(file, `begins with ${hex(bytes.subarray(0, 12))}, not a picture that is read`, allowed);
  }
  if (bytes.length < leastBytes[format]) throw truncated(file, `only ${bytes.length} bytes`);
  return { format, bytes: checkStructure(format, bytes, file) };
}

const leastBytes = { jpeg: 20, png: 57, webp: 20, gif: 14, tiff: 16, avif: 32 } as const;

/** libvips fills what is missing of some formats without a word, and reads all pictures of others; we do neither. */
function checkStructure(format: ImageFormat, bytes: Uint8Array, file: string): Uint8Array {
  const check = { jpeg: checkJpeg, png: checkPng, webp: checkWebp, gif: checkGif, tiff: checkTiff, avif: checkAvif };
  return check[format](bytes, file) ?? bytes;
}

function formatOf(b: Uint8Array): ImageFormat | undefined {
  if (begins(b, [0xff, 0xd8, 0xff])) return "jpeg";
  if (begins(b, pngMagic)) return "png";
  if (ascii(b, 0, 4) === "RIFF" && ascii(b, 8, 12) === "WEBP") return "webp";
  if (/^GIF8[79]a$/.test(ascii(b, 0, 6))) return "gif";
  if (begins(b, [0x49, 0x49, 42, 0]) || begins(b, [0x49, 0x49, 43, 0])) return isCameraRaw(b) ? undefined : "tiff";
  if (begins(b, [0x4d, 0x4d, 0, 42]) || begins(b, [0x4d, 0x4d, 0, 43])) return "tiff";
  if (ascii(b, 4, 8) === "ftyp" && hasAvifBrand(b)) return "avif";
  return undefined;
}

const pngMagic = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const magics: readonly (readonly number[])[] = [
  [0xff, 0xd8, 0xff],
  pngMagic,
  [...Buffer.from("RIFF")],
  [...Buffer.from("GIF89a")],
  [...Buffer.from("GIF87a")],
  [0x49, 0x49, 42, 0],
  [0x49, 0x49, 43, 0],
  [0x4d, 0x4d, 0, 42],
  [0x4d, 0x4d, 0, 43],
];

function startsLikeImage(b: Uint8Array): boolean {
  if (b.length >= 8 && ascii(b, 4, 8) === "ftyp") return true;
  return magics.some((magic) => magic.slice(0, b.length).every((byte, i) => b[i] === byte));
}

/** Canon's CR2 is a TIFF that carries "CR" behind its header. */
function isCameraRaw(b: Uint8Array): boolean {
  return ascii(b, 8, 10) === "CR";
}

function begins(bytes: Uint8Array, magic: readonly number[]): boolean {
  return bytes.length >= magic.length && magic.every((byte, i) => bytes[i] === byte);
}

function ascii(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1", from, to);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
