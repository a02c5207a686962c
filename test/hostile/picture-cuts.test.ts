// Every picture cut at every percent and in its last bytes: refused, or pixel for pixel the whole picture.
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import t, { type Test } from "tap";
import { type Outcome, outcomeOf, samePixels } from "./picture-outcome";
import { gifPicture } from "./picture-write-gif";
import { exif, segment } from "./picture-write-jpeg";
import { pngPicture } from "./picture-write-png";
import { tiffEntries, tiffPicture } from "./picture-write-tiff";

const [width, height] = [96, 80];
let state = 1;
const random = () => {
  state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
  return state / 2_147_483_648;
};
const noise = (channels: number) =>
  Buffer.from(Array.from({ length: width * height * channels }, (_, i) => (Math.floor(i / 30) + random() * 60) & 255));
const rgb = noise(3);
const picture = () => sharp(rgb, { raw: { width, height, channels: 3 } });
const alpha = () => sharp(noise(4), { raw: { width, height, channels: 4 } });

/** Where a file is cut: after every percent, and before each of its last bytes. */
function cutsOf(length: number): number[] {
  const cuts = new Set<number>();
  for (let percent = 1; percent < 100; percent++) cuts.add(Math.floor((length * percent) / 100));
  for (let left = 1; left <= 12; left++) cuts.add(length - left);
  return [...cuts].filter((cut) => cut > 0).sort((a, b) => a - b);
}

/** Each cut of each file is refused as damaged, or the same pixels as the whole. */
async function expectNoHalves(t: Test, id: string, files: Record<string, Uint8Array>): Promise<void> {
  let [tried, equal, slowest] = [0, 0, 0];
  const counts = new Map<string, number>();
  for (const [name, bytes] of Object.entries(files)) {
    const whole = await outcomeOf(bytes);
    t.equal(whole.what, `${width}×${height}`, `${name} is whole ${whole.message}`);
    const wrong: string[] = [];
    for (const cut of cutsOf(bytes.length)) {
      const outcome: Outcome = await outcomeOf(bytes.subarray(0, cut));
      tried++;
      slowest = Math.max(slowest, outcome.milliseconds);
      if (samePixels(outcome, whole)) equal++;
      else if (!/^GME_IMAGE_(TRUNCATED|CORRUPT)$/.test(outcome.what)) wrong.push(`${cut}: ${outcome.what}`);
      else counts.set(outcome.what, (counts.get(outcome.what) ?? 0) + 1);
    }
    t.strictSame(wrong, [], `${name}, ${bytes.length} bytes`);
  }
  const list = [...counts].map(([code, count]) => `${count} ${code}`).join(", ");
  t.comment(`count malformed-files: ${tried}`);
  t.comment(
    `${id}: ${Object.keys(files).length} files, ${tried} cuts: ${list}, ${equal} equal to the whole, 0 halves; slowest ${slowest.toFixed(0)} ms`,
  );
}

t.test("I13 a JPEG cut at every percent, in its thumbnail or before its end marker is refused", async (t) => {
  const baseline = await picture().jpeg().toBuffer();
  const thumbnail = await picture().resize(24, 20).jpeg().toBuffer();
  const withThumbnail = Buffer.concat([
    baseline.subarray(0, 2),
    exif(1),
    segment(0xe1, Buffer.from("Exif\0\0", "latin1"), Buffer.from("II*\0\x08\0\0\0\0\0", "latin1"), thumbnail),
    baseline.subarray(2),
  ]);
  await expectNoHalves(t, "I13", {
    baseline,
    progressive: await picture().jpeg({ progressive: true }).toBuffer(),
    "4:4:4, better tables": await picture().jpeg({ chromaSubsampling: "4:4:4", mozjpeg: true }).toBuffer(),
    "with a thumbnail": withThumbnail,
  });
  for (const options of [{}, { progressive: true }]) {
    const whole = await picture().jpeg(options).toBuffer();
    t.equal((await outcomeOf(whole.subarray(0, -2))).what, "GME_IMAGE_TRUNCATED", "only the end marker is missing");
  }
  const within = withThumbnail.indexOf(thumbnail) + Math.floor(thumbnail.length / 2);
  t.equal((await outcomeOf(withThumbnail.subarray(0, within))).what, "GME_IMAGE_TRUNCATED", "cut within the thumbnail");
});

t.test("I10 a PNG cut at every percent is refused", async (t) => {
  const noisy = (x: number, y: number, channel: number) => rgb[(y * width + x) * 3 + (channel % 3)];
  await expectNoHalves(t, "I10", {
    RGB: await picture().png().toBuffer(),
    interlaced: await picture().png({ progressive: true }).toBuffer(),
    palette: await picture().png({ palette: true }).toBuffer(),
    "16 bits": pngPicture({ width, height, depth: 16 }, (x, y, channel) => noisy(x, y, channel) * 257),
  });
});

t.test("I20 a WebP cut at every percent is refused", async (t) => {
  await expectNoHalves(t, "I20", {
    lossy: await picture().webp().toBuffer(),
    lossless: await picture().webp({ lossless: true }).toBuffer(),
    alpha: await alpha().webp().toBuffer(),
  });
});

t.test("I21 a GIF cut at every percent is refused, but for its end byte", async (t) => {
  const pixels = Uint8Array.from({ length: width * height }, (_, i) => rgb[i] & 127);
  await expectNoHalves(t, "I21", {
    plain: await picture().gif().toBuffer(),
    interlaced: await picture().gif({ progressive: true }).toBuffer(),
    "two pictures": gifPicture({
      width,
      height,
      frames: [
        { width, height, pixels },
        { width, height, pixels: pixels.map((p) => p ^ 1) },
      ],
    }),
  });
});

t.test("I37 a TIFF cut at every percent is refused, be its directory before or behind its pixels", async (t) => {
  const strips = (rows: number, pack: (bytes: Buffer) => Buffer) =>
    Array.from({ length: height / rows }, (_, i) =>
      pack(rgb.subarray(i * rows * width * 3, (i + 1) * rows * width * 3)),
    );
  const before = (compression: number, rows: number, pack: (bytes: Buffer) => Buffer, big = false) =>
    tiffPicture({
      pages: [{ entries: tiffEntries({ width, height, compression, rowsPerStrip: rows }), strips: strips(rows, pack) }],
      big,
    });
  const same = (bytes: Buffer) => bytes;
  const files: Record<string, Uint8Array> = {
    "before, one strip": before(1, height, same),
    "before, 10 strips": before(1, 8, same),
    "before, deflate": before(8, 8, (bytes) => deflateSync(bytes)),
    "before, Big": before(1, 8, same, true),
  };
  for (const compression of ["lzw", "deflate", "jpeg", "packbits"] as const)
    files[`behind, ${compression}`] = await picture().tiff({ compression, predictor: "none" }).toBuffer();
  files["behind, tiles"] = await picture()
    .tiff({ compression: "jpeg", tile: true, tileWidth: 32, tileHeight: 32 })
    .toBuffer();
  await expectNoHalves(t, "I37", files);
});

t.test("I38 an AVIF cut at every percent is refused", async (t) => {
  await expectNoHalves(t, "I38", {
    plain: await picture().avif({ effort: 1 }).toBuffer(),
    alpha: await alpha().avif({ effort: 1 }).toBuffer(),
    lossless: await picture().avif({ lossless: true, effort: 1 }).toBuffer(),
  });
});
