import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import t from "tap";
import { decodeImage, readImageSize } from "../../lib/image-decode";
import { type ImageSource, readImage } from "../../lib/input";
import { goldenCases, imageFixture, sha256, temporaryFolder } from "../helpers/fixtures";
import { png, pngChunk } from "../helpers/png";
import { rejectsWith } from "../helpers/rejects";

const upright = { orientation: "exif", maxImagePixels: 64e6 } as const;
const reference = { orientation: "ignore", maxImagePixels: 64e6 } as const;
const folder = temporaryFolder();

const decode = (source: ImageSource, settings: typeof upright | typeof reference = upright) =>
  decodeImage(readImage(source, "image"), settings);

async function pattern(width: number, height: number, channels: 1 | 3 | 4 = 3): Promise<Buffer> {
  const data = Buffer.from(Array.from({ length: width * height * channels }, (_, i) => (i * 37) % 256));
  return sharp(data, { raw: { width, height, channels } }).png().toBuffer();
}

t.test("every picture of the fixtures decodes to the pixels of the reference", async (t) => {
  const seen = new Map(goldenCases("tiny-a").flatMap((c) => (c.image ? [[c.image, c] as const] : [])));
  t.equal(seen.size, 11);
  for (const [image, golden] of seen) {
    const { data, width, height } = await decode(imageFixture(image), reference);
    t.strictSame([width, height], golden.size, `${image}: size`);
    t.equal(sha256(data), golden.decoded_rgb_sha256, `${image}: pixels`);
    t.strictSame(
      await readImageSize(readImage(imageFixture(image), "image"), reference),
      { width, height },
      `${image}: header`,
    );
  }
});

t.test("EXIF orientation 6 is turned upright unless it is ignored", async (t) => {
  const path = imageFixture("exif6-480x360.jpg");
  const [turned, plain] = [await decode(path), await decode(path, reference)];
  t.match(plain, { width: 480, height: 360 });
  t.match(turned, { width: 360, height: 480 });
  t.strictSame(await readImageSize(readImage(path, "image"), upright), { width: 360, height: 480 });
  // Orientation 6: the top left of the stored picture is the top right of the upright one.
  t.strictSame([...turned.data.subarray(359 * 3, 360 * 3)], [...plain.data.subarray(0, 3)]);
});

t.test("I18: each of the eight orientations gives a picture of the right size", async (t) => {
  const source = await pattern(40, 20);
  for (let orientation = 1; orientation <= 8; orientation++) {
    const jpeg = await sharp(source).withMetadata({ orientation }).jpeg().toBuffer();
    const { width, height } = await decode(jpeg);
    t.strictSame([width, height], orientation >= 5 ? [20, 40] : [40, 20], `orientation ${orientation}`);
  }
});

t.test("path, file: URL, data: URL, bytes and raw pixels give the same picture", async (t) => {
  const path = imageFixture("odd-500x300.png");
  const bytes = readFileSync(path);
  const { data, width, height } = await decode(path);
  const sources: ImageSource[] = [
    new URL(`file://${path}`),
    new URL(`data:image/gif;base64,${bytes.toString("base64")}`),
    bytes,
    new Uint8Array(bytes),
    { data, width, height },
  ];
  for (const source of sources) t.equal(sha256((await decode(source)).data), sha256(data));
});

t.test("I03: the name and the label do not count", async (t) => {
  const path = join(folder, "picture.jpg");
  writeFileSync(path, readFileSync(imageFixture("tiny-28x28.png")));
  t.match(await decode(path), { width: 28, height: 28 });
});

t.test("I22, I23: the smallest and the narrowest pictures decode", async (t) => {
  for (const [width, height] of [
    [1, 1],
    [1, 2],
    [2, 1],
    [3, 3],
    [13, 13],
    [27, 29],
    [20_000, 1],
    [1, 20_000],
  ]) {
    const decoded = await decode(await pattern(width, height));
    t.strictSame([decoded.width, decoded.height, decoded.data.length], [width, height, width * height * 3]);
  }
});

t.test("I11, I26, I27: palettes, alpha, grey and 16 bits become RGB8", async (t) => {
  const rgba = await decode(
    await sharp(Buffer.from([9, 8, 7, 0]), { raw: { width: 1, height: 1, channels: 4 } })
      .png()
      .toBuffer(),
  );
  t.strictSame([...rgba.data], [9, 8, 7], "the colour under alpha 0 is kept");
  const grey = await decode(png(2, 1, Uint8Array.of(0, 10, 200), 8, 0));
  t.strictSame([...grey.data], [10, 10, 10, 200, 200, 200]);
  const deep = await decode(png(1, 1, Uint8Array.of(0, 0x12, 0x34, 0x80, 0x00, 0xff, 0xff), 16, 2));
  t.strictSame([...deep.data], [0x12, 0x80, 0xff], "16 bits are scaled");
  const greyAlpha = await decode(png(1, 1, Uint8Array.of(0, 77, 3), 8, 4));
  t.strictSame([...greyAlpha.data], [77, 77, 77]);
});

t.test("WebP, GIF, TIFF and AVIF are read, of an animation the first frame", async (t) => {
  const source = sharp(await pattern(16, 12));
  for (const format of ["webp", "gif", "tiff", "avif", "jpeg"] as const) {
    t.match(await decode(await source.clone().toFormat(format).toBuffer()), { width: 16, height: 12 }, format);
  }
  const frames = Buffer.concat([Buffer.alloc(8 * 4 * 3, 10), Buffer.alloc(8 * 4 * 3, 250)]);
  const gif = await sharp(frames, { raw: { width: 8, height: 8, channels: 3, pageHeight: 4 } })
    .gif()
    .toBuffer();
  const { data, ...size } = await decode(gif);
  t.strictSame([size.width, size.height], [8, 4]);
  t.ok(data[0] < 40, "the first frame is the dark one");
});

t.test("I01: nothing, a byte and a bare magic are refused GME_IMAGE_TRUNCATED", async (t) => {
  await rejectsWith(t, () => decode(new Uint8Array()), "GME_IMAGE_TRUNCATED", "empty");
  const whole = await Promise.all(
    (["png", "jpeg", "webp", "gif", "tiff"] as const).map(async (f) =>
      sharp(await pattern(8, 8))
        .toFormat(f)
        .toBuffer(),
    ),
  );
  for (const bytes of whole) {
    for (const length of [1, 3, 4])
      await rejectsWith(t, () => decode(bytes.subarray(0, length)), "GME_IMAGE_TRUNCATED", `${length} bytes`);
  }
});

t.test("I02, I05, I06: what is not one of the six formats is refused GME_IMAGE_FORMAT", async (t) => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="http://127.0.0.1:9/a"/></svg>';
  const others: Record<string, string | Buffer> = {
    text: "hello, this is a text that is long enough",
    html: "<!doctype html><title>x</title>",
    svg,
    "svg with BOM": `\ufeff<!-- comment -->${svg}`,
    pdf: "%PDF-1.7\n%\u00e2\u00e3",
    gguf: "GGUF\u0003\u0000\u0000\u0000",
    zip: "PK\u0003\u0004",
    bmp: "BM\u0036\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0036\u0000",
    pnm: "P6\n2 2\n255\n............",
    heic: Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from("ftypheic\0\0\0\0mif1heic")]),
    jp2: Buffer.concat([Buffer.from([0, 0, 0, 12]), Buffer.from("jP  \r\n\u0087\n", "latin1")]),
    psd: "8BPS\u0000\u0001\u0000\u0000",
    ico: Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0]),
    cr2: Buffer.from([0x49, 0x49, 42, 0, 16, 0, 0, 0, 0x43, 0x52, 2, 0, 0, 0, 0, 0, 0]),
  };
  for (const [name, bytes] of Object.entries(others)) {
    const error = await rejectsWith(t, () => decode(Buffer.from(bytes as string)), "GME_IMAGE_FORMAT", name);
    t.match(error.expected, /JPEG, PNG, WebP, GIF, TIFF or AVIF/);
  }
});

t.test("I07: a header of 200 megapixels is refused before anything is decoded GME_IMAGE_TOO_LARGE", async (t) => {
  const bomb = png(20_000, 10_000, new Uint8Array(20_000));
  await rejectsWith(t, () => decode(bomb), "GME_IMAGE_TOO_LARGE", "first");
  const [memory, start] = [process.memoryUsage().rss, performance.now()];
  const error = await rejectsWith(t, () => decode(bomb), "GME_IMAGE_TOO_LARGE", "200 MP");
  t.match(error, { value: 200_000_000, expected: /64000000/ });
  t.ok(performance.now() - start < 500, "at once");
  t.ok(process.memoryUsage().rss - memory < 16 * 2 ** 20, "without memory for its pixels");
});

t.test("I08, I23: impossible sizes and long sides are refused from the header", async (t) => {
  for (const [width, height] of [
    [0, 5],
    [5, 0],
    [2 ** 31 - 1, 1],
    [1, 2 ** 31 - 1],
  ]) {
    await rejectsWith(
      t,
      () => decode(png(width, height, new Uint8Array(9))),
      "GME_IMAGE_DIMENSIONS",
      `${width}×${height}`,
    );
  }
  await rejectsWith(t, () => decode(png(52_800, 44, new Uint8Array(9))), "GME_IMAGE_TOO_LARGE", "52,800×44");
});

t.test("I24: exactly the allowed number of pixels is accepted, one more is refused", async (t) => {
  const source = await pattern(10, 10);
  t.match(await decodeImage(readImage(source, "image"), { ...upright, maxImagePixels: 100 }), { width: 10 });
  await rejectsWith(
    t,
    () => decodeImage(readImage(source, "image"), { ...upright, maxImagePixels: 99 }),
    "GME_IMAGE_TOO_LARGE",
  );
  const raw = readImage({ data: new Uint8Array(300), width: 10, height: 10 }, "image");
  await rejectsWith(t, () => decodeImage(raw, { ...upright, maxImagePixels: 99 }), "GME_IMAGE_TOO_LARGE", "raw pixels");
});

t.test("I10, I13, I20: cut and damaged pictures reject with a GME_IMAGE_ code", async (t) => {
  const files = ["photo-640x480.png", "photo-1600x1200.jpg", "web-512x384.webp"].map((name) =>
    readFileSync(imageFixture(name)),
  );
  files.push(
    await sharp(await pattern(64, 64))
      .gif()
      .toBuffer(),
    await sharp(await pattern(64, 64))
      .avif()
      .toBuffer(),
  );
  for (const bytes of files) {
    for (const share of [0.1, 0.5, 0.9, 0.99]) {
      const cut = bytes.subarray(0, Math.floor(bytes.length * share));
      const code = await decode(cut).then(
        () => "accepted",
        (error) => error.code,
      );
      t.match(code, /^GME_IMAGE_(TRUNCATED|CORRUPT)$/, `${bytes.length} bytes cut at ${share}`);
    }
  }
  const broken = Buffer.from(files[0]);
  broken[200] ^= 0xff;
  await rejectsWith(t, () => decode(broken), "GME_IMAGE_CORRUPT", "a wrong CRC");
  const [head, tail] = [files[0].subarray(0, 33), files[0].subarray(33)];
  const extra = Buffer.concat([head, pngChunk("teXt", Buffer.from("x")), tail]);
  t.match(await decode(extra), { width: 640 }, "an unknown chunk is passed over");
  await rejectsWith(t, () => decode(files[0].subarray(0, files[0].length - 12)), "GME_IMAGE_TRUNCATED", "no IEND");
});

t.test(
  "I33: only regular files of at most 64 MiB are read GME_IO_ERROR",
  { skip: process.platform === "win32" },
  async (t) => {
    const missing = await rejectsWith(t, () => decode(join(folder, "missing.png")), "GME_IO_ERROR", "missing");
    t.match(missing, { file: join(folder, "missing.png"), errno: "ENOENT" });
    mkdirSync(join(folder, "directory"));
    await rejectsWith(t, () => decode(join(folder, "directory")), "GME_IO_ERROR", "a directory");
    execFileSync("mkfifo", [join(folder, "fifo")]);
    await rejectsWith(t, () => decode(join(folder, "fifo")), "GME_IO_ERROR", "a FIFO");
    await rejectsWith(t, () => decode("/dev/zero"), "GME_IO_ERROR", "/dev/zero");
    writeFileSync(join(folder, "large.png"), "");
    await rejectsWith(t, () => decode(join(folder, "large.png")), "GME_IMAGE_TRUNCATED", "an empty file");
    truncateSync(join(folder, "large.png"), 64 * 2 ** 20 + 1);
    await rejectsWith(t, () => decode(join(folder, "large.png")), "GME_IMAGE_TOO_LARGE", "a file over 64 MiB");
  },
);
