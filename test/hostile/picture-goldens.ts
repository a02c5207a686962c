// Small pictures of many kinds, made by code; test/fixtures/hostile/picture-pixels.json holds what the reference's decoder (Pillow) makes of
// them. Run with a folder to write them there: tsx test/hostile/picture-goldens.ts FOLDER
import { deflateSync } from "node:zlib";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gifPicture } from "./picture-write-gif";
import { components, type JpegPlan, jpegPicture, segment } from "./picture-write-jpeg";
import { type PngChunk, type PngHeader, pngPicture } from "./picture-write-png";
import { tiffEntries, tiffPicture } from "./picture-write-tiff";

const noise = (x: number, y: number, channel: number) =>
  (Math.imul(x * 31 + y * 977 + channel * 7 + 1, 0x9e3779b1) >>> 13) & 0xffff;

function pngs(): Record<string, Buffer> {
  const files: Record<string, Buffer> = {};
  const add = (name: string, header: Partial<PngHeader>, before: PngChunk[] = [], sample = noise) => {
    const whole = { width: 13, height: 9, ...header };
    const most = 2 ** (whole.depth ?? 8) - 1;
    files[`${name}.png`] = pngPicture(whole, (x, y, channel) => sample(x, y, channel) & most, before);
  };
  const palette = (colours: number): PngChunk => ({
    type: "PLTE",
    data: Uint8Array.from({ length: colours * 3 }, (_, i) => (i * 41 + 7) & 255),
  });
  for (const depth of [1, 2, 4, 8]) {
    add(`grey-${depth}`, { depth, colour: 0 });
    add(`grey-${depth}-adam7`, { depth, colour: 0, interlace: 1 });
    add(`palette-${depth}`, { depth, colour: 3 }, [palette(2 ** depth)]);
    add(`palette-${depth}-adam7`, { depth, colour: 3, interlace: 1 }, [palette(2 ** depth)]);
  }
  add("palette-trns", { colour: 3 }, [
    palette(256),
    { type: "tRNS", data: Uint8Array.from({ length: 200 }, (_, i) => i) },
  ]);
  add("palette-trns-too-long", { depth: 1, colour: 3 }, [palette(2), { type: "tRNS", data: Buffer.alloc(5, 9) }]);
  add("grey-trns", { colour: 0 }, [{ type: "tRNS", data: Buffer.from([0, 77]) }]);
  add("rgb", {});
  add("rgb-adam7", { interlace: 1 });
  add("rgb-trns", {}, [{ type: "tRNS", data: Buffer.from([0, 1, 0, 2, 0, 3]) }]);
  add("rgb-gama-0", {}, [
    { type: "gAMA", data: Buffer.alloc(4) },
    { type: "cHRM", data: Buffer.alloc(32) },
  ]);
  add("rgb-gama-1", {}, [{ type: "gAMA", data: Buffer.from([0, 1, 0x86, 0xa0]) }]);
  add("grey-alpha", { colour: 4 });
  add("rgba", { colour: 6 });
  add("rgba-transparent", { colour: 6 }, [], (x, y, channel) => (channel === 3 ? 0 : noise(x, y, channel)));
  add("rgba-adam7", { colour: 6, interlace: 1 });
  return files;
}

function others(): Record<string, Buffer> {
  const plan: JpegPlan = {
    width: 33,
    height: 19,
    components: components([
      [2, 2],
      [1, 1],
      [1, 1],
    ]),
  };
  const jpeg = (...samplings: [number, number][]) => jpegPicture({ ...plan, components: components(samplings) });
  const pixels = Uint8Array.from({ length: 91 }, (_, i) => (i * 5) & 127);
  const rgb = Uint8Array.from({ length: 351 }, (_, i) => (i * 29) & 255);
  const rgba = Uint8Array.from({ length: 468 }, (_, i) => (i * 31) & 255);
  const tiff = (photometric: number, data: Uint8Array, channels: number, compression = 1) =>
    tiffPicture({
      pages: [
        {
          entries: tiffEntries({
            width: 13,
            height: 9,
            bits: Array(channels).fill(8),
            photometric,
            compression,
            extra: channels === 4 ? [{ tag: 338, type: 3, values: [2] }] : [],
          }),
          strips: [data],
        },
      ],
    });
  return {
    "grey.jpg": jpeg([1, 1]),
    "444.jpg": jpeg([1, 1], [1, 1], [1, 1]),
    "422.jpg": jpeg([2, 1], [1, 1], [1, 1]),
    "420.jpg": jpeg([2, 2], [1, 1], [1, 1]),
    "411.jpg": jpeg([4, 1], [1, 1], [1, 1]),
    "441.jpg": jpeg([1, 4], [1, 1], [1, 1]),
    "rgb-by-adobe.jpg": jpegPicture({
      ...plan,
      segments: [segment(0xee, Buffer.from("Adobe"), [0, 100, 0, 0, 0, 0, 0])],
    }),
    "plain.gif": gifPicture({ width: 13, height: 7, frames: [{ width: 13, height: 7, pixels }] }),
    "two.gif": gifPicture({
      width: 13,
      height: 7,
      frames: [
        { width: 13, height: 7, pixels },
        { width: 13, height: 7 },
      ],
    }),
    "grey.tif": tiff(1, rgb.subarray(0, 117), 1),
    "white-is-zero.tif": tiff(0, rgb.subarray(0, 117), 1),
    "rgb.tif": tiff(2, rgb, 3),
    "rgb-deflate.tif": tiff(2, deflateSync(rgb), 3, 8),
    "rgba.tif": tiff(2, rgba, 4),
  };
}

export const goldenPictures = (): Record<string, Buffer> => ({ ...pngs(), ...others() });

if (require.main === module) {
  const [folder] = process.argv.slice(2);
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(goldenPictures())) writeFileSync(join(folder, name), bytes);
}
