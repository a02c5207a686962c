import { deflateSync } from "node:zlib";
import t from "tap";
import { png } from "../helpers/png";
import { expectOutcomes, outcomeOf, samePixels } from "./picture-outcome";
import { u32 } from "./picture-write-boxes";
import { iend, ihdr, type PngChunk, pngChunks, pngMagic, pngOf, pngPicture, pngRows } from "./picture-write-png";

const noise = (x: number, y: number, channel: number) =>
  (Math.imul(x * 31 + y * 977 + channel * 7, 0x9e3779b1) >>> 13) & 255;
const header = { width: 64, height: 64 };
const whole = pngPicture(header, noise);
const [first, pixels] = pngChunks(whole) as PngChunk[];
const text: PngChunk = { type: "tEXt", data: Buffer.from("a\0b") };

t.test("I08 impossible sides of a PNG are refused from its header", async (t) => {
  const sides = [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
  const cases = sides.flatMap((width) =>
    sides
      .filter((height) => width !== 1 || height !== 1)
      .map((height) => [`${width}×${height}`, png(width, height, new Uint8Array(9)), "DIMENSIONS"] as const),
  );
  await expectOutcomes(t, "I08", cases, 1_000);
});

t.test("I10 a PNG with a wrong check sum, a missing end, cut or wrong pixels is refused", async (t) => {
  const changed = (at: number) => {
    const bytes = Buffer.from(whole);
    bytes[at] ^= 1;
    return bytes;
  };
  const cut = (share: number) =>
    pngOf([first, { type: "IDAT", data: pixels.data.subarray(0, pixels.data.length * share) }, iend]);
  const checksum = Buffer.from(pixels.data);
  checksum[checksum.length - 1] ^= 1;
  const after = Buffer.concat([whole.subarray(0, whole.length - 12), pngOf([text, pixels, iend]).subarray(8)]);
  const ended = Buffer.concat([whole, pngOf([pixels]).subarray(8)]);
  await expectOutcomes(t, "I10", [
    ["CRC of IHDR", changed(30), "CORRUPT"],
    ["CRC of IDAT", changed(whole.length - 14), "CORRUPT"],
    ["a bit of the pixels", changed(200), "CORRUPT"],
    ["no IEND", whole.subarray(0, whole.length - 12), "TRUNCATED"],
    ["half an IEND", whole.subarray(0, whole.length - 4), "TRUNCATED"],
    ...[0, 0.1, 0.5, 0.9, 0.99].map((share) => [`IDAT cut at ${share}`, cut(share), "CORRUPT"] as const),
    ["no Adler sum", pngOf([first, { type: "IDAT", data: pixels.data.subarray(0, -4) }, iend]), "CORRUPT"],
    ["a wrong Adler sum", pngOf([first, { type: "IDAT", data: checksum }, iend]), "CORRUPT"],
    ["no zlib stream", pngOf([first, { type: "IDAT", data: Buffer.alloc(500, 0x55) }, iend]), "CORRUPT"],
    [
      "fewer rows",
      pngOf([first, { type: "IDAT", data: deflateSync(pngRows({ width: 64, height: 50 }, noise)) }, iend]),
      "CORRUPT",
    ],
    [
      "a filter that is none",
      pngOf([first, { type: "IDAT", data: deflateSync(Buffer.alloc(64 * 193, 9)) }, iend]),
      "CORRUPT",
    ],
    ["no IDAT", pngOf([first, text, text, iend]), "CORRUPT"],
    ["two IHDR", pngOf([first, first, pixels, iend]), "CORRUPT"],
    ["IHDR second", pngOf([text, first, pixels, iend]), "CORRUPT"],
    ["an IDAT after another chunk", after, "CORRUPT"],
    [
      "a chunk length of 2^32-1",
      Buffer.concat([whole.subarray(0, 33), u32(0xffffffff), whole.subarray(37)]),
      "TRUNCATED",
    ],
    ["an IDAT behind the end", ended, "64×64"],
    ["a chunk that nobody knows", pngOf([first, { type: "teXt", data: text.data }, pixels, iend]), "64×64"],
  ]);
  t.ok(samePixels(await outcomeOf(ended), await outcomeOf(whole)), "what is behind the end is not decoded");
});

t.test("I09 bombs in the text and profile chunks of a PNG, 100,000 chunks and 10,000 IDAT cost nothing", async (t) => {
  const packed = deflateSync(Buffer.alloc(60e6));
  t.ok(packed.length < 60_000, `${packed.length} bytes become 60 MB`);
  const bomb = (type: string, name: string): PngChunk => ({
    type,
    data: Buffer.concat([Buffer.from(name, "latin1"), packed]),
  });
  const rows = deflateSync(pngRows(header, noise), { level: 0 });
  const bytewise = [...rows].map((byte) => ({ type: "IDAT", data: Uint8Array.of(byte) }));
  const outcomes = await expectOutcomes(t, "I09", [
    ["iCCP", pngOf([first, bomb("iCCP", "a\0\0"), pixels, iend]), "64×64"],
    ["zTXt", pngOf([first, bomb("zTXt", "a\0\0"), pixels, iend]), "64×64"],
    ["iTXt", pngOf([first, bomb("iTXt", "a\0\x01\0\0\0"), pixels, iend]), "64×64"],
    ["100,000 chunks", pngOf([first, ...Array(100_000).fill(text), pixels, iend]), "64×64"],
    [`${bytewise.length} IDAT of one byte`, pngOf([first, ...bytewise, iend]), "64×64"],
  ]);
  t.ok(bytewise.length > 10_000);
  const plain = await outcomeOf(whole);
  for (const outcome of outcomes) t.ok(samePixels(outcome, plain));
});

t.test("I12 of an animated PNG of 10,000 frames the first is decoded", async (t) => {
  const frame = (i: number): PngChunk => ({ type: "fdAT", data: Buffer.concat([u32(i), pixels.data.subarray(0, 20)]) });
  const frames = Array.from({ length: 10_000 }, (_, i) => frame(i));
  const animated = pngOf([first, { type: "acTL", data: u32(10_000, 0) }, pixels, ...frames, iend]);
  const [outcome] = await expectOutcomes(t, "I12", [["APNG", animated, "64×64"]], 1_000);
  t.ok(samePixels(outcome, await outcomeOf(whole)));
});

t.test("I11 palettes, depths and interlacing that are damaged are refused or decoded, never a crash", async (t) => {
  const palette: PngChunk = { type: "PLTE", data: Buffer.from([1, 2, 3, 4, 5, 6]) };
  const small = { width: 5, height: 3, colour: 3 };
  const sum = (x: number, y: number) => (x + y) & 1;
  const grey = { width: 5, height: 3, colour: 0 };
  await expectOutcomes(t, "I11", [
    ["no palette", pngPicture(small, sum), "CORRUPT"],
    ["palette of 257 colours", pngPicture(small, sum, [{ type: "PLTE", data: Buffer.alloc(771) }]), "CORRUPT"],
    [
      "palette of a length that is not threefold",
      pngPicture(small, sum, [{ type: "PLTE", data: Buffer.alloc(5) }]),
      "CORRUPT",
    ],
    ["two palettes", pngPicture(small, sum, [palette, palette]), "CORRUPT|5×3"],
    ["tRNS longer than the palette", pngPicture(small, sum, [palette, { type: "tRNS", data: Buffer.alloc(5) }]), "5×3"],
    ["indexes out of the palette", pngPicture(small, (x, y) => (x + y) * 30, [palette]), "CORRUPT|5×3"],
    [
      "gAMA and cHRM of zero",
      pngPicture(grey, sum, [
        { type: "gAMA", data: Buffer.alloc(4) },
        { type: "cHRM", data: Buffer.alloc(32) },
      ]),
      "5×3",
    ],
    ["16-bit palette", pngOf([ihdr({ ...small, depth: 16 }), palette, pixels, iend]), "CORRUPT"],
    ...[0, 3, 5, 32].map(
      (depth) => [`${depth} bits`, pngOf([ihdr({ ...grey, depth }), pixels, iend]), "CORRUPT"] as const,
    ),
    ...[1, 5, 7].map(
      (colour) => [`colour type ${colour}`, pngOf([ihdr({ ...grey, colour }), pixels, iend]), "CORRUPT"] as const,
    ),
    ["interlace 2", pngOf([ihdr({ ...grey, interlace: 2 }), pixels, iend]), "CORRUPT"],
    [
      "compression 1",
      pngOf([{ type: "IHDR", data: Buffer.from([0, 0, 0, 5, 0, 0, 0, 3, 8, 0, 1, 0, 0]) }, pixels, iend]),
      "CORRUPT",
    ],
  ]);
  t.equal((await outcomeOf(Buffer.concat([pngMagic, Buffer.alloc(60)]))).what, "GME_IMAGE_CORRUPT", "no IHDR at all");
});
