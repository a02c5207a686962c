// What is no picture at all, paths that are no files, and buffers that change: refused or copied before any decoder sees them.
import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import t, { type Test } from "tap";
import { decodeImage } from "../../lib/image-decode";
import { sniffImage } from "../../lib/image-sniff";
import { type ImageSource, maxImageBytes, readImage } from "../../lib/input";
import { imageFixture, root, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { openCanary } from "./picture-canary";
import { type Case, expectOutcomes, outcomeOf, samePixels } from "./picture-outcome";
import { box, u32 } from "./picture-write-boxes";
import { pngPicture } from "./picture-write-png";

const folder = temporaryFolder();
const picture = pngPicture({ width: 9, height: 7 }, (x, y, channel) => (x * 20 + y * 3 + channel) & 255);
const padded = (start: string | Buffer, length = 200) =>
  Buffer.concat([Buffer.from(start as string, "latin1"), Buffer.alloc(length, 0x20)]);

t.test("I01 nothing, a byte and the bare magic of each format are refused as truncated", async (t) => {
  const magics: Record<string, Buffer> = {
    JPEG: Buffer.from([0xff, 0xd8, 0xff]),
    PNG: Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    WebP: Buffer.concat([Buffer.from("RIFF"), u32(0x04000000), Buffer.from("WEBP")]),
    GIF87a: Buffer.from("GIF87a"),
    GIF89a: Buffer.from("GIF89a"),
    "TIFF of Intel": Buffer.from("II*\0"),
    "TIFF of Motorola": Buffer.from("MM\0*"),
    "Big TIFF": Buffer.from("II+\0"),
    AVIF: box("ftyp", Buffer.from("avif"), u32(0)),
  };
  const cases = Object.entries(magics).flatMap(([name, magic]): Case[] =>
    [1, magic.length - 1, magic.length].map((length) => [
      `${length} bytes of ${name}`,
      magic.subarray(0, length),
      name === "AVIF" && length < 8 ? "TRUNCATED|FORMAT" : "TRUNCATED",
    ]),
  );
  await expectOutcomes(t, "I01", cases, 1_000);
  for (const empty of [new Uint8Array(), Buffer.alloc(0), new Uint8Array(new ArrayBuffer(8), 8)])
    await rejectsWith(t, () => readImage(empty, "image"), "GME_IMAGE_TRUNCATED", "refused at the door, before sharp");
});

const svg =
  '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="HREF" width="9" height="9"/></svg>';

t.test("I02 I05 what is none of the six formats is refused with their names", async (t) => {
  const ftyp = (brand: string, ...more: string[]) =>
    Buffer.concat([box("ftyp", Buffer.from(brand), u32(0), Buffer.from(more.join(""))), Buffer.alloc(200)]);
  const others: Record<string, Buffer> = {
    text: padded("hello"),
    HTML: padded("<!doctype html><title>x</title>"),
    JSON: padded('{"image": "data:image/png;base64,"}'),
    GGUF: padded("GGUF\x03\0\0\0"),
    ZIP: padded("PK\x03\x04"),
    ELF: padded("\x7fELF\x02\x01\x01"),
    SVG: padded(svg),
    PDF: padded("%PDF-1.7\n"),
    HEIC: ftyp("heic", "mif1", "heic"),
    "HEIC sequence": ftyp("hevc", "msf1"),
    HEIF: ftyp("mif1", "mif1", "heic"),
    MP4: ftyp("isom", "isom", "mp42"),
    CR3: ftyp("crx ", "crx ", "isom"),
    JXL: padded("\xff\x0a"),
    "JXL in boxes": padded(Buffer.concat([u32(12), Buffer.from("JXL \r\n\x87\n", "latin1")])),
    JP2: padded(Buffer.concat([u32(12), Buffer.from("jP  \r\n\x87\n", "latin1")])),
    "JPEG 2000 stream": padded("\xff\x4f\xff\x51"),
    "JPEG-LS": padded(Buffer.from("ffd8fff7000b08001000100101110000", "hex")),
    ICO: padded("\0\0\x01\0\x01\0\x10\x10"),
    CUR: padded("\0\0\x02\0\x01\0\x10\x10"),
    PSD: padded("8BPS\0\x01"),
    BMP: padded("BM\x36\0\0\0\0\0\0\0\x36\0"),
    TGA: padded("\0\0\x02\0\0\0\0\0\0\0\0\0\x09\0\x09\0\x18\0"),
    HDR: padded("#?RADIANCE\n"),
    PNM: padded("P6\n2 2\n255\n"),
    PFM: padded("PF\n2 2\n-1.0\n"),
    DICOM: padded(`${"\0".repeat(128)}DICM`),
    FITS: padded("SIMPLE  =                    T"),
    EXR: padded("\x76\x2f\x31\x01"),
    DDS: padded("DDS \x7c\0\0\0"),
    QOI: padded("qoif\0\0\0\x09\0\0\0\x09"),
    CR2: padded("II*\0\x10\0\0\0CR\x02\0"),
    RAF: padded("FUJIFILMCCD-RAW "),
    ORF: padded("IIRO\x08\0\0\0"),
    RW2: padded("IIU\0\x08\0\0\0"),
    WAV: padded("RIFF\x24\0\0\0WAVEfmt "),
    MNG: padded("\x8aMNG\r\n\x1a\n"),
    "a libvips picture": padded(Buffer.from([0x08, 0xf2, 0xa6, 0xb6])),
    Matlab: padded("MATLAB 5.0 MAT-file"),
    Analyze: padded(u32(348)),
  };
  const cases = Object.entries(others).map(([name, bytes]): Case => [name, bytes, "FORMAT"]);
  await expectOutcomes(t, "I05", cases, 1_000);
  for (const [name, bytes] of Object.entries(others).slice(0, 20)) {
    const error = await rejectsWith(t, async () => sniffImage(Uint8Array.from(bytes), name), "GME_IMAGE_FORMAT", name);
    t.match(error.expected, name === "JPEG-LS" ? /JPEG of 8 bits/ : /JPEG, PNG, WebP, GIF, TIFF or AVIF/);
  }
  t.comment(`I02: ${cases.length} files of other kinds, refused by the first bytes`);
});

t.test("I02 sharp is not even loaded for what is no picture", async (t) => {
  const script = `
    const { decodeImage } = require("./lib/image-decode");
    const { readImage } = require("./lib/input");
    const settings = { orientation: "exif", maxImagePixels: 64e6 };
    const [files, open] = [[], process.dlopen];
    process.dlopen = (module, file, ...more) => (files.push(file), open.call(process, module, file, ...more));
    const loaded = () => files.some((file) => /sharp/.test(file));
    (async () => {
      const bad = ["hello, a text", ${JSON.stringify(svg)}, "%PDF-1.7 and more", "GIF89a", "PK\\u0003\\u0004 and more of it"];
      for (const text of bad) await decodeImage(readImage(Buffer.from(text), "image"), settings).catch((e) => console.log(e.code));
      console.log(loaded());
      await decodeImage(readImage(process.argv[1], "image"), settings);
      console.log(loaded());
    })();`;
  const done = spawnSync(process.execPath, ["--import", "tsx", "-e", script, imageFixture("one-pixel.png")], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const lines = done.stdout.trim().split("\n");
  t.strictSame(lines.slice(-2), ["false", "true"], done.stderr);
  t.equal(lines.filter((line) => /^GME_IMAGE_(FORMAT|TRUNCATED)$/.test(line)).length, 5);
  t.comment("I02: 5 files refused, sharp loaded by the first picture only");
});

t.test("I06 SVG in every wrapping is refused, and nothing is fetched", async (t) => {
  const canary = await openCanary();
  const { address } = canary;
  const entity = `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "${address}">]>`;
  const text = svg.replace("HREF", address);
  const wrapped: Record<string, Buffer> = {
    plain: Buffer.from(text),
    "a byte order mark": Buffer.from(`\ufeff${text}`),
    "UTF-16": Buffer.from(`\ufeff${text}`, "utf16le"),
    "a comment first": Buffer.from(`<!-- ${"x".repeat(900)} -->${text}`),
    "an XML head": Buffer.from(`<?xml version="1.0"?>${text}`),
    "an external entity": Buffer.from(`${entity}${text}`),
    "a file": Buffer.from(svg.replace("HREF", "file:///etc/passwd")),
    "blanks first": Buffer.from(`\n\n   ${text}`),
    gzip: gzipSync(text),
    "gzip with a comment": gzipSync(`<!-- x -->${text}`),
    "a style sheet": Buffer.from(`<?xml-stylesheet href="${address}"?>${text}`),
  };
  const cases = Object.entries(wrapped).map(([name, bytes]): Case => [name, bytes, "FORMAT"]);
  await expectOutcomes(t, "I06", cases, 1_000);
  for (const [name, bytes] of Object.entries(wrapped))
    await rejectsWith(
      t,
      async () =>
        decodeImage(readImage(`data:image/svg+xml;base64,${bytes.toString("base64")}`, "image"), {
          orientation: "exif",
          maxImagePixels: 64e6,
        }),
      "GME_IMAGE_FORMAT",
      `I30 ${name} as data: URL`,
    );
  t.strictSame(await canary.end(), [], "the canary was not called");
  t.comment(`I06: ${cases.length * 2} tries, 0 requests at the canary`);
});

t.test("I03 neither name nor label counts", async (t) => {
  const plain = await outcomeOf(picture);
  for (const name of ["picture.jpg", "picture.svg", "picture.pdf", "picture"]) {
    writeFileSync(join(folder, name), picture);
    t.ok(samePixels(await outcomeOf(join(folder, name)), plain), name);
  }
  for (const label of ["image/svg+xml", "text/html", "", "application/pdf", "image/jpeg;charset=utf-8"])
    t.ok(samePixels(await outcomeOf(`data:${label};base64,${picture.toString("base64")}`), plain), label);
  t.comment("I03: a PNG under 4 names and 5 labels, the same pixels each time");
});

t.test(
  "I33 what is no regular file is refused at once",
  { skip: process.platform === "win32" && "FIFOs and devices of POSIX" },
  async (t) => {
    const at = (name: string) => join(folder, name);
    mkdirSync(at("directory"));
    execFileSync("mkfifo", [at("fifo")]);
    writeFileSync(at("empty"), "");
    writeFileSync(at("large"), "");
    truncateSync(at("large"), maxImageBytes + 1);
    const expected: [string, string][] = [
      [at("missing"), "GME_IO_ERROR"],
      [at("directory"), "GME_IO_ERROR"],
      [at("fifo"), "GME_IO_ERROR"],
      ["/dev/zero", "GME_IO_ERROR"],
      ["/dev/full", "GME_IO_ERROR"],
      [`${at("picture")}/below`, "GME_IO_ERROR"],
      [`/${"x".repeat(5_000)}`, "GME_IO_ERROR"],
      [at("empty"), "GME_IMAGE_TRUNCATED"],
      [at("large"), "GME_IMAGE_TOO_LARGE"],
    ];
    let slowest = 0;
    for (const [path, code] of expected) {
      let least = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 4; i++) {
        const outcome = await outcomeOf(path);
        t.equal(outcome.what, code, path.slice(0, 60));
        least = Math.min(least, outcome.milliseconds);
      }
      slowest = Math.max(slowest, least);
    }
    t.ok(slowest <= 100, `${slowest.toFixed(1)} ms`);
    t.comment(`I33: ${expected.length} paths refused, the slowest in ${slowest.toFixed(1)} ms`);
  },
);

t.test("I33 a file that vanishes or grows meanwhile gives its picture or an error, never a part", async (t) => {
  const path = join(folder, "changing.png");
  const plain = await outcomeOf(picture);
  const seen = new Map<string, number>();
  for (let i = 0; i < 60; i++) {
    writeFileSync(path, picture);
    const work = outcomeOf(path);
    if (i % 3 === 0) setImmediate(() => rmSync(path, { force: true }));
    else if (i % 3 === 1) setImmediate(() => appendFileSync(path, "more and more"));
    else setImmediate(() => truncateSync(path, 40));
    const outcome = await work;
    if (outcome.data !== undefined) t.ok(samePixels(outcome, plain));
    else t.match(outcome.what, /^GME_(IO_ERROR|IMAGE_TRUNCATED|CHANGED_WHILE_OPEN)$/);
    seen.set(outcome.what, (seen.get(outcome.what) ?? 0) + 1);
  }
  t.comment(`I33: 60 changing files: ${[...seen].map(([what, count]) => `${count} ${what}`).join(", ")}`);
});

/** The picture's bytes in memory of its own kind. */
function placed(buffer: ArrayBufferLike, offset = 0): Uint8Array {
  const bytes = new Uint8Array(buffer, offset, picture.length);
  bytes.set(picture);
  return bytes;
}

t.test("I28 shared, resizable and detached memory: what was there at the call is decoded", async (t) => {
  const plain = await outcomeOf(picture);
  const same = async (t: Test, bytes: Uint8Array, change: () => void, name: string) => {
    const work = outcomeOf(bytes);
    change();
    t.ok(samePixels(await work, plain), name);
  };
  for (let i = 0; i < 20; i++) {
    const own = placed(new ArrayBuffer(picture.length));
    await same(t, own, () => own.fill(i), "overwritten");
    const shared = placed(new SharedArrayBuffer(picture.length));
    await same(t, shared, () => shared.fill(i), "shared and overwritten");
    const Resizable = ArrayBuffer as unknown as new (
      size: number,
      options: object,
    ) => ArrayBuffer & { resize(size: number): void };
    const growing = new Resizable(picture.length, { maxByteLength: picture.length * 2 });
    await same(t, placed(growing), () => growing.resize(i), "resizable and cut");
    const moving = placed(new ArrayBuffer(picture.length));
    await same(
      t,
      moving,
      () => structuredClone(moving.buffer, { transfer: [moving.buffer as ArrayBuffer] }),
      "detached after the call",
    );
    const gone = placed(new ArrayBuffer(picture.length));
    structuredClone(gone.buffer, { transfer: [gone.buffer as ArrayBuffer] });
    t.equal((await outcomeOf(gone)).what, "GME_IMAGE_TRUNCATED", "detached before");
  }
  t.comment("I28: 100 buffers changed while their pictures decode, 80 snapshots, 20 refused as empty");
});

t.test("I29 views into larger memory and of other types give their bytes", async (t) => {
  const plain = await outcomeOf(picture);
  const large = new ArrayBuffer(picture.length + 64);
  const even = new ArrayBuffer(picture.length + (picture.length % 2) + 8);
  new Uint8Array(even).set(picture, 8);
  const views: Record<string, ArrayBufferView> = {
    "an offset": placed(large, 13),
    "a pooled Buffer": Buffer.from(picture),
    "a Buffer's part": Buffer.concat([Buffer.alloc(7), picture, Buffer.alloc(7)]).subarray(7, 7 + picture.length),
    DataView: new DataView(placed(new ArrayBuffer(picture.length + 9), 5).buffer, 5, picture.length),
    Uint16Array: new Uint16Array(even, 8),
    Int8Array: new Int8Array(Uint8Array.from(picture).buffer),
    Uint8ClampedArray: Uint8ClampedArray.from(picture),
  };
  for (const [name, view] of Object.entries(views)) t.ok(samePixels(await outcomeOf(view as Uint8Array), plain), name);
  t.comment(`I29: ${Object.keys(views).length} kinds of views, the same pixels each time`);
});

t.test("I30 base64 that is not strict is refused, and 100 MB of it before it is decoded", async (t) => {
  const text = picture.toString("base64");
  const bad: Record<string, string> = {
    "no comma": "data:image/png;base64",
    "not base64": `data:image/png,${text}`,
    "a blank within": `data:image/png;base64,${text.slice(0, 20)} ${text.slice(20)}`,
    "a percent sign": `data:image/png;base64,%69${text.slice(1)}`,
    "url-safe": `data:image/png;base64,-_${text.slice(2)}`,
    "one character less": `data:image/png;base64,${text.slice(0, -1)}`,
    "too much padding": `data:image/png;base64,${text}=`,
    "padding within": `data:image/png;base64,AA==${text}`,
    "no ASCII": `data:image/png;base64,${text.slice(0, -4)}ééé=`,
  };
  for (const [name, href] of Object.entries(bad)) t.equal((await outcomeOf(href)).what, "GME_INPUT_INVALID", name);
  t.equal((await outcomeOf("data:image/png;base64,")).what, "GME_IMAGE_TRUNCATED", "nothing");
  const start = process.memoryUsage().external;
  const long = `data:image/png;base64,${"A".repeat(100 * 1024 * 1024)}`;
  t.equal((await outcomeOf(long)).what, "GME_IMAGE_TOO_LARGE");
  const more = (process.memoryUsage().external - start) / 2 ** 20;
  t.ok(more < 16, `${more.toFixed(1)} MiB`);
  t.comment(
    `I30: ${Object.keys(bad).length + 2} refused; 100 MB of base64 decoded to ${Math.max(0, more).toFixed(1)} MiB`,
  );
});

t.test("I32 raw pixels whose numbers do not fit are refused before they are copied", async (t) => {
  const data = new Uint8Array(12);
  const sides = [-2, 0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 53, "2", null, 2n, undefined];
  const bad: [string, unknown][] = sides.flatMap((side): [string, unknown][] => [
    [`width ${side}`, { data, width: side, height: 2 }],
    [`height ${side}`, { data, width: 2, height: side }],
  ]);
  for (const channels of [0, 1, 2, 5, 2 ** 32, -3, "3", Number.NaN])
    bad.push([`channels ${channels}`, { data, width: 2, height: 2, channels }]);
  for (const length of [0, 1, 11, 13, 15, 17])
    bad.push([`${length} bytes`, { data: new Uint8Array(length), width: 2, height: 2 }]);
  // 65,536² × 3 and 2^31 × 2 wrap in 32 bits.
  for (const [width, height] of [
    [65_536, 65_536],
    [2 ** 31, 2],
    [32_768, 32_768],
  ])
    bad.push([`${width}×${height}`, { data, width, height }]);
  for (const other of [new Uint16Array(12), new Float32Array(12), Array(12).fill(0), "123456789012", null])
    bad.push([typeof other, { data: other, width: 2, height: 2 }]);
  const codes = new Map<string, number>();
  for (const [name, image] of bad) {
    const { what } = await outcomeOf(image as ImageSource);
    t.match(what, /^GME_(INPUT_INVALID|IMAGE_TOO_LARGE)$/, name);
    codes.set(what, (codes.get(what) ?? 0) + 1);
  }
  const gone = new Uint8Array(12);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  t.equal((await outcomeOf({ data: gone, width: 2, height: 2 })).what, "GME_INPUT_INVALID", "detached");
  t.comment(`I32: ${bad.length + 1} raw pictures: ${[...codes].map(([code, count]) => `${count} ${code}`).join(", ")}`);
});

t.test("I40 the tests themselves run on the sharp that the package pins", async (t) => {
  const { dependencies } = require("../../package.json") as { dependencies: Record<string, string> };
  t.equal((sharp.versions as { sharp?: string }).sharp, dependencies.sharp);
  t.comment(`I40: sharp ${dependencies.sharp}, libvips ${sharp.versions.vips}`);
});
