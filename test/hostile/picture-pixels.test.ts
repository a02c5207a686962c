import { readFileSync } from "node:fs";
import sharp from "sharp";
import t from "tap";
import { fixture } from "../helpers/fixtures";
import { goldenPictures } from "./picture-goldens";
import { asReference, outcomeOf } from "./picture-outcome";
import { pngPicture } from "./picture-write-png";
import { tiffEntries, tiffPicture } from "./picture-write-tiff";

interface Golden {
  source: string;
  pictures: Record<string, { size: [number, number]; rgb: string }>;
}

const golden = JSON.parse(readFileSync(fixture("hostile", "picture-pixels.json"), "utf8")) as Golden;

t.test("I11 I17 I26 each kind of PNG, JPEG, GIF and TIFF decodes to the reference's pixels", async (t) => {
  const files = goldenPictures();
  t.strictSame(Object.keys(files).sort(), Object.keys(golden.pictures).sort());
  const counts = new Map<string, number>();
  for (const [name, bytes] of Object.entries(files)) {
    const { size, rgb } = golden.pictures[name];
    const outcome = await outcomeOf(bytes, asReference);
    t.equal(outcome.what, size.join("×"), `${name} ${outcome.message}`);
    const expected = Buffer.from(rgb, "base64");
    const most = expected.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (outcome.data?.[i] ?? 999))), 0);
    t.equal(most, 0, `${name}: differs by at most ${most}`);
    const kind = name.split(".")[1];
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const list = [...counts].map(([kind, count]) => `${count} ${kind}`).join(", ");
  for (const id of ["I11", "I17", "I26"])
    t.comment(`${id}: ${list} equal to the reference (${golden.source.split(",")[0]}) in every pixel`);
});

t.test("I26 alpha is dropped and the colour under it kept, be it zero, in PNG, WebP and TIFF", async (t) => {
  const data = Buffer.from(
    Array.from({ length: 12 * 5 * 4 }, (_, i) => (i % 4 === 3 ? (i * 3) & 127 : (i * 37) & 255)),
  );
  data.fill(0, 3, 4);
  const expected = data.filter((_, i) => i % 4 !== 3);
  const picture = () => sharp(data, { raw: { width: 12, height: 5, channels: 4 } });
  const files = {
    PNG: await picture().png().toBuffer(),
    WebP: await picture().webp({ lossless: true, exact: true }).toBuffer(),
    TIFF: await picture().tiff({ compression: "lzw" }).toBuffer(),
  };
  for (const [name, bytes] of Object.entries(files))
    t.strictSame(Buffer.from((await outcomeOf(bytes)).data ?? []), expected, name);
  t.comment("I26: 60 pixels with garbage under alpha 0 to 127 kept in 3 formats");
});

t.test("I27 16 bits become 8 by dropping the lower ones, in PNG and TIFF, grey and colour", async (t) => {
  const value = (x: number, y: number, channel: number) =>
    (Math.imul(x * 977 + y * 31 + channel * 7 + 1, 0x9e3779b1) >>> 9) & 0xffff;
  const [width, height] = [17, 11];
  for (const channels of [1, 3]) {
    const samples = Array.from({ length: width * height * channels }, (_, i) =>
      value(Math.floor(i / channels) % width, Math.floor(i / channels / width), i % channels),
    );
    samples.splice(0, 6, 0, 255, 256, 0x80ff, 0xff00, 0xffff);
    const at = (x: number, y: number, channel: number) => samples[(y * width + x) * channels + channel];
    const strip = Buffer.from(Uint16Array.from(samples).buffer);
    const files = {
      PNG: pngPicture({ width, height, depth: 16, colour: channels === 1 ? 0 : 2 }, at),
      TIFF: tiffPicture({
        pages: [
          {
            entries: tiffEntries({
              width,
              height,
              bits: Array(channels).fill(16),
              photometric: channels === 1 ? 1 : 2,
            }),
            strips: [strip],
          },
        ],
      }),
    };
    const expected = samples.flatMap((sample) => Array(channels === 1 ? 3 : 1).fill(sample >> 8));
    for (const [name, bytes] of Object.entries(files))
      t.strictSame([...((await outcomeOf(bytes)).data ?? [])], expected, `${name} of ${channels}`);
  }
  t.comment("I27: value >> 8 for every sample of 4 pictures");
});
