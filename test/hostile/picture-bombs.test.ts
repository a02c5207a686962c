// What a picture may cost: memory and processor time, measured in a process that does nothing else.
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import t, { type Test } from "tap";
import { root, temporaryFolder } from "../helpers/fixtures";
import { isSanitized } from "../lifetime/rounds";
import { anim, anmf, vp8x, webpChunks, webpOf } from "./picture-write-boxes";
import { gifPicture } from "./picture-write-gif";
import { components, type JpegPlan, jpegPicture, segment } from "./picture-write-jpeg";
import { iend, ihdr, type PngChunk, pngOf, pngPicture, pngRows } from "./picture-write-png";
import { tiffEntries, tiffPicture } from "./picture-write-tiff";

const folder = temporaryFolder();

interface Measured {
  name: string;
  what: string;
  milliseconds: number;
  growth: number;
  bytes: number;
}

/** Each file's outcome, the least processor time of some runs and the growth of memory, in MiB. */
function measure(files: Record<string, Uint8Array>, runs: number): Measured[] {
  const list = Object.entries(files).map(([name, bytes], i) => {
    const path = join(folder, `${i}.bin`);
    writeFileSync(path, bytes);
    return { name, path, runs, bytes: bytes.length };
  });
  const listPath = join(folder, "list.json");
  writeFileSync(listPath, JSON.stringify(list));
  const loader = pathToFileURL(require.resolve("tsx")).href;
  const script = join(__dirname, "picture-memory-child.ts");
  const done = spawnSync(process.execPath, ["--expose-gc", "--import", loader, script, listPath], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const lines = done.stdout.trim().split("\n");
  if (done.status !== 0 || lines.length !== list.length)
    throw new Error(`the child ended with ${done.status}: ${done.stderr}`);
  return lines.map((line, i) => ({ name: list[i].name, bytes: list[i].bytes, ...JSON.parse(line) }));
}

const skip =
  (process.platform !== "linux" && "memory is measured through /proc") ||
  (isSanitized && "a sanitizer multiplies memory, and none of our native code runs here");

const zeros = deflateSync(Buffer.alloc(1e6));
const pngBomb = (side: number) => pngOf([ihdr({ width: side, height: side }), { type: "IDAT", data: zeros }, iend]);
const noise = (x: number, y: number, channel: number) =>
  (Math.imul(x * 31 + y * 977 + channel * 7, 0x9e3779b1) >>> 13) & 255;
const small = { width: 64, height: 64 };
const text: PngChunk = { type: "tEXt", data: Buffer.from("a\0b") };

t.test("I07 pixel bombs of every format are refused from the header within 20 ms and 16 MiB", { skip }, async (t) => {
  const still = await sharp({ create: { ...small, channels: 3, background: "red" } })
    .webp()
    .toBuffer();
  const frame = anmf(webpChunks(still)[0], 0, 0, 64, 64);
  const wide: JpegPlan = { width: 16, height: 16, components: components([[1, 1]]) };
  const jpeg = jpegPicture(wide);
  const at = jpeg.indexOf(Buffer.from([0xff, 0xc0])) + 5;
  const jpegOf = (side: number) => {
    const bytes = Buffer.from(jpeg);
    bytes.writeUInt16BE(side, at);
    bytes.writeUInt16BE(side, at + 2);
    return bytes;
  };
  const tiffOf = (side: number) =>
    tiffPicture({ pages: [{ entries: tiffEntries({ width: side, height: side, compression: 8 }), strips: [zeros] }] });
  const avif = await sharp({ create: { ...small, channels: 3, background: "red" } })
    .avif({ effort: 0 })
    .toBuffer();
  const sizeAt = avif.indexOf("ispe", 0, "latin1") + 8;
  const avifOf = (side: number) => {
    const bytes = Buffer.from(avif);
    bytes.writeUInt32BE(side, sizeAt);
    bytes.writeUInt32BE(side, sizeAt + 4);
    return bytes;
  };
  const gif = gifPicture({
    width: 8_200,
    height: 8_200,
    frames: [{ width: 8_200, height: 8_200, pixels: new Uint8Array(9) }],
  });
  const files: Record<string, Uint8Array> = {
    "PNG 16,383²": pngBomb(16_383),
    "PNG 30,000²": pngBomb(30_000),
    "PNG 32,768²": pngBomb(32_768),
    "PNG 65,535²": pngBomb(65_535),
    "JPEG 16,383²": jpegOf(16_383),
    "JPEG 65,500²": jpegOf(65_500),
    "TIFF 16,383²": tiffOf(16_383),
    "TIFF 65,000²": tiffOf(65_000),
    "AVIF 16,383²": avifOf(16_383),
    "AVIF 2^31-1": avifOf(2 ** 31 - 1),
    "WebP canvas of 16,383²": webpOf([vp8x(2, 16_383, 16_383), anim, frame]),
    "GIF 8,200²": gif,
  };
  const measured = measure(files, 10);
  for (const { name, what, milliseconds, growth } of measured) {
    t.match(what, /^GME_IMAGE_(TOO_LARGE|DIMENSIONS|TRUNCATED)$/, name);
    t.ok(milliseconds <= 20, `${name}: ${milliseconds.toFixed(1)} ms`);
    t.ok(growth <= 16, `${name}: ${growth.toFixed(1)} MiB`);
  }
  report(t, "I07", measured);
});

t.test(
  "I09 bombs hidden in chunks, profiles and further pages stay within 16 MiB",
  { skip, timeout: 120_000 },
  async (t) => {
    const packed = deflateSync(Buffer.alloc(60e6));
    const pixels: PngChunk = { type: "IDAT", data: deflateSync(pngRows(small, noise)) };
    const bytewise = [...deflateSync(pngRows(small, noise), { level: 0 })].map((byte) => ({
      type: "IDAT",
      data: Uint8Array.of(byte),
    }));
    const named = (type: string, name: string) =>
      pngOf([ihdr(small), { type, data: Buffer.concat([Buffer.from(name, "latin1"), packed]) }, pixels, iend]);
    const tiny = {
      entries: tiffEntries({ width: 1, height: 1, bits: [8], photometric: 1 }),
      strips: [Uint8Array.of(9)],
    };
    const profile = Array.from({ length: 100 }, (_, i) =>
      segment(0xe2, Buffer.from("ICC_PROFILE\0", "latin1"), [i + 1, 100], Buffer.alloc(65_000)),
    );
    const hidden: Record<string, Uint8Array> = {
      "PNG with an iCCP bomb": named("iCCP", "a\0\0"),
      "PNG with a zTXt bomb": named("zTXt", "a\0\0"),
      "PNG with an iTXt bomb": named("iTXt", "a\0\x01\0\0\0"),
      "PNG of 100,000 chunks": pngOf([ihdr(small), ...Array(100_000).fill(text), pixels, iend]),
      [`PNG of ${bytewise.length} IDAT`]: pngOf([ihdr(small), ...bytewise, iend]),
      "TIFF of 100,000 pages": tiffPicture({ pages: Array(100_000).fill(tiny) }),
      "GIF of 50,000 pictures": gifPicture({
        width: 2,
        height: 1,
        frames: Array(50_000).fill({ width: 2, height: 1 }),
      }),
      "JPEG with a profile of 6.5 MB": jpegPicture({ ...small, components: components([[1, 1]]), segments: profile }),
    };
    const measured = measure(hidden, 3);
    for (const { name, what, milliseconds, growth, bytes } of measured) {
      t.match(what, /×/, name);
      t.ok(milliseconds <= 1_000, `${name}: ${milliseconds.toFixed(0)} ms`);
      // Beside the growth that the row allows: the file itself, as it was read, and once within libvips.
      const most = 16 + (2 * bytes) / 2 ** 20;
      t.ok(growth <= most, `${name}: ${growth.toFixed(1)} MiB of ${most.toFixed(1)}`);
    }
    report(t, "I09", measured);
  },
);

t.test(
  "I24 pictures of the most pixels that are allowed keep to 4 bytes a pixel and 64 MiB, AVIF to 16",
  { skip, timeout: 240_000 },
  async (t) => {
    const side = 4_000; // a quarter of what is allowed: the share per pixel is the same, the time is not
    const large = sharp({ create: { width: side, height: side, channels: 3, background: "#357" } });
    const files: Record<string, Uint8Array> = {
      PNG: pngPicture({ width: side, height: side, colour: 0 }, () => 9),
      JPEG: await large.clone().jpeg().toBuffer(),
      TIFF: await large.clone().tiff({ compression: "deflate" }).toBuffer(),
      GIF: gifPicture({ width: side, height: side, frames: [{ width: side, height: side }] }),
      WebP: await large.clone().webp({ lossless: true, effort: 0 }).toBuffer(),
      AVIF: await large.clone().avif({ effort: 0, quality: 30 }).toBuffer(),
    };
    const measured = measure(files, 1);
    for (const { name, what, growth, bytes } of measured) {
      t.equal(what, `${side}×${side}`, name);
      const perPixel = name === "AVIF" ? 16 : 4; // AV1 is decoded as a whole picture, in planes of its own, before it is RGB
      const most = (perPixel * side * side + bytes) / 2 ** 20 + 64;
      t.ok(growth <= most, `${name}: ${growth.toFixed(0)} MiB of ${most.toFixed(0)}`);
    }
    report(t, "I24", measured);
  },
);

function report(t: Test, id: string, measured: readonly Measured[]): void {
  const shown = measured.map(
    ({ name, milliseconds, growth }) => `${name} ${milliseconds.toFixed(1)} ms +${Math.max(0, growth).toFixed(1)} MiB`,
  );
  t.comment(`${id}: ${shown.join("; ")}`);
}
