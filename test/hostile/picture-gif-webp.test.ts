import sharp from "sharp";
import t from "tap";
import { type Case, expectOutcomes, outcomeOf, samePixels } from "./picture-outcome";
import { anim, anmf, type Box, vp8x, webpChunks, webpOf } from "./picture-write-boxes";
import { type GifFrame, type GifPlan, gifPalette, gifPicture, plainCodes } from "./picture-write-gif";

const pixels = Uint8Array.from({ length: 200 }, (_, i) => (i * 7) & 127);
const frame: GifFrame = { width: 20, height: 10, pixels };
const gif = (frames: readonly GifFrame[], more: Partial<GifPlan> = {}) =>
  gifPicture({ width: 20, height: 10, frames, ...more });
const coded = (bytes: Uint8Array) => gif([{ ...frame, coded: bytes }]);

t.test("I21 a GIF whose codes do not fill its first picture is refused, not filled up", async (t) => {
  const codes = plainCodes(pixels);
  await expectOutcomes(t, "I21", [
    ["half the codes, then the end code", coded(plainCodes(pixels.subarray(0, 100))), "TRUNCATED"],
    ["half the codes", coded(codes.subarray(0, codes.length / 2)), "TRUNCATED"],
    ["one pixel less", coded(plainCodes(pixels.subarray(0, 199))), "TRUNCATED"],
    ["no codes", coded(new Uint8Array()), "TRUNCATED"],
    ["a million clear codes", coded(new Uint8Array(1e6).fill(128)), "TRUNCATED"],
    ["codes that do not exist yet", coded(new Uint8Array(300).fill(0xfe)), "CORRUPT"],
    ["a first code that does not exist", coded(Uint8Array.of(128, 130, 1, 1)), "CORRUPT"],
    ["no end code", coded(codes.subarray(0, codes.length - 1)), "20×10"],
    ["no clear code first", coded(codes.subarray(1)), "20×10"],
    ["more codes than pixels", coded(plainCodes(Uint8Array.from([...pixels, ...pixels]))), "20×10"],
  ]);
});

t.test("I21 of a GIF only the first picture counts, whatever the screen and the other pictures are", async (t) => {
  const bomb = { width: 65_535, height: 65_535 };
  const outside = gif([{ ...frame, left: 5_000, top: 5_000 }]);
  const broken: GifFrame = { ...frame, coded: new Uint8Array(300).fill(0xfe) };
  const two = gif([frame, { ...frame, width: 30, height: 40, pixels: new Uint8Array(1_200) }]);
  const many = gif(Array(50_000).fill(frame));
  const cases: Case[] = [
    ["one picture", gif([frame]), "20×10"],
    ["a second one", two, "20×10"],
    ["a second one that is broken", gif([frame, broken]), "20×10"],
    ["a second one that is cut", two.subarray(0, two.length - 60), "20×10"],
    ["50,000 pictures", many, "20×10"],
    ["a screen of 65,535²", gif([frame], bomb), "20×10|65535×65535|TOO_LARGE"],
    ["no end", gif([frame], { trailer: false }), "20×10"],
    ["GIF87a", gif([frame], { version: "87a" }), "20×10"],
    ["a screen of 0", gif([frame], { width: 0, height: 0 }), "20×10"],
    ["a picture outside of the screen", outside, "5020×5010"],
    ["a picture of 65,535² without codes", gif([{ ...frame, ...bomb }], bomb), "TRUNCATED"],
    ["a picture of no size", gif([{ ...frame, width: 0, height: 0 }]), "DIMENSIONS"],
    ["no picture", gif([]), "CORRUPT"],
    ["a block that nobody knows", Buffer.concat([gif([]).subarray(0, -1), Buffer.from([0x99, 0])]), "CORRUPT"],
    ["extensions without end", Buffer.concat([gif([]).subarray(0, -1), Buffer.alloc(5_000, 0x21)]), "TRUNCATED"],
    ["cut in the palette", gif([frame]).subarray(0, 200), "TRUNCATED"],
  ];
  const outcomes = await expectOutcomes(t, "I21", cases);
  for (const [i, [name]] of cases.slice(0, 5).entries())
    t.ok(samePixels(outcomes[i], outcomes[0]), `${name}: the first`);
  const expected = [...pixels].flatMap((index) => [...gifPalette.subarray(index * 3, index * 3 + 3)]);
  t.strictSame([...(outcomes[0].data ?? [])], expected, "each pixel has its colour of the palette");
});

t.test("I21 the counting of codes agrees with what sharp's own encoder writes", async (t) => {
  let seed = 1;
  const random = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed / 2_147_483_648;
  };
  for (let i = 0; i < 12; i++) {
    const [width, height] = [1 + Math.floor(random() * 300), 1 + Math.floor(random() * 200)];
    const flat = random();
    const data = Buffer.from(
      Array.from({ length: width * height * 3 }, () => (random() < flat ? 9 : Math.floor(random() * 256))),
    );
    const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
      .gif({ progressive: i % 3 === 0, colours: 2 ** (1 + (i % 8)) })
      .toBuffer();
    t.equal((await outcomeOf(bytes)).what, `${width}×${height}`, `${bytes.length} bytes`);
  }
  t.comment("I21: 12 GIFs of sharp's encoder, 2 to 256 colours, plain and interlaced: none refused");
});

t.test("I20 a WebP with wrong lengths, damaged codes or a false size is refused", async (t) => {
  const noise = (channels: 3 | 4) => {
    const data = Buffer.from(
      Array.from({ length: 64 * 48 * channels }, (_, i) => (Math.floor(i / 30) + ((i * 7_919) % 61)) & 255),
    );
    return sharp(data, { raw: { width: 64, height: 48, channels } });
  };
  const lossy = await noise(3).webp().toBuffer();
  const [vp8] = webpChunks(lossy);
  const [vp8l] = webpChunks(await noise(3).webp({ lossless: true }).toBuffer());
  const alpha = webpChunks(await noise(4).webp().toBuffer());
  const cut = (chunk: Box, share: number): Box => ({
    ...chunk,
    body: chunk.body.subarray(0, chunk.body.length * share),
  });
  const shares = [0.02, 0.3, 0.5, 0.9, 0.99];
  const withSize = (size: number) => {
    const bytes = Buffer.from(lossy);
    bytes.writeUInt32LE(size, 4);
    return bytes;
  };
  const filled = (chunk: Box, byte: number, from: number): Box => {
    const body = Buffer.from(chunk.body);
    return { ...chunk, body: body.fill(byte, from) };
  };
  await expectOutcomes(t, "I20", [
    ["lossy", lossy, "64×48"],
    ["lossless", webpOf([vp8l]), "64×48"],
    ["alpha", webpOf(alpha), "64×48"],
    ...shares.map((share): Case => [`VP8 cut at ${share}`, webpOf([cut(vp8, share)]), "CORRUPT"]),
    ...shares.map((share): Case => [`VP8L cut at ${share}`, webpOf([cut(vp8l, share)]), "CORRUPT"]),
    ...shares.map(
      (share): Case => [`ALPH cut at ${share}`, webpOf([alpha[0], cut(alpha[1], share), alpha[2]]), "CORRUPT"],
    ),
    ["no VP8 behind ALPH", webpOf(alpha.slice(0, 2)), "CORRUPT"],
    ["VP8X of another size", webpOf([vp8x(0, 100, 100), vp8]), "CORRUPT"],
    ["VP8X of 2^24", webpOf([vp8x(0, 2 ** 24, 2 ** 24), vp8]), "CORRUPT|TOO_LARGE"],
    ["RIFF of size 0", withSize(0), "CORRUPT"],
    ["RIFF of half the size", withSize((lossy.length >> 2) * 2), "TRUNCATED"],
    ["RIFF of 2^32-1", withSize(0xffffffff), "TRUNCATED"],
    // Huffman groups without end: the class of CVE-2023-4863.
    ...[0x00, 0x55, 0xaa, 0xff].flatMap((byte) =>
      [5, 6, 9, 17].map(
        (from): Case => [
          `VP8L of 0x${byte.toString(16)} from ${from}`,
          webpOf([filled(vp8l, byte, from)]),
          "64×48|CORRUPT",
        ],
      ),
    ),
    [
      "VP8L of 16,384²",
      webpOf([{ type: "VP8L", body: Buffer.from([0x2f, 0xff, 0xff, 0xff, 0x0f, ...Array(200).fill(0x55)]) }]),
      "TOO_LARGE|CORRUPT",
    ],
    [
      "VP8 of 0×0",
      webpOf([{ ...vp8, body: Buffer.concat([vp8.body.subarray(0, 6), Buffer.alloc(4), vp8.body.subarray(10)]) }]),
      "CORRUPT",
    ],
    ["a profile of 2 MB", webpOf([vp8x(32, 64, 48), { type: "ICCP", body: Buffer.alloc(2e6, 7) }, vp8]), "64×48"],
  ]);
});

t.test("I20 of an animated WebP the first frame is decoded, be there 10,000 of them", async (t) => {
  const still = await sharp({ create: { width: 64, height: 48, channels: 3, background: "#864" } })
    .webp()
    .toBuffer();
  const [vp8] = webpChunks(still);
  const half: Box = { ...vp8, body: vp8.body.subarray(0, vp8.body.length / 2) };
  const of = (...frames: Box[]) => webpOf([vp8x(2, 64, 48), anim, ...frames]);
  const one = anmf(vp8, 0, 0, 64, 48);
  const two = of(one, one);
  const cases: Case[] = [
    ["one frame", of(one), "64×48"],
    ["two frames", two, "64×48"],
    ["10,000 frames", of(...Array(10_000).fill(one)), "64×48"],
    ["a second frame that is broken", of(one, anmf(half, 0, 0, 64, 48)), "64×48"],
    ["a first frame that is broken", of(anmf(half, 0, 0, 64, 48), one), "CORRUPT"],
    ["a file that ends in the second frame", two.subarray(0, two.length - 20), "TRUNCATED"],
    ["a first frame outside of the picture", of(anmf(vp8, 100, 100, 64, 48)), "CORRUPT"],
    ["no frame", webpOf([vp8x(2, 64, 48), anim]), "CORRUPT"],
    ["a canvas of 16,383²", webpOf([vp8x(2, 16_383, 16_383), anim, one]), "TOO_LARGE"],
    ["a canvas of 2^24", webpOf([vp8x(2, 2 ** 24, 2 ** 24), anim, one]), "TOO_LARGE|CORRUPT"],
  ];
  const outcomes = await expectOutcomes(t, "I20", cases);
  for (let i = 1; i < 4; i++) t.ok(samePixels(outcomes[i], outcomes[0]), cases[i][0]);
  const [first] = await expectOutcomes(t, "I20", [
    [
      "16,383 × 1",
      await sharp({ create: { width: 16_383, height: 1, channels: 3, background: "red" } })
        .webp()
        .toBuffer(),
      "16383×1",
    ],
  ]);
  t.equal(first.data?.length, 16_383 * 3);
});
