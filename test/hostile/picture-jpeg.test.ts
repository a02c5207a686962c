import sharp from "sharp";
import t from "tap";
import { type Case, expectOutcomes, outcomeOf, quickest, samePixels } from "./picture-outcome";
import {
  components,
  eoi,
  exif,
  frame,
  huffmanAc,
  huffmanDc,
  type JpegPlan,
  type JpegScan,
  jpegPicture,
  quantisation,
  scanData,
  scanHeader,
  segment,
  soi,
} from "./picture-write-jpeg";

const plan: JpegPlan = {
  width: 50,
  height: 30,
  components: components([
    [2, 2],
    [1, 1],
    [1, 1],
  ]),
};
const all: JpegScan = { components: [0, 1, 2] };
const data = scanData(plan, all);
const size = "50×30";
const of = (...parts: readonly Uint8Array[]) => Buffer.concat([soi, ...parts]);
const tables = [quantisation(), huffmanDc(), huffmanAc()];
/** The whole picture with another frame header, and what is to stand between the tables and the scan. */
const framed = (header: Buffer, ...more: readonly Buffer[]) =>
  of(...tables, header, ...more, scanHeader(plan, all), data, eoi);
const withData = (...parts: readonly Uint8Array[]) => of(...tables, frame(plan), scanHeader(plan, all), ...parts, eoi);
const progressive: JpegScan[] = [
  { components: [0, 1, 2], to: 0 },
  ...[0, 1, 2].map((i) => ({ components: [i], from: 1 })),
];

t.test(
  "I15 JPEG frames of size zero, two frames that disagree and DNL never give another size than the header's",
  async (t) => {
    const lines = (height: number) =>
      of(...tables, frame(plan), scanHeader(plan, all), data, segment(0xdc, [0, height]), eoi);
    await expectOutcomes(t, "I15", [
      ["height 0", framed(frame(plan, { height: 0 })), "DIMENSIONS"],
      ["width 0", framed(frame(plan, { width: 0 })), "DIMENSIONS"],
      [
        "height 0 and DNL",
        of(...tables, frame(plan, { height: 0 }), scanHeader(plan, all), data, segment(0xdc, [0, 30]), eoi),
        "DIMENSIONS",
      ],
      ["two frames", framed(frame(plan), frame(plan, { width: 500 })), "CORRUPT"],
      ["two equal frames", framed(frame(plan), frame(plan)), "CORRUPT"],
      [
        "a frame behind the pixels",
        of(...tables, frame(plan), scanHeader(plan, all), data, frame(plan, { height: 9 }), eoi),
        "CORRUPT",
      ],
      ["no frame", of(...tables, scanHeader(plan, all), data, eoi), "CORRUPT"],
      ["a frame of no components", framed(segment(0xc0, [8, 0, 30, 0, 50, 0])), "FORMAT"],
      ["a frame of 200 components", framed(segment(0xc0, [8, 0, 30, 0, 50, 200])), "FORMAT"],
      ["a frame that is too short", framed(segment(0xc0, [8, 0, 30, 0, 50, 3, 1])), "CORRUPT"],
      ["DNL of another height", lines(90), size],
      ["a larger frame than its pixels", framed(frame(plan, { width: 500, height: 300 })), "CORRUPT"],
    ]);
  },
);

t.test("I16 JPEG tables that are wrong or missing and restart markers in wrong places are refused", async (t) => {
  const scan = [scanHeader(plan, all), data, eoi];
  const storm = Buffer.alloc(200_000);
  for (let i = 0; i < storm.length; i += 2) storm.set([0xff, 0xd0 + ((i / 2) % 8)], i);
  const interval = (n: number) => segment(0xdd, [n >> 8, n & 255]);
  const [whole, every, each] = await expectOutcomes(t, "I16", [
    ["the whole", jpegPicture(plan), size],
    ["restarts at every unit", jpegPicture({ ...plan, restart: 1 }), size],
    ["DRI 0", jpegPicture({ ...plan, restart: 0 }), size],
    ["no DHT", of(quantisation(), frame(plan), ...scan), "CORRUPT"],
    ["no AC table", of(quantisation(), huffmanDc(), frame(plan), ...scan), "CORRUPT"],
    ["no DQT", of(huffmanDc(), huffmanAc(), frame(plan), ...scan), "CORRUPT"],
    ["a step of zero", of(quantisation(0), huffmanDc(), huffmanAc(), frame(plan), ...scan), "CORRUPT"],
    ["a short DQT", of(segment(0xdb, [0, 1, 1]), huffmanDc(), huffmanAc(), frame(plan), ...scan), "CORRUPT"],
    [
      "too many codes",
      of(...tables, segment(0xc4, [0], Buffer.alloc(16, 255), Buffer.alloc(4080)), frame(plan), ...scan),
      "CORRUPT",
    ],
    [
      "codes that do not fit",
      of(...tables, segment(0xc4, [0, 3], Buffer.alloc(15), [0, 1, 2]), frame(plan), ...scan),
      "CORRUPT",
    ],
    [
      "a scan of an unknown component",
      of(...tables, frame(plan), segment(0xda, [1, 9, 0, 0, 63, 0]), data, eoi),
      "CORRUPT",
    ],
    ["a scan of no component", of(...tables, frame(plan), segment(0xda, [0, 0, 63, 0]), data, eoi), "CORRUPT"],
    ["a segment of length 0", of(Buffer.from([0xff, 0xe0, 0, 0]), ...tables, frame(plan), ...scan), "CORRUPT"],
    [
      "a segment longer than the file",
      of(Buffer.from([0xff, 0xe0, 0xff, 0xff]), ...tables, frame(plan), ...scan),
      "TRUNCATED",
    ],
    ["half the pixels, then the end", withData(data.subarray(0, data.length / 2)), "CORRUPT"],
    ["no pixels", withData(), "CORRUPT"],
    ["DRI 1 without restarts", framed(frame(plan), interval(1)), "CORRUPT"],
    ["a restart without DRI", withData(data.subarray(0, 40), Uint8Array.of(0xff, 0xd3), data.subarray(40)), "CORRUPT"],
    ["100,000 restarts", withData(storm), "CORRUPT"],
    [
      "100,000 restarts with DRI",
      of(...tables, frame(plan), interval(1), scanHeader(plan, all), storm, eoi),
      "CORRUPT",
    ],
    ["64 KB of fill bytes", of(Buffer.alloc(65_536, 0xff), ...tables, frame(plan), ...scan), size],
  ]);
  t.ok(samePixels(whole, every) && samePixels(whole, each));
});

t.test("I13 a JPEG that lacks the scans of a component is not filled with grey", async (t) => {
  const [whole, separate] = await expectOutcomes(t, "I13", [
    ["all in one", jpegPicture(plan), size],
    ["each its own", jpegPicture({ ...plan, scans: [0, 1, 2].map((i) => ({ components: [i] })) }), size],
    ["two of three", jpegPicture({ ...plan, scans: [0, 1].map((i) => ({ components: [i] })) }), "TRUNCATED"],
    ["brightness only", jpegPicture({ ...plan, scans: [{ components: [0] }] }), "TRUNCATED"],
    ["none", jpegPicture({ ...plan, scans: [] }), "CORRUPT"],
    ["progressive", jpegPicture({ ...plan, sof: 0xc2, scans: progressive }), size],
    [
      "progressive, brightness only",
      jpegPicture({ ...plan, sof: 0xc2, scans: [{ components: [0], to: 0 }] }),
      "TRUNCATED",
    ],
    ["progressive, details only", jpegPicture({ ...plan, sof: 0xc2, scans: progressive.slice(1) }), "TRUNCATED"],
  ]);
  t.ok(samePixels(whole, separate));
});

/** An AC scan that says "nothing" of all blocks: runs of up to 32,767 of them. */
function emptyRuns(blocks: number): Buffer {
  let bits = "";
  for (let left = blocks; left > 0; ) {
    const run = Math.min(left, 32_767);
    bits += run < 16_384 ? `0${"0".repeat(14)}` : `0${(run - 16_384).toString(2).padStart(14, "0")}`;
    left -= Math.max(run, 16_384);
  }
  const bytes = (bits.match(/.{1,8}/g) ?? []).map((part) => Number.parseInt(part.padEnd(8, "1"), 2));
  return Buffer.from(bytes.flatMap((byte) => (byte === 255 ? [255, 0] : [byte])));
}

function manyScans(width: number, height: number, count: number): Buffer {
  const grey: JpegPlan = { width, height, sof: 0xc2, components: [{ id: 1, h: 1, v: 1, level: () => 99 }] };
  const runs = segment(0xc4, [0x10, 1], Buffer.alloc(15), [0xe0]);
  const refining = [
    scanHeader(grey, { components: [0], from: 1 }),
    emptyRuns(Math.ceil(width / 8) * Math.ceil(height / 8)),
  ];
  const dc: JpegScan = { components: [0], to: 0 };
  const scans = Array.from({ length: count - 1 }, () => refining).flat();
  return of(quantisation(), huffmanDc(), runs, frame(grey), scanHeader(grey, dc), scanData(grey, dc), ...scans, eoi);
}

t.test("I14 a progressive JPEG of 65,500² or of 1,000 scans is refused before its pixels are looked at", async (t) => {
  const large: JpegPlan = { ...plan, width: 65_500, height: 65_500, sof: 0xc2 };
  const bomb = of(
    ...tables,
    frame(large),
    ...progressive.flatMap((scan) => [scanHeader(large, scan), Buffer.alloc(100, 0x55)]),
    eoi,
  );
  const many = manyScans(2_000, 2_000, 1_000);
  const cases: Case[] = [
    ["65,500²", bomb, "TOO_LARGE"],
    ["1,000 scans over 4 megapixels", many, "TOO_LARGE"],
    ["101 scans", manyScans(64, 64, 101), "TOO_LARGE"],
    ["100 scans", manyScans(64, 64, 100), "64×64"],
  ];
  await expectOutcomes(t, "I14", cases);
  const ms = await quickest(5, () => outcomeOf(many));
  t.ok(ms <= 20, `1,000 scans: refused in ${ms.toFixed(1)} ms`);
  t.comment(`I14: ${many.length} bytes with 1,000 scans refused in ${ms.toFixed(1)} ms`);
});

t.test("I17 every kind of JPEG is decoded to three channels or refused as a format", async (t) => {
  const adobe = (transform: number) => [segment(0xee, Buffer.from("Adobe"), [0, 100, 0, 0, 0, 0, transform])];
  const four = components([
    [1, 1],
    [1, 1],
    [1, 1],
    [1, 1],
  ]);
  const kinds: [string, Partial<JpegPlan>, string][] = [
    ["grey", { components: components([[1, 1]]) }, size],
    [
      "4:4:4",
      {
        components: components([
          [1, 1],
          [1, 1],
          [1, 1],
        ]),
      },
      size,
    ],
    [
      "4:1:1",
      {
        components: components([
          [4, 1],
          [1, 1],
          [1, 1],
        ]),
      },
      size,
    ],
    [
      "4:4:1",
      {
        components: components([
          [1, 4],
          [1, 1],
          [1, 1],
        ]),
      },
      size,
    ],
    [
      "3 by 3 samples",
      {
        components: components([
          [3, 3],
          [1, 1],
          [1, 1],
        ]),
      },
      `${size}|CORRUPT|FORMAT`,
    ],
    [
      "colours finer than brightness",
      {
        components: components([
          [1, 1],
          [2, 2],
          [2, 2],
        ]),
      },
      `${size}|CORRUPT|FORMAT`,
    ],
    ["RGB by Adobe's mark", { segments: adobe(0) }, size],
    ["CMYK", { components: four }, size],
    ["CMYK by Adobe's mark", { components: four, segments: adobe(0) }, size],
    ["YCCK", { components: four, segments: adobe(2) }, size],
    [
      "two components",
      {
        components: components([
          [1, 1],
          [1, 1],
        ]),
      },
      "FORMAT",
    ],
    [
      "12 bits",
      {
        sof: 0xc1,
        precision: 12,
        components: components(
          [
            [1, 1],
            [1, 1],
            [1, 1],
          ],
          16,
        ),
      },
      "FORMAT",
    ],
    ["extended", { sof: 0xc1 }, size],
    ["arithmetic", { sof: 0xc9 }, `${size}|CORRUPT`],
    ...[0xc3, 0xc5, 0xc6, 0xc7, 0xcb, 0xcd, 0xce, 0xcf].map((sof): [string, Partial<JpegPlan>, string] => [
      `process ${sof - 0xc0}`,
      { sof },
      "FORMAT",
    ]),
  ];
  await expectOutcomes(
    t,
    "I17",
    kinds.map(([name, change, expected]) => [name, jpegPicture({ ...plan, ...change }), expected]),
  );
});

t.test("I18 orientations turn the picture upright, and malformed EXIF is passed over", async (t) => {
  const garbage = Buffer.from(Array.from({ length: 65_000 }, (_, i) => (i * 31) & 255));
  const named = (bytes: Uint8Array) => segment(0xe1, Buffer.from("Exif\0\0", "latin1"), bytes);
  const tiff = (...bytes: number[]) => named(Uint8Array.of(0x49, 0x49, 42, 0, ...bytes));
  const thumbnail = named(
    Buffer.concat([Buffer.from("II*\0\x08\0\0\0\0\0", "latin1"), jpegPicture({ ...plan, width: 8, height: 8 })]),
  );
  const upright: Record<string, Buffer> = {
    "no EXIF": Buffer.alloc(0),
    ...Object.fromEntries([0, 1, 2, 3, 4, 9, 65_535].map((value) => [`orientation ${value}`, exif(value)])),
    "directories in a loop": exif(1, { next: 8 }),
    "a next directory outside": exif(1, { next: 0x7fffffff }),
    "orientation as text": exif(6, { type: 2 }),
    "orientation of an unknown type": exif(6, { type: 99 }),
    "64 KB of garbage": named(garbage),
    "64 KB of garbage in a TIFF": tiff(8, 0, 0, 0, ...garbage.subarray(0, 60_000)),
    "a directory of 65,535 entries": tiff(8, 0, 0, 0, 255, 255),
    "a directory outside": tiff(255, 255, 255, 127),
    "a thumbnail without a directory": thumbnail,
    empty: named(new Uint8Array()),
  };
  const cases: Case[] = Object.entries(upright).map(([name, part]) => [
    name,
    jpegPicture({ ...plan, segments: [part] }),
    size,
  ]);
  for (const value of [5, 6, 7, 8])
    cases.push([`orientation ${value}`, jpegPicture({ ...plan, segments: [exif(value)] }), "30×50"]);
  const outcomes = await expectOutcomes(t, "I18", cases);
  const [plain] = outcomes;
  cases.forEach(([name], i) => {
    if (!/orientation [2-8]$/.test(name)) t.ok(samePixels(outcomes[i], plain), `${name}: the same pixels`);
  });
  const [bare, worst] = [jpegPicture(plan), cases.find(([name]) => name === "64 KB of garbage") as Case];
  let [without, more] = [0, 0];
  for (let i = 0; i < 3; i++) {
    without = await quickest(10, () => outcomeOf(bare));
    more = (await quickest(10, () => outcomeOf(worst[1]))) - without;
    if (more <= 5) break;
  }
  t.ok(more <= 5, `${more.toFixed(1)} ms more`);
  t.comment(`I18: 64 KB of garbage as EXIF cost ${more.toFixed(1)} ms over ${without.toFixed(1)} ms`);
});

t.test("I18 each orientation puts the corner where it belongs", async (t) => {
  // The stored picture has its first row first; where its upper left block is after turning, by orientation.
  const corners = [
    [0, 0],
    [1, 0],
    [1, 1],
    [0, 1],
    [0, 0],
    [1, 0],
    [1, 1],
    [0, 1],
  ];
  const marked: JpegPlan = {
    width: 48,
    height: 32,
    components: [{ id: 1, h: 1, v: 1, level: (x, y) => (x + y === 0 ? 250 : 20) }],
  };
  for (let orientation = 1; orientation <= 8; orientation++) {
    const {
      data = new Uint8Array(),
      width = 0,
      height = 0,
    } = await outcomeOf(jpegPicture({ ...marked, segments: [exif(orientation)] }));
    const bright = corners.map(([x, y]) => data[(y * (height - 1) * width + x * (width - 1)) * 3] > 200);
    t.strictSame(
      bright,
      corners.map((corner) => String(corner) === String(corners[orientation - 1])),
      `orientation ${orientation}`,
    );
  }
  t.comment("I18: 8 orientations, the marked corner in its place each time");
});

t.test("I19 colour profiles of 20 MB, malformed ones and those of other spaces change no pixel", async (t) => {
  const part = (i: number, of: number, body: Uint8Array) =>
    segment(0xe2, Buffer.from("ICC_PROFILE\0", "latin1"), [i, of], body);
  const profile = (space: string) => {
    const bytes = Buffer.alloc(200);
    bytes.writeUInt32BE(200, 0);
    bytes.write(space, 16, "latin1");
    bytes.write("acsp", 36, "latin1");
    return bytes;
  };
  const long = Array.from({ length: 255 }, (_, i) => part(i + 1, 255, Buffer.alloc(65_000, i)));
  const profiles: Record<string, Buffer[]> = {
    none: [],
    "16 MB, all that fits": long,
    malformed: [part(1, 1, Buffer.alloc(500, 0xee))],
    "of no bytes": [part(1, 1, new Uint8Array())],
    "its parts out of order": [part(3, 2, profile("RGB ")), part(0, 0, profile("RGB "))],
    CMYK: [part(1, 1, profile("CMYK"))],
    Lab: [part(1, 1, profile("Lab "))],
    grey: [part(1, 1, profile("GRAY"))],
  };
  const cases = Object.entries(profiles).map(
    ([name, segments]): Case => [name, jpegPicture({ ...plan, segments }), size],
  );
  const outcomes = await expectOutcomes(t, "I19", cases);
  for (const outcome of outcomes) t.ok(samePixels(outcome, outcomes[0]));
});

t.test("I04 what stands behind a picture is not a second one", async (t) => {
  const tails: Record<string, Buffer> = {
    "a ZIP": Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(500, 7), Buffer.from("PK\x05\x06")]),
    HTML: Buffer.from("<html><script>alert(1)</script></html>"),
    "a JAR": Buffer.concat([Buffer.from("PK\x03\x04META-INF/"), Buffer.alloc(100)]),
    "an SVG": Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    "a larger JPEG (an MPO's second picture)": jpegPicture({ ...plan, width: 500 }),
    zeros: Buffer.alloc(5_000),
  };
  const make = sharp({ create: { width: 40, height: 20, channels: 3, background: "#369" } });
  let count = 0;
  for (const format of ["jpeg", "png", "gif", "webp", "tiff", "avif"] as const) {
    const bytes = await make.clone().toFormat(format).toBuffer();
    const plain = await outcomeOf(bytes);
    t.equal(plain.what, "40×20", format);
    for (const [name, tail] of Object.entries(tails)) {
      count++;
      t.ok(samePixels(await outcomeOf(Buffer.concat([bytes, tail])), plain), `${format} and ${name}`);
    }
  }
  const inside = jpegPicture({
    ...plan,
    segments: [segment(0xfe, Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><!--'))],
  });
  t.ok(samePixels(await outcomeOf(inside), await outcomeOf(jpegPicture(plan))), "SVG in a comment of a JPEG");
  t.comment(`I04: ${count + 1} files that are two at once, each decoded as its first bytes say`);
});
