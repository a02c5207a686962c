import { GmeError } from "./errors";

export type ImageFormat = "jpeg" | "png" | "webp" | "gif" | "tiff" | "avif";

const allowed = "JPEG, PNG, WebP, GIF, TIFF or AVIF";

/** The picture's format by its first bytes; extension and MIME type never count. Throws before any decoder sees the bytes. */
export function sniffImage(bytes: Uint8Array, file: string): ImageFormat {
  if (bytes.length === 0) throw truncated(file, "the file is empty");
  const format = formatOf(bytes);
  if (format === undefined) {
    if (bytes.length < 12 && startsLikeImage(bytes)) throw truncated(file, `only ${bytes.length} bytes`);
    throw new GmeError("GME_IMAGE_FORMAT", `${file}: not a picture that is read (${allowed})`, {
      file,
      field: "image",
      value: hex(bytes.subarray(0, 12)),
      expected: allowed,
    });
  }
  checkEnd(format, bytes, file);
  return format;
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
  [0x4d, 0x4d, 0, 42],
];

function startsLikeImage(b: Uint8Array): boolean {
  return magics.some((magic) => magic.slice(0, b.length).every((byte, i) => b[i] === byte));
}

/** Canon's CR2 is a TIFF that carries "CR" behind its header. */
function isCameraRaw(b: Uint8Array): boolean {
  return ascii(b, 8, 10) === "CR";
}

/** An AVIF still or sequence by its major or compatible brands; HEIC brands are not enough. */
function hasAvifBrand(b: Uint8Array): boolean {
  const size = Math.min(new DataView(b.buffer, b.byteOffset, 4).getUint32(0), b.length, 256);
  for (let at = 8; at + 4 <= size; at += 4) {
    const brand = ascii(b, at, at + 4);
    if (at !== 12 && (brand === "avif" || brand === "avis")) return true;
  }
  return false;
}

/** libvips takes a PNG without IEND and a JPEG without its header segments for whole pictures; we do not. */
function checkEnd(format: ImageFormat, bytes: Uint8Array, file: string): void {
  const least = { jpeg: 20, png: 57, webp: 20, gif: 14, tiff: 16, avif: 32 }[format];
  if (bytes.length < least) throw truncated(file, `only ${bytes.length} bytes`);
  if (format === "png") checkPng(bytes, file);
}

/** Walks the chunk lengths: IHDR with a possible size first, IEND at the end. Bytes behind IEND are ignored. */
function checkPng(bytes: Uint8Array, file: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (ascii(bytes, 12, 16) !== "IHDR") throw corrupt(file, "the PNG does not begin with IHDR");
  checkPngSides(view.getUint32(16), view.getUint32(20), file);
  let at = 8;
  while (at + 12 <= bytes.length) {
    const length = view.getUint32(at);
    if (ascii(bytes, at + 4, at + 8) === "IEND") return;
    at += 12 + length;
  }
  throw truncated(file, "the PNG ends before IEND");
}

function checkPngSides(width: number, height: number, file: string): void {
  for (const [name, side] of [
    ["width", width],
    ["height", height],
  ] as const) {
    if (side === 0 || side >= 2 ** 31 - 1) {
      throw new GmeError("GME_IMAGE_DIMENSIONS", `${file}: ${name} ${side}`, {
        file,
        field: `image.${name}`,
        value: side,
        expected: "a positive size",
      });
    }
  }
}

export function truncated(file: string, reason: string): GmeError {
  return new GmeError("GME_IMAGE_TRUNCATED", `${file}: ${reason}`, {
    file,
    field: "image",
    expected: "a whole picture",
  });
}

export function corrupt(file: string, reason: string, cause?: unknown): GmeError {
  return new GmeError("GME_IMAGE_CORRUPT", `${file}: ${reason}`, {
    file,
    field: "image",
    expected: "a picture that decodes without warnings",
    cause,
  });
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
