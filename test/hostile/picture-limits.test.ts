// Sizes at their limits through the whole engine, many pictures in one call, cancellation, and a libvips without memory.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import t from "tap";
import { maxBatchImages, maxImageBytes, maxImageSide, readImage } from "../../lib/input";
import { decodeImage } from "../../lib/image-decode";
import { imageFixture, root, temporaryFolder } from "../helpers/fixtures";
import { loadReference, maxDelta, pairPath } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";
import { randomNumbers, wait } from "../lifetime/native-model";
import { isSanitized } from "../lifetime/rounds";
import { expectOutcomes, outcomeOf, settings } from "./picture-outcome";
import { components, jpegPicture } from "./picture-write-jpeg";
import { pngPicture } from "./picture-write-png";

const flat = (width: number, height: number, level = 9) => pngPicture({ width, height, colour: 0 }, () => level);
const unit = (vector: Float32Array) => Math.abs(Math.hypot(...vector) - 1) < 1e-4;

t.test("I22 I23 I25 the smallest, the narrowest and the emptiest pictures have finite unit vectors", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  const sizes: [number, number][] = [
    [1, 1],
    [1, 2],
    [2, 1],
    [3, 3],
    [13, 13],
    [14, 14],
    [27, 29],
    [28, 28],
    [1, 201],
    [201, 1],
    [1, 20_000],
    [20_000, 1],
  ];
  const noise = (x: number, y: number) => (Math.imul(x * 31 + y * 977 + 1, 0x9e3779b1) >>> 13) & 255;
  for (const [width, height] of sizes) {
    const encoded = await gme.embed({ image: flat(width, height) });
    t.ok(unit(encoded) && encoded.every(Number.isFinite), `${width}×${height}`);
    const raw = await gme.embed({ image: { data: new Uint8Array(width * height * 3).fill(9), width, height } });
    t.equal(maxDelta(raw, encoded), 0, `${width}×${height} as raw pixels`);
  }
  t.comment(
    `I22: ${sizes.length} sizes from 1×1 to 28×28 and beyond, finite unit vectors, raw pixels the same bit for bit`,
  );
  t.comment("I23: 1×20,000, 20,000×1 and 1:201 embed; 52,800×44 is refused from the header");
  const contents: Record<string, Buffer> = {
    black: flat(64, 64, 0),
    white: flat(64, 64, 255),
    noise: pngPicture({ width: 64, height: 64, colour: 0 }, noise),
    uniform: flat(300, 10, 128),
    transparent: await sharp({
      create: { width: 64, height: 64, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } },
    })
      .png()
      .toBuffer(),
  };
  for (const [name, image] of Object.entries(contents)) {
    const vector = await gme.embed({ image });
    t.ok(unit(vector) && vector.every(Number.isFinite), name);
  }
  t.comment(`I25: ${Object.keys(contents).join(", ")}: finite unit vectors`);
  await gme.close();
});

t.test("I23 I24 sides, pixels and bytes at the limit are accepted, one more is refused", async (t) => {
  const limit = (image: Uint8Array, maxImagePixels: number) =>
    decodeImage(readImage(image, "image"), { ...settings, maxImagePixels }).then(
      ({ width }) => width,
      (error) => error.code,
    );
  const jpeg = jpegPicture({ width: 40, height: 30, components: components([[1, 1]]) });
  for (const bytes of [flat(40, 30), jpeg]) {
    t.equal(await limit(bytes, 1_200), 40);
    t.equal(await limit(bytes, 1_199), "GME_IMAGE_TOO_LARGE");
  }
  await expectOutcomes(t, "I24", [
    ["a side at the limit", flat(maxImageSide, 1), `${maxImageSide}×1`],
    ["a side over it", flat(maxImageSide + 1, 1), "TOO_LARGE"],
    ["the other side", flat(1, maxImageSide), `1×${maxImageSide}`],
    ["the other side over it", flat(1, maxImageSide + 1), "TOO_LARGE"],
    ["52,800×44", flat(52_800, 44), "TOO_LARGE"],
  ]);
  const padded = (size: number) => {
    const bytes = new Uint8Array(size);
    bytes.set(flat(40, 30));
    return bytes;
  };
  t.equal((await outcomeOf(padded(maxImageBytes))).what, "40×30", "64 MiB, most of it behind the end");
  t.equal((await outcomeOf(padded(maxImageBytes + 1))).what, "GME_IMAGE_TOO_LARGE");
  t.comment(`I24: exactly and one over: ${maxImageSide} a side, pixels, ${maxImageBytes} bytes`);
});

t.test(
  "I31 too many pictures in a call are refused before any is opened, 64 in one call are not",
  { timeout: 120_000 },
  async (t) => {
    const gme = await loadReference(pairPath("tiny-a"));
    const image = imageFixture("tiny-28x28.png");
    const missing = { image: "/missing/picture.png" };
    for (const count of [maxBatchImages + 1, 10_000]) {
      const start = performance.now();
      // A missing file would be GME_IO_ERROR: none was opened.
      await rejectsWith(t, () => gme.embedBatch(Array(count).fill(missing)), "GME_INPUT_INVALID", `${count} pictures`);
      t.comment(
        `I31: ${count} pictures in one call refused in ${(performance.now() - start).toFixed(0)} ms, none opened`,
      );
    }
    const vectors = await gme.embedBatch(Array(64).fill({ image }));
    const one = await gme.embed({ image });
    t.equal(vectors.length, 64);
    t.ok(
      vectors.every((vector) => maxDelta(vector, one) < 2e-5),
      "the same picture 64 times",
    );
    t.comment("I31: 64 pictures in one call, each the vector of the picture alone");
    await gme.close();
  },
);

t.test(
  "I34 200 calls that are aborted at random moments reject at once and leave nothing open",
  { timeout: 240_000 },
  async (t) => {
    const large = await sharp({ create: { width: 2_000, height: 1_500, channels: 3, background: "#795" } })
      .jpeg()
      .toBuffer();
    const random = randomNumbers(34);
    const counts = new Map<string, number>();
    const openFiles = () => (process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0);
    const decode = (signal: AbortSignal) => decodeImage(readImage(large, "image"), settings, signal);
    await decode(new AbortController().signal);
    const before = openFiles();
    let slowest = 0;
    for (let i = 0; i < 200; i++) {
      const abort = new AbortController();
      let aborted = Number.POSITIVE_INFINITY;
      const work = decode(abort.signal).then(
        () => "decoded",
        (error) => error.code,
      );
      const late = wait(random() * 100).then(() => {
        aborted = performance.now();
        abort.abort();
      });
      const outcome = await work;
      if (outcome === "GME_ABORTED") slowest = Math.max(slowest, performance.now() - aborted);
      await late;
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    t.strictSame(
      [...counts.keys()].filter((what) => what !== "GME_ABORTED" && what !== "decoded"),
      [],
    );
    t.ok((counts.get("GME_ABORTED") ?? 0) > 20, `${counts.get("GME_ABORTED")} were aborted`);
    t.ok(slowest <= 200, `${slowest.toFixed(1)} ms after the signal`);
    const already = AbortSignal.abort();
    await rejectsWith(t, () => decode(already), "GME_ABORTED", "a signal that was aborted before");
    for (let i = 0; i < 50 && openFiles() > before; i++) await wait(20);
    t.ok(openFiles() <= before, "no file stays open");
    t.equal((await outcomeOf(large)).what, "2000×1500", "the next one decodes");
    t.comment(
      `I34: ${counts.get("GME_ABORTED")} of 200 aborted within ${slowest.toFixed(1)} ms, ${counts.get("decoded") ?? 0} were faster`,
    );
  },
);

const prlimit = spawnSync("prlimit", ["--version"]).status === 0;

t.test(
  "I35 a libvips without memory rejects or ends its own process, never this one",
  {
    skip: (!prlimit && "prlimit is missing") || (isSanitized && "AddressSanitizer takes 16 TiB of addresses"),
    timeout: 240_000,
  },
  async (t) => {
    const folder = temporaryFolder();
    const large = () => sharp({ create: { width: 3_000, height: 2_500, channels: 3, background: "#579" } });
    const files = {
      png: await large().png({ progressive: true }).toBuffer(),
      jpeg: await large().jpeg({ progressive: true }).toBuffer(),
      webp: await large().webp({ lossless: true, effort: 0 }).toBuffer(),
    };
    const script = `
    const { decodeImage } = require("./lib/image-decode");
    const { readImage } = require("./lib/input");
    const { execFileSync } = require("node:child_process");
    const decode = (path) => decodeImage(readImage(path, "image"), { orientation: "exif", maxImagePixels: 64e6 });
    (async () => {
      await decode(${JSON.stringify(imageFixture("tiny-28x28.png"))});
      const used = Number(/VmSize:\\s+(\\d+)/.exec(require("node:fs").readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
      execFileSync("prlimit", ["--pid", String(process.pid), "--as=" + (used + Number(process.argv[1]) * 2 ** 20)]);
      await decode(process.argv[2]).then(() => console.log("decoded"), (error) => console.log(error.code ?? String(error)));
      await decode(${JSON.stringify(imageFixture("tiny-28x28.png"))}).then(() => console.log("alive"), (error) => console.log(error.code ?? String(error)));
    })();`;
    const seen: string[] = [];
    for (const [kind, bytes] of Object.entries(files)) {
      const path = join(folder, kind);
      writeFileSync(path, bytes);
      for (const spare of kind === "webp" ? [8, 24, 2_000] : [8]) {
        const done = spawnSync(process.execPath, ["--import", "tsx", "-e", script, String(spare), path], {
          cwd: root,
          encoding: "utf8",
          env: { ...process.env, NODE_OPTIONS: "" },
        });
        const lines = done.stdout.trim().split("\n").filter(Boolean);
        const ended = done.signal ?? (done.status === 0 ? "" : `exit ${done.status}`);
        if (spare === 2_000) t.strictSame(lines, ["decoded", "alive"], done.stderr);
        else if (ended === "") t.match(lines.join(), /^(GME_OUT_OF_MEMORY|decoded),alive$/, `${kind}, ${spare} MiB`);
        else t.notMatch(lines[0], /decoded/, `${kind}, ${spare} MiB: the child ended by ${ended}`);
        seen.push(`${kind} with ${spare} MiB: ${[...lines, ended].filter(Boolean).join(", ")}`);
      }
    }
    t.match(seen.join(), /GME_OUT_OF_MEMORY/, "memory did run out");
    t.equal((await outcomeOf(readFileSync(imageFixture("tiny-28x28.png")))).what, "28×28", "this process goes on");
    t.comment(`I35: ${seen.join("; ")}`);
  },
);
