// Pictures on their way to an engine's process: the memory that both share, and what comes of it through isolated calls.
import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import t, { type Test } from "tap";
import { type GmeInput, load } from "../../lib";
import { type CallRequest, placePictures, type SentBytes, type WireInput } from "../../lib/isolated/call-request";
import { PictureMemory, PictureReader, type Region } from "../../lib/isolated/picture-memory";
import { root } from "../helpers/fixtures";
import { model as file, samplePaths } from "./engine-setup";

const mebibyte = 2 ** 20;
const isLinux = process.platform === "linux";
const pattern = (length: number, seed: number) => Buffer.alloc(length, Buffer.from([seed, seed * 7, 1, seed + 3, 250]));

function openMemory(t: Test): PictureMemory {
  const memory = PictureMemory.open();
  if (memory === undefined) throw new Error("no shared memory here");
  t.teardown(() => memory.close());
  return memory;
}

function put(memory: PictureMemory, bytes: Uint8Array): Region {
  const region = memory.put(bytes);
  if (region === undefined) throw new Error("no room");
  return region;
}

t.test("what is put is read, side by side, and freed room is used again", { skip: !isLinux }, async (t) => {
  const memory = openMemory(t);
  const reader = new PictureReader(memory.fd);
  const pictures = [1, 70_000, 4096, 3 * mebibyte + 5].map(pattern);
  const regions = pictures.map((bytes) => put(memory, bytes));
  regions.forEach((region, i) => {
    t.ok(i === 0 || region.at >= regions[i - 1].at + regions[i - 1].length, "beside the one before");
    t.equal(region.at % 4096, 0);
    t.ok(pictures[i].equals(reader.read(region)));
  });
  memory.free(regions[1]);
  const again = put(memory, pattern(60_000, 9));
  t.equal(again.at, regions[1].at, "the first gap that is large enough");
  t.equal(put(memory, pattern(60_000, 9)).at > regions[3].at, true, "no gap: behind the last");
  t.ok(pictures[2].equals(reader.read(regions[2])), "the neighbour is untouched");
});

t.test("where there is no room, nothing is put", { skip: !isLinux }, async (t) => {
  const memory = openMemory(t);
  const half = Buffer.alloc(128 * mebibyte, 3);
  const first = put(memory, half);
  put(memory, half);
  t.equal(memory.put(Buffer.alloc(1)), undefined, "256 MiB are the most");
  memory.free(first);
  t.ok(memory.put(Buffer.alloc(1)));
});

t.test("a closed memory takes nothing: its descriptor may be another file's", { skip: !isLinux }, async (t) => {
  const memory = PictureMemory.open() as PictureMemory;
  const region = put(memory, pattern(100, 1));
  memory.close();
  t.equal(memory.put(pattern(100, 1)), undefined);
  memory.free(region);
});

t.test("the memory has no name, and a memory that was cut is an error", { skip: !isLinux }, async (t) => {
  const memory = openMemory(t);
  t.match(readlinkSync(`/proc/self/fd/${memory.fd}`), /^\/dev\/shm\/.* \(deleted\)$/);
  const region = put(memory, pattern(100, 1));
  const reader = new PictureReader(memory.fd);
  t.throws(() => reader.read({ at: region.at, length: 101 }), /ends at 100 instead of 101/);
});

t.test("a reader's buffers are used again, up to a limit", { skip: !isLinux }, async (t) => {
  const memory = openMemory(t);
  const reader = new PictureReader(memory.fd);
  const [large, small] = [put(memory, pattern(200_000, 4)), put(memory, pattern(100_000, 5))];
  const first = reader.read(large);
  reader.recycle(first);
  const second = reader.read(small);
  t.equal(second.buffer, first.buffer, "the same buffer");
  t.ok(pattern(100_000, 5).equals(second), "only as long as the picture");
  t.not(reader.read(small).buffer, second.buffer, "in use until it is given back");
  const huge = new Uint8Array(49 * mebibyte);
  reader.recycle(huge);
  t.not(reader.read(small).buffer, huge.buffer, "too large to be kept");
});

t.test("large pictures of a request are placed, all else stays in the message", { skip: !isLinux }, async (t) => {
  const memory = openMemory(t);
  const [small, large] = [pattern(9, 1), pattern(100_000, 2)];
  const inputs: WireInput[] = [
    { text: "a" },
    { image: { kind: "path", path: "a.png" } },
    { image: { kind: "bytes", bytes: small, name: "<buffer>" } },
    { text: "b", image: { kind: "bytes", bytes: large, name: "<buffer>" } },
    { image: { kind: "pixels", data: large, width: 1, height: 1 } },
  ];
  const request = { method: "embedBatch", inputs, options: {} } as unknown as CallRequest;
  const { sent, regions } = placePictures(request, memory);
  const placed = (sent as CallRequest<SentBytes> & { inputs: WireInput<SentBytes>[] }).inputs;
  t.strictSame(placed.slice(0, 3), inputs.slice(0, 3));
  t.strictSame(placed[3], { text: "b", image: { kind: "bytes", bytes: regions[0], name: "<buffer>" } });
  t.strictSame(placed[4].image, { kind: "pixels", data: regions[1], width: 1, height: 1 });
  t.equal(regions.length, 2);
  t.strictSame(placePictures(request, undefined), { sent: request, regions: [] }, "without such memory");
});

/** A picture with bytes behind its end, which no decoder reads: as heavy as a camera's. */
function heavyPictures(count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => {
    const bytes = readFileSync(samplePaths[i % samplePaths.length]);
    return Buffer.concat([bytes, pattern(300_000 + i * 70_000, i)]);
  });
}

t.test("calls with large pictures, many at once, get the vectors of their own", async (t) => {
  const here = await load(file, { threads: 1 });
  const there = await load(file, { threads: 1, isolate: true });
  t.teardown(() => Promise.all([here.close(), there.close()]));
  const raw = (seed: number) => ({ data: pattern(200 * 150 * 3, seed), width: 200, height: 150 });
  const inputs: GmeInput[] = heavyPictures(12).flatMap((image, i) => [{ image }, { text: `${i}`, image: raw(i) }]);
  const expected = await Promise.all(inputs.map((input) => here.embed(input)));
  for (let round = 0; round < 3; round++) {
    t.strictSame(await Promise.all(inputs.map((input) => there.embed(input))), expected, `one by one, round ${round}`);
  }
  const batched = await there.embedBatch(inputs);
  t.strictSame(batched, await here.embedBatch(inputs), "in one call");
  const aborted = inputs.map((input, i) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), i * 3);
    return there.embed(input, { signal: controller.signal }).catch(({ code }) => code);
  });
  for (const outcome of await Promise.all(aborted)) {
    t.ok(outcome === "GME_ABORTED" || expected.some((vector) => vector.every((value, k) => value === outcome[k])));
  }
  t.strictSame(await Promise.all(inputs.map((input) => there.embed(input))), expected, "after aborts");
});

t.test("more than the shared memory holds goes with the message", async (t) => {
  const model = await load(file, { threads: 1, isolate: true });
  t.teardown(() => model.close());
  const image = Buffer.concat([readFileSync(samplePaths[0]), Buffer.alloc(60 * mebibyte)]);
  const [first, ...others] = await model.embedBatch(Array(5).fill({ image }));
  for (const vector of others) t.strictSame(vector, first);
});

const canHide = isLinux && spawnSync("unshare", ["--mount", "true"]).status === 0;

t.test("without /dev/shm pictures go with the message", { skip: !canHide }, async (t) => {
  const script = `
    const { load } = require("./lib");
    const { PictureMemory } = require("./lib/isolated/picture-memory");
    const { readFileSync } = require("node:fs");
    (async () => {
      if (PictureMemory.open() !== undefined) throw new Error("there is shared memory");
      const image = Buffer.concat([readFileSync(${JSON.stringify(samplePaths[0])}), Buffer.alloc(200_000)]);
      const vectors = [];
      for (const isolate of [false, true]) {
        const model = await load(${JSON.stringify(file)}, { threads: 1, isolate });
        vectors.push(Buffer.from((await model.embed({ image })).buffer).toString("hex"));
        await model.close();
      }
      process.stdout.write(String(vectors[0].length > 0 && vectors[0] === vectors[1]));
    })();
  `;
  const inNode = [process.execPath, "--require", "tsx/cjs", "-e", script];
  const hidden = `mount -t tmpfs -o ro none /dev/shm && exec "$@"`;
  const output = execFileSync("unshare", ["--mount", "sh", "-c", hidden, "sh", ...inNode], {
    cwd: root,
    encoding: "utf8",
  });
  t.equal(output, "true");
});
