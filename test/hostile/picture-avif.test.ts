import sharp from "sharp";
import t from "tap";
import { type Case, expectOutcomes, outcomeOf, samePixels } from "./picture-outcome";
import { avifGrid, avifPieces, boxesOf, type GridPlan, placeOf, u32, with32 } from "./picture-write-boxes";

const noise = Buffer.from(
  Array.from({ length: 64 * 64 * 3 }, (_, i) => (Math.floor(i / 30) + ((i * 7_919) % 61)) & 255),
);
const picture = () => sharp(noise, { raw: { width: 64, height: 64, channels: 3 } });
const size = "64×64";
const whole = () => picture().avif({ effort: 1 }).toBuffer();

t.test("I38 AVIF boxes of impossible lengths are refused or read as the whole picture", async (t) => {
  const bytes = await whole();
  const plain = await outcomeOf(bytes);
  t.equal(plain.what, size);
  const cases: Case[] = [];
  for (const type of ["ftyp", "meta", "hdlr", "iloc", "iinf", "pitm", "iprp", "ipco", "av1C", "ispe", "ipma", "mdat"])
    for (const length of [0, 1, 7, 8, 0x7fffffff, 0xffffffff])
      cases.push([
        `${type} of ${length}`,
        with32(bytes, placeOf(bytes, type), length),
        `TRUNCATED|CORRUPT|FORMAT|DIMENSIONS|${size}`,
      ]);
  const mdat = boxesOf(bytes).find(({ type }) => type === "mdat");
  if (mdat === undefined) throw new Error("no mdat");
  for (const [high, low] of [
    [0, 5],
    [0, 0xffffffff],
    [0x80000000, 0],
    [0xffffffff, 0xffffffff],
  ]) {
    const wide = Buffer.concat([bytes.subarray(0, mdat.at), u32(1), Buffer.from("mdat"), u32(high, low), mdat.body]);
    cases.push([`a 64-bit length ${high},${low}`, wide, "TRUNCATED|CORRUPT"]);
  }
  const outcomes = await expectOutcomes(t, "I38", cases);
  outcomes.forEach((outcome, i) => {
    if (outcome.data !== undefined) t.ok(samePixels(outcome, plain), `${cases[i][0]}: the whole picture`);
  });
});

t.test("I38 an AVIF whose size box is unlike its AV1 stream is refused, never another size", async (t) => {
  const bytes = await whole();
  const at = placeOf(bytes, "ispe") + 12;
  const sized = (width: number, height: number) => with32(with32(bytes, at, width), at + 4, height);
  const cases: Case[] = [
    [32, 32],
    [63, 64],
    [65, 64],
    [64, 128],
    [6_000, 6_000],
  ].map(([w, h]) => [`${w}×${h}`, sized(w, h), "CORRUPT"]);
  for (const [w, h] of [
    [0, 64],
    [64, 0],
    [2 ** 31 - 1, 2 ** 31 - 1],
    [2 ** 32 - 1, 1],
  ])
    cases.push([`${w}×${h}`, sized(w, h), "DIMENSIONS"]);
  for (const [w, h] of [
    [40_000, 40_000],
    [32_768, 32_768],
    [1_885_960_297, 64],
  ])
    cases.push([`${w}×${h}`, sized(w, h), "TOO_LARGE"]);
  await expectOutcomes(t, "I38", cases);
});

t.test("I38 codecs other than AV1 under AVIF's brand are refused, and a sequence gives its still", async (t) => {
  const bytes = await whole();
  const renamed = (from: string, to: string) => {
    const changed = Buffer.from(bytes);
    changed.write(to, changed.indexOf(from, 24, "latin1"), "latin1");
    return changed;
  };
  const major = (brand: string) => {
    const changed = Buffer.from(bytes);
    changed.write(brand, 8, "latin1");
    return changed;
  };
  const heic = major("heic");
  for (let i = heic.indexOf("avif", 12, "latin1"); i >= 0; i = heic.indexOf("avif", i, "latin1"))
    heic.write("mif1", i, "latin1");
  const hevc = renamed("av01", "hvc1");
  const both = Buffer.from(hevc);
  both.write("hvcC", both.indexOf("av1C", 0, "latin1"), "latin1");
  const cases: Case[] = [
    ["plain", bytes, size],
    ["HEVC's item", hevc, "CORRUPT|FORMAT"],
    ["HEVC's item and settings", both, "CORRUPT|FORMAT|TRUNCATED"],
    ["an item that nobody knows", renamed("av01", "zzzz"), "CORRUPT|FORMAT"],
    ["HEIC's brands", heic, "FORMAT"],
    ["the brand of sequences", major("avis"), size],
    ["the brand of MP4", major("isom"), size],
    ["the brand of pictures", major("mif1"), size],
  ];
  const outcomes = await expectOutcomes(t, "I38", cases);
  for (const outcome of outcomes.slice(5)) t.ok(samePixels(outcome, outcomes[0]));
});

t.test("I38 grids of AVIF tiles are whole or refused, 10,000 tiles before any is decoded", async (t) => {
  const pieces = avifPieces(await whole());
  const grid = (more: Partial<GridPlan>) =>
    avifGrid(pieces, { width: 128, height: 128, columns: 2, rows: 2, tileWidth: 64, tileHeight: 64, ...more });
  const [good] = await expectOutcomes(t, "I38", [
    ["2 by 2", grid({}), "128×128"],
    ["cropped by its own size", grid({ width: 100, height: 90 }), "100×90|CORRUPT"],
    ["a tile less", grid({ tiles: 3 }), "CORRUPT"],
    ["no tiles", grid({ tiles: 0 }), "CORRUPT"],
    ["more tiles than places", grid({ tiles: 6 }), "CORRUPT"],
    ["larger than its tiles", grid({ width: 500, height: 400 }), "CORRUPT"],
    ["tiles of another size than they say", grid({ tileWidth: 70 }), "CORRUPT|128×128"],
    ["10,000 tiles", grid({ width: 6_400, height: 6_400, columns: 100, rows: 100 }), "CORRUPT"],
    [
      "65,025 tiles of which 20,000 are there",
      grid({ width: 16_320, height: 16_320, columns: 255, rows: 255, tiles: 20_000 }),
      "CORRUPT|TOO_LARGE",
    ],
  ]);
  const tile = await outcomeOf(await whole());
  t.strictSame(good.data?.subarray(0, 64 * 3), tile.data?.subarray(0, 64 * 3), "its first row is the tile's");
});

t.test("I27 an AVIF of 10 or 12 bits is scaled to 8", async (t) => {
  const plain = await outcomeOf(await picture().avif({ quality: 100, effort: 1 }).toBuffer());
  for (const bitdepth of [10, 12] as const) {
    const deep = await outcomeOf(await picture().avif({ quality: 100, bitdepth, effort: 1 }).toBuffer());
    t.equal(deep.what, size);
    const most = Math.max(...(deep.data ?? []).map((value, i) => Math.abs(value - (plain.data?.[i] ?? 0))));
    t.ok(most <= 6, `${bitdepth} bits: at most ${most} from 8 bits`);
    t.comment(`I27: AVIF of ${bitdepth} bits differs by at most ${most} of 255 from 8 bits`);
  }
});

t.test("I38 damaged AV1 data is refused", async (t) => {
  const bytes = await whole();
  const plain = await outcomeOf(bytes);
  const from = placeOf(bytes, "mdat") + 8;
  const cases: Case[] = [20, 100, 300, 600].flatMap((at): Case[] => {
    const zeroed = Buffer.from(bytes).fill(0, from + at);
    const ones = Buffer.from(bytes).fill(255, from + at);
    return [
      [`zeros after ${at}`, zeroed, "CORRUPT|64×64"],
      [`ones after ${at}`, ones, "CORRUPT|64×64"],
    ];
  });
  const outcomes = await expectOutcomes(t, "I38", cases);
  t.ok(outcomes.every((outcome) => outcome.data === undefined || outcome.what === plain.what));
});
