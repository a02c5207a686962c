// What a call of an isolated model costs beside the same call in this process: alternating, min / median / max of the
// difference in milliseconds.
//
//   npx tsx scripts/bench-isolated.ts [--model F] [--rounds 60]
//
// Of large pictures only countTokens is timed, which reads the header: what is left is the way there and back.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bundledModelPath, type GmeModel, load } from "../lib";

const { values } = parseArgs({
  options: { model: { type: "string", default: bundledModelPath }, rounds: { type: "string", default: "60" } },
});

const photo = join(__dirname, "..", "test", "fixtures", "images", "photo-1600x1200.jpg");
const bytes = readFileSync(photo);
/** The same photograph with bytes behind its end, which nobody reads: as large as those of good cameras are. */
const heavy = Buffer.concat([bytes, Buffer.alloc(4_000_000 - bytes.length)]);
const raw = { data: new Uint8Array(12_000_000 * 3), width: 4000, height: 3000 };

const works: [string, (model: GmeModel, round: number) => Promise<unknown>][] = [
  ["a short text", (model, round) => model.embed(`a cat ${round}`)],
  ["tokens of a short text", (model) => model.countTokens("a cat")],
  ["a picture by its path", (model) => model.countTokens({ image: photo })],
  [`a picture of ${Math.round(bytes.length / 1000)} kB`, (model) => model.countTokens({ image: bytes })],
  [`a picture of ${heavy.length / 1e6} MB`, (model) => model.countTokens({ image: heavy })],
  ["12 million raw pixels, 36 MB", (model) => model.countTokens({ image: raw })],
];

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function main(): Promise<void> {
  const here = await load(values.model, { threads: 1 });
  const there = await load(values.model, { threads: 1, isolate: true });
  for (const [name, work] of works) {
    const costs: number[] = [];
    for (let round = -3; round < Number(values.rounds); round++) {
      const alone = await milliseconds(() => work(here, round));
      const isolated = await milliseconds(() => work(there, round));
      if (round >= 0) costs.push(isolated - alone);
    }
    costs.sort((a, b) => a - b);
    const shown = [costs[0], costs[costs.length >> 1], costs[costs.length - 1]].map((cost) => cost.toFixed(2));
    console.log(`${name}: ${shown.join(" / ")} ms more`);
  }
  await Promise.all([here.close(), there.close()]);
}

void main();
