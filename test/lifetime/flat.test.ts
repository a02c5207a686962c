// Nothing grows with the number of calls: resident memory by the slope of a straight line, files, threads and mappings by their counts.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { bundledModelPath } from "../../lib/index";
import { runChild } from "./child";
import { childSetup, loadParams, modelFile, randomNumbers } from "./native-model";
import { isSanitized, quantile, rounds, slope } from "./rounds";

type Sample = [round: number, resident: number, files: number, threads: number, mappings: number];

interface Report {
  samples: Sample[];
  outcomes: Record<string, number>;
}

interface Work {
  id: string;
  how: string;
  count: number;
  /** KiB of resident memory per round. */
  limit: number;
  files?: string[];
  expect?: (outcomes: Record<string, number>, t: Test) => void;
}

const linux = process.platform === "linux";

/** What the allocator has not given back by chance does not grow again in twice as many rounds; a leak does. */
async function repeat(t: Test, work: Work): Promise<void> {
  let resident = await measure(t, work);
  if (resident > work.limit) resident = await measure(t, { ...work, count: 2 * work.count });
  t.ok(resident <= work.limit, `${resident.toFixed(2)} KiB per round, ${work.limit} allowed`);
}

/** KiB of resident memory per round; 0 under a sanitizer, which multiplies memory. */
async function measure(t: Test, { id, how, count, limit, files = [], expect }: Work): Promise<number> {
  const end = await runChild("repeat.cjs", [how, count], {
    setup: childSetup(0, { files }),
    flags: ["--expose-gc"],
    env: { MALLOC_ARENA_MAX: "2" },
    patience: 1_200_000,
  });
  t.match(end, { code: 0, signal: null }, end.output);
  const { samples, outcomes } = JSON.parse(end.output) as Report;
  if (expect) expect(outcomes, t);
  else t.same(outcomes, { fulfilled: count });
  if (isSanitized) return 0;
  const settled = samples.filter(([round]) => round >= Math.min(200, count / 4));
  const resident = steadySlope(settled.map(([round, kilobytes]) => [round, kilobytes]));
  const [first, last] = [settled[0], settled[settled.length - 1]] as [Sample, Sample];
  const grown = last[1] - first[1];
  t.ok(grown <= limit * count + 8192, `grown by ${grown} KiB in all`);
  const flat = (column: 2 | 3 | 4, name: string, spare: number) =>
    t.ok(last[column] <= first[column] + spare, `${name}: ${first[column]} early, ${last[column]} at the end`);
  flat(2, "open files", 0);
  flat(3, "threads", 0);
  flat(4, "mappings", Math.max(8, count / 100)); // those of V8's own heap come and go
  t.comment(
    `${id}: ${how} ×${count}: ${resident.toFixed(2)} KiB per round (limit ${limit}), resident ${Math.round(first[1] / 1024)} → ${Math.round(last[1] / 1024)} MiB, ` +
      `files ${first[2]} → ${last[2]}, threads ${first[3]} → ${last[3]}, mappings ${first[4]} → ${last[4]}`,
  );
  return resident;
}

t.test("L11 loading and closing 1,000 times leaves memory, files, threads and mappings flat", { skip: !linux }, (t) =>
  repeat(t, { id: "L11", how: "load-close", count: rounds(1000, 1000), limit: 4 }),
);

t.test("L11 the same with weights in memory of our own", { skip: !linux }, (t) =>
  repeat(t, { id: "L11", how: "load-close-owned", count: rounds(1000, 1000), limit: 4 }),
);

t.test("L12 a thousand failing loads of damaged files leave them flat", { skip: !linux }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "gme-lifetime-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const files = damagedFiles(folder);
  const count = rounds(1000, 1000);
  await repeat(t, {
    id: "L12",
    how: "load-failing",
    count,
    limit: 4,
    files,
    expect: (outcomes, t) => {
      const failed = Object.entries(outcomes).filter(([code]) => code.startsWith("GME_"));
      t.equal(
        failed.reduce((sum, [, times]) => sum + times, 0),
        count,
        `all fail with a code of ours: ${JSON.stringify(outcomes)}`,
      );
      t.ok(failed.length >= 4, "at different places");
      t.comment(`L12: ${files.length} damaged files: ${failed.map(([code, times]) => `${code} ${times}`).join(", ")}`);
    },
  });
});

t.test("L13 ten thousand texts leave memory flat", { skip: !linux }, (t) =>
  repeat(t, { id: "L13", how: "embed-texts", count: rounds(4000, 10_000), limit: 1 }),
);

t.test("L13 a thousand pictures of mixed sizes leave memory flat", { skip: !linux }, (t) =>
  repeat(t, { id: "L13", how: "embed-pictures", count: rounds(1000, 1000), limit: 1 }),
);

// V8 does not tell what it was told; it shows in when it collects. Without that number none of the models would be collected before
// JavaScript's own heap is full, after some hundreds.
t.test(
  "L13 models that nobody closes are collected before they fill memory, since V8 knows their size",
  { skip: !linux },
  async (t) => {
    const { mmproj: _, ...withoutTower } = loadParams;
    const end = await runChild("repeat.cjs", ["abandon", 60], {
      setup: childSetup(0, { model: bundledModelPath, loadParams: withoutTower }),
    });
    t.match(end, { code: 0, signal: null }, end.output);
    const { samples } = JSON.parse(end.output) as Report;
    const column = (at: 1 | 3) => samples.map((sample) => sample[at]);
    const most = Math.max(...column(3)) - Math.min(...column(3));
    t.ok(most < 40, `at most ${most} of 60 models at a time`);
    t.comment(
      `L13: 60 models of 7 MiB that nobody closes or collects: at most ${most} alive at a time, resident ${Math.round(Math.max(...column(1)) / 1024)} MiB at most`,
    );
  },
);

/**
 * The slope of a fifth of the points, the median of the five: V8 and the system take memory in steps of some MiB (a new space of its
 * heap, a huge page), which tilt one straight line through all points; what leaks grows in each fifth.
 */
function steadySlope(points: [number, number][]): number {
  const size = Math.floor(points.length / 5);
  const slopes = Array.from({ length: 5 }, (_, i) => slope(points.slice(i * size, (i + 1) * size)));
  return quantile(slopes, 0.5);
}

/** The good file cut, with counts, lengths and types replaced, and other things than a model. */
function damagedFiles(folder: string): string[] {
  const good = readFileSync(modelFile);
  const random = randomNumbers(12);
  const files = [join(folder, "missing.gguf"), folder, loadParams.mmproj as string];
  const write = (name: string, bytes: Buffer) => {
    files.push(join(folder, name));
    writeFileSync(join(folder, name), bytes);
  };
  for (let i = 0; i < 40; i++) write(`cut-${i}.gguf`, good.subarray(0, Math.floor((i / 40) ** 3 * good.length)));
  const patched = (at: number, bytes: number[]) => {
    const copy = Buffer.from(good);
    copy.set(bytes, at);
    return copy;
  };
  const large = [255, 255, 255, 255, 255, 255, 255, 127];
  for (const at of [0, 4, 8, 16, 24]) {
    write(`large-${at}.gguf`, patched(at, large));
    write(`zero-${at}.gguf`, patched(at, Array(8).fill(0)));
  }
  // Lengths inside the first keys: eight bytes of ones at random places of the metadata.
  for (let i = 0; i < 40; i++) write(`ones-${i}.gguf`, patched(32 + Math.floor(random() * 900), Array(8).fill(255)));
  return files;
}
