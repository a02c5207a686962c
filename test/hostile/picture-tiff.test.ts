import { deflateSync } from "node:zlib";
import sharp from "sharp";
import t from "tap";
import { type Case, expectOutcomes, outcomeOf, quickest, samePixels } from "./picture-outcome";
import { type TiffEntry, tiffEntries, type TiffPlan, type TiffShape, tiffPicture } from "./picture-write-tiff";

const rgb = Buffer.from(Array.from({ length: 600 }, (_, i) => (i * 5) & 255));
const size = "20×10";

function one(
  shape: Partial<TiffShape> = {},
  strips: readonly Uint8Array[] = [rgb],
  plan: Partial<TiffPlan> = {},
): Buffer {
  return tiffPicture({ pages: [{ entries: tiffEntries({ width: 20, height: 10, ...shape }), strips }], ...plan });
}

const entry = (
  tag: number,
  type: number,
  values: readonly (number | bigint)[],
  count?: number | bigint,
): TiffEntry => ({ tag, type, values, count });
const rows = Array.from({ length: 10 }, (_, i) => rgb.subarray(i * 60, i * 60 + 60));

t.test("I37 classic and Big TIFF in both byte orders, strips, tiles and planes give the same pixels", async (t) => {
  const tile = Buffer.alloc(32 * 16 * 3);
  for (const [y, row] of rows.entries()) row.copy(tile, y * 96);
  const tiled = tiffPicture({
    pages: [
      {
        entries: tiffEntries({ width: 20, height: 10, extra: [entry(322, 4, [32]), entry(323, 4, [16])] }).filter(
          ({ tag }) => tag !== 278,
        ),
        strips: [tile],
        tiled: true,
      },
    ],
  });
  const planes = [0, 1, 2].map((channel) => Buffer.from(Array.from({ length: 200 }, (_, i) => rgb[i * 3 + channel])));
  const cases: Case[] = [
    ["classic", one(), size],
    ["Motorola", one({}, [rgb], { motorola: true }), size],
    ["Big", one({}, [rgb], { big: true }), size],
    ["Big, Motorola", one({}, [rgb], { big: true, motorola: true }), size],
    ["ten strips", one({ rowsPerStrip: 1 }, rows), size],
    ["tiles", tiled, size],
    ["planes", one({ extra: [entry(284, 3, [2])] }, planes), size],
    ["deflate", one({ compression: 8 }, [deflateSync(rgb)]), size],
    ["rows per strip without end", one({ rowsPerStrip: 0xffffffff }), size],
  ];
  const outcomes = await expectOutcomes(t, "I37", cases);
  outcomes.forEach((outcome, i) => {
    t.ok(outcome.data !== undefined && Buffer.compare(outcome.data, rgb) === 0, cases[i][0]);
  });
});

t.test(
  "I37 of a TIFF only the first page is read: 100,000 pages, a loop and a next page outside cost nothing",
  async (t) => {
    const page = { entries: tiffEntries({ width: 20, height: 10 }), strips: [rgb] };
    const tiny = {
      entries: tiffEntries({ width: 1, height: 1, bits: [8], photometric: 1 }),
      strips: [Uint8Array.of(9)],
    };
    const many = tiffPicture({ pages: [page, ...Array(99_999).fill(tiny)] });
    const cases: Case[] = [
      ["one page", one(), size],
      ["100,000 pages", many, size],
      ["a directory that follows itself", tiffPicture({ pages: [{ ...page, next: 8 }] }), size],
      ["two that follow each other", tiffPicture({ pages: [page, { ...page, next: 8 }] }), size],
      ["a next page outside", tiffPicture({ pages: [{ ...page, next: 0x7fffffff }] }), size],
      ["Big, a next page outside", tiffPicture({ pages: [{ ...page, next: 0x7fffffff }], big: true }), size],
      ["a sub-directory that is its own", one({ extra: [entry(330, 4, [8])] }), size],
      ["an EXIF directory that is its own", one({ extra: [entry(34_665, 4, [8])] }), size],
    ];
    const outcomes = await expectOutcomes(t, "I37", cases);
    for (const outcome of outcomes) t.ok(samePixels(outcome, outcomes[0]));
    const ms = await quickest(2, () => outcomeOf(many));
    t.ok(ms <= 1_000, `100,000 pages in ${ms.toFixed(0)} ms`);
    t.comment(`I37: 100,000 pages (${(many.length / 1e6).toFixed(0)} MB) decoded in ${ms.toFixed(0)} ms`);
  },
);

t.test("I37 sizes, strips and tiles that cannot be are refused", async (t) => {
  const tiles = (width: number, height: number) =>
    tiffPicture({
      pages: [
        {
          entries: tiffEntries({
            width: 20,
            height: 10,
            extra: [entry(322, 4, [width]), entry(323, 4, [height])],
          }).filter(({ tag }) => tag !== 278),
          strips: [Buffer.alloc(768), Buffer.alloc(768)],
          tiled: true,
        },
      ],
    });
  const changed = (...extra: TiffEntry[]) => one({ extra });
  const cut = one();
  const header = (offset: number) => {
    const bytes = Buffer.from(cut);
    bytes.writeUInt32LE(offset, 4);
    return bytes;
  };
  await expectOutcomes(t, "I37", [
    ["width 0", one({ width: 0 }), "DIMENSIONS"],
    ["height 0", one({ height: 0 }), "DIMENSIONS"],
    ["width 2^31", one({ width: 2 ** 31 }), "DIMENSIONS"],
    ["width 2^31-1", one({ width: 2 ** 31 - 1 }), "DIMENSIONS"],
    ["65,000²", one({ width: 65_000, height: 65_000 }), "TOO_LARGE"],
    ["8,000² of 600 bytes", one({ width: 8_000, height: 8_000 }), "CORRUPT"],
    [
      "no width",
      tiffPicture({ pages: [{ entries: tiffEntries({ width: 20, height: 10 }).slice(1), strips: [rgb] }] }),
      "CORRUPT",
    ],
    ["no places", tiffPicture({ pages: [{ entries: tiffEntries({ width: 20, height: 10 }) }] }), "CORRUPT"],
    ...[0, 2 ** 31, 2 ** 31 - 16, 17, 16_384].map(
      (side): Case => [`tiles of ${side}`, tiles(side, side), "CORRUPT|FORMAT"],
    ),
    ["rows per strip 0", one({ rowsPerStrip: 0 }), "CORRUPT|FORMAT"],
    ["fewer strips than rows", one({ rowsPerStrip: 1 }, rows.slice(0, 5)), "CORRUPT"],
    ["a strip of fewer bytes", changed(entry(279, 4, [100])), "CORRUPT"],
    ["a strip of no bytes", changed(entry(279, 4, [0])), "CORRUPT"],
    ["a strip of 2^32-1 bytes", changed(entry(279, 4, [0xffffffff])), "TRUNCATED"],
    ["a strip at 0", changed(entry(273, 4, [0])), "CORRUPT"],
    ["a strip at 2^32-1", changed(entry(273, 4, [0xffffffff])), "TRUNCATED"],
    ["2^30 strips", changed(entry(273, 4, [8], 2 ** 30)), "TRUNCATED"],
    ["2^32-1 byte counts", changed(entry(279, 4, [8], 0xffffffff)), "TRUNCATED"],
    ["Big: 2^63 strips", one({ extra: [entry(273, 16, [16n], 2n ** 63n)] }, [rgb], { big: true }), "TRUNCATED"],
    ["Big: a strip at 2^64-1", one({ extra: [entry(273, 16, [2n ** 64n - 1n])] }, [rgb], { big: true }), "TRUNCATED"],
    ["a directory outside", header(0x7fffffff), "TRUNCATED"],
    ["a directory at the end", header(cut.length - 1), "TRUNCATED"],
    [
      "a directory of 65,535 entries",
      Buffer.concat([cut.subarray(0, 8), Buffer.from([255, 255]), cut.subarray(10)]),
      "CORRUPT",
    ],
    ["deflate of fewer rows", one({ compression: 8 }, [deflateSync(rgb.subarray(0, 300))]), "CORRUPT"],
    ["LZW that is none", one({ compression: 5 }, [Buffer.alloc(300, 0xff)]), "CORRUPT"],
    ["PackBits that ends early", one({ compression: 32_773 }, [Buffer.from([0x81, 7])]), "CORRUPT"],
    ["a compression that nobody knows", one({ compression: 999 }), "CORRUPT|FORMAT"],
  ]);
});

t.test(
  "I37 floating point, wide integers, many channels and raw pictures of cameras are refused as formats",
  async (t) => {
    const deep = (bits: readonly number[], sampleFormat: number, photometric: number) =>
      one({ bits, sampleFormat, photometric }, [Buffer.alloc((200 * bits.reduce((sum, n) => sum + n, 0)) / 8)]);
    const bands = (count: number) => one({ bits: Array(count).fill(8) }, [Buffer.alloc(200 * count)]);
    await expectOutcomes(t, "I37", [
      ["float", deep([32, 32, 32], 3, 2), "FORMAT"],
      ["float, grey", deep([32], 3, 1), "FORMAT"],
      ["half", deep([16], 3, 1), "FORMAT"],
      ["double", deep([64], 3, 1), "FORMAT"],
      ["int32", deep([32, 32, 32], 2, 2), "FORMAT"],
      ["uint32", deep([32], 1, 1), "FORMAT"],
      ["int8", one({ sampleFormat: 2 }), "FORMAT"],
      ["complex", deep([64], 6, 1), "FORMAT"],
      ["6 bands", bands(6), "FORMAT"],
      ["16 bands", bands(16), "FORMAT"],
      ["60,000 bands", one({ bits: [8], extra: [entry(277, 3, [60_000])] }), "FORMAT"],
      ["DNG", one({ extra: [entry(50_706, 1, [1, 4, 0, 0])] }), "FORMAT"],
      ["sensor pixels", one({ bits: [8], photometric: 32_803 }, [rgb.subarray(0, 200)]), "FORMAT"],
      ["a preview before a raw picture", one({ extra: [entry(254, 4, [1]), entry(330, 4, [8])] }), "FORMAT"],
      ["CR2", Buffer.concat([Buffer.from("II*\0\x10\0\0\0CR\x02\0"), one()]), "FORMAT"],
      ["Lab", one({ photometric: 8 }), "CORRUPT|20×10"],
      ["16 bits", deep([16, 16, 16], 1, 2), size],
      ["CMYK", one({ bits: [8, 8, 8, 8], photometric: 5 }, [Buffer.alloc(800, 40)]), size],
      ["1 bit", one({ bits: [1], photometric: 1 }, [Buffer.alloc(30, 0xaa)]), size],
      ["white is zero", one({ bits: [8], photometric: 0 }, [rgb.subarray(0, 200)]), size],
    ]);
  },
);

t.test("I37 a JPEG within a TIFF has the TIFF's size or is refused", async (t) => {
  const jpeg = await sharp({ create: { width: 20, height: 10, channels: 3, background: "#123456" } })
    .jpeg()
    .toBuffer();
  const of = (bytes: Uint8Array, shape: Partial<TiffShape> = {}) =>
    one({ compression: 7, photometric: 6, ...shape }, [bytes]);
  await expectOutcomes(t, "I37", [
    ["as it should be", of(jpeg), size],
    ["of another size", of(jpeg, { width: 200, height: 100 }), "CORRUPT"],
    ["larger than the TIFF", of(jpeg, { width: 10, height: 5 }), "CORRUPT"],
    ["cut", of(jpeg.subarray(0, jpeg.length - 20)), "CORRUPT"],
    ["half", of(jpeg.subarray(0, jpeg.length / 2)), "CORRUPT"],
    ["of the old style", of(jpeg, { compression: 6 }), "CORRUPT|FORMAT"],
  ]);
});
