// Valid pictures of each format, and seeded damage: bits, bytes, lengths, and chunks that are doubled, dropped or swapped.
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { boxesOf, riffChunk, webpChunks } from "./picture-write-boxes";
import { gifPicture } from "./picture-write-gif";
import { components, exif, jpegPicture } from "./picture-write-jpeg";
import { pngChunks, pngOf, pngPicture } from "./picture-write-png";
import { tiffEntries, tiffPicture } from "./picture-write-tiff";

export interface Seedling {
  name: string;
  bytes: Buffer;
  /** The file in the parts of its format, each whole. */
  parts: Buffer[];
}

const [width, height] = [48, 40];

/** Some valid files of every format. */
export async function seedlings(): Promise<Seedling[]> {
  const noise = Buffer.from(
    Array.from({ length: width * height * 4 }, (_, i) => (Math.floor(i / 30) + ((i * 7_919) % 61)) & 255),
  );
  const four = () => sharp(noise, { raw: { width, height, channels: 4 } });
  const three = () => four().removeAlpha();
  const pixels = Uint8Array.from({ length: width * height }, (_, i) => noise[i] & 127);
  const strips = Array.from({ length: 5 }, (_, i) =>
    deflateSync(noise.subarray(i * 8 * width * 3, (i + 1) * 8 * width * 3)),
  );
  const entries = tiffEntries({ width, height, compression: 8, rowsPerStrip: 8 });
  const files: Record<string, Buffer> = {
    "png rgba": await four().png().toBuffer(),
    "png palette": await three().png({ palette: true, progressive: true }).toBuffer(),
    "png 16": pngPicture({ width, height, depth: 16, colour: 0 }, (x, y) => (x * 977 + y * 31) & 0xffff),
    "jpeg baseline": await three().jpeg().toBuffer(),
    "jpeg progressive": await three().jpeg({ progressive: true, mozjpeg: true }).toBuffer(),
    "jpeg exif": jpegPicture({
      width,
      height,
      components: components([
        [2, 1],
        [1, 1],
        [1, 1],
      ]),
      restart: 2,
      segments: [exif(6)],
    }),
    "webp lossy": await four().webp().toBuffer(),
    "webp lossless": await four().webp({ lossless: true }).toBuffer(),
    "gif plain": await three().gif().toBuffer(),
    "gif two": gifPicture({
      width,
      height,
      frames: [
        { width, height, pixels, transparent: 3 },
        { width, height, pixels },
      ],
    }),
    "tiff strips": tiffPicture({ pages: [{ entries, strips }] }),
    "tiff big": tiffPicture({ pages: [{ entries, strips }], big: true, motorola: true }),
    "tiff jpeg": await three().tiff({ compression: "jpeg" }).toBuffer(),
    "tiff lzw": await three().tiff({ compression: "lzw", tile: true, tileWidth: 32, tileHeight: 32 }).toBuffer(),
    "avif plain": await three().avif({ effort: 0 }).toBuffer(),
    "avif alpha": await four().avif({ effort: 0 }).toBuffer(),
  };
  return Object.entries(files).map(([name, bytes]) => ({ name, bytes, parts: partsOf(name, bytes) }));
}

function partsOf(name: string, bytes: Buffer): Buffer[] {
  if (name.startsWith("png"))
    return [bytes.subarray(0, 8), ...pngChunks(bytes).map((chunk) => pngOf([chunk]).subarray(8))];
  if (name.startsWith("webp"))
    return [bytes.subarray(0, 12), ...webpChunks(bytes).map(({ type, body }) => riffChunk(type, body))];
  if (name.startsWith("avif")) return boxesOf(bytes).map(({ at, body }) => bytes.subarray(at, at + 8 + body.length));
  if (name.startsWith("jpeg")) {
    const cuts = [0];
    for (
      let at = 2;
      at + 4 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda;
      at += 2 + bytes.readUInt16BE(at + 2)
    )
      cuts.push(at);
    return cuts.map((from, i) => bytes.subarray(from, cuts[i + 1] ?? bytes.length));
  }
  const step = Math.ceil(bytes.length / 8);
  return Array.from({ length: 8 }, (_, i) => bytes.subarray(i * step, (i + 1) * step));
}

/** One damaged file; the same numbers give the same damage. */
export function damaged({ bytes, parts }: Seedling, random: () => number): Buffer {
  const below = (n: number) => Math.floor(random() * n);
  const kind = below(8);
  if (kind === 0) {
    const order = [...parts];
    const [from, to] = [below(order.length), below(order.length)];
    const action = below(3);
    if (action === 0) order.splice(from, 1);
    else if (action === 1) order.splice(to, 0, order[from]);
    else [order[from], order[to]] = [order[to], order[from]];
    return Buffer.concat(order);
  }
  const copy = Buffer.from(bytes);
  // The structure stands at the beginning: half of the damage goes there.
  const place = () => (below(2) === 0 ? below(Math.min(copy.length, 128)) : below(copy.length));
  if (kind === 1) copy.fill(below(2) * 255, place(), undefined);
  else if (kind === 2) copy.fill(0, ...range(place(), 1 + below(32), copy.length));
  else if (kind === 3) return Buffer.concat([copy.subarray(0, place()), copy.subarray(place())]);
  else if (kind === 4) {
    const words = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, copy.length];
    const at = below(Math.max(1, Math.min(copy.length, 256) - 4));
    const size = [1, 2, 4][below(3)];
    const value = words[below(words.length)] % 256 ** size;
    if (below(2) === 0) copy.writeUIntBE(value, at, size);
    else copy.writeUIntLE(value, at, size);
  } else {
    for (let n = 1 + below(kind === 5 ? 1 : 12); n > 0; n--) {
      const at = place();
      copy[at] = kind === 6 ? below(256) : copy[at] ^ (1 << below(8));
    }
  }
  return copy;
}

const range = (from: number, length: number, most: number): [number, number] => [from, Math.min(most, from + length)];
