// What several devices bring: one engine and two, each with one thread on the processor in the place of a card, by turns in one run.
// Items per second, min / median / max, and the ratio of each round.
//
//   npx tsx scripts/bench-devices.ts [--model F] [--rounds 5] [--devices cpu,cpu] [--texts 256] [--pictures 48]
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bundledModelPath, type GmeInput, type GmeModel, load } from "../lib";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: bundledModelPath },
    rounds: { type: "string", default: "5" },
    devices: { type: "string", default: "cpu,cpu" },
    texts: { type: "string", default: "256" },
    pictures: { type: "string", default: "48" },
  },
});

const photo = join(__dirname, "..", "test", "fixtures", "images", "photo-1600x1200.jpg");
const words = [
  "a red car",
  "two dogs by the sea",
  "snow on a roof",
  "the old town at night",
  "bread",
  "a map of the coast",
];

function texts(round: number): GmeInput[] {
  const one = (i: number) => Array.from({ length: 12 }, (_, at) => words[(i * 7 + at * (round + 11)) % words.length]);
  return Array.from({ length: Number(values.texts) }, (_, i) => `${round} ${i} ${one(i).join(", ")}`);
}

/** Read anew and decoded by the engines, as an index does. */
function pictures(): GmeInput[] {
  return Array.from({ length: Number(values.pictures) }, (_, i) => ({ image: photo, text: `picture ${i}` }));
}

const works: [string, (round: number) => GmeInput[]][] = [
  ["texts", texts],
  ["pictures", pictures],
];

async function rate(model: GmeModel, inputs: GmeInput[]): Promise<number> {
  const start = performance.now();
  await model.embedBatch(inputs);
  return (inputs.length * 1000) / (performance.now() - start);
}

function spread(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  return [sorted[0], sorted[sorted.length >> 1], sorted[sorted.length - 1]].map((x) => x.toFixed(2)).join(" / ");
}

async function main(): Promise<void> {
  const [device] = values.devices.split(",");
  const one = await load(values.model, { device, threads: 1, isolate: true });
  const several = await load(values.model, { device: values.devices, threads: 1 });
  console.log(`${one.info.name}: ${one.info.device} beside ${several.info.device}, 1 thread each`);
  for (const [name, inputsOf] of works) {
    const rates: [number[], number[]] = [[], []];
    for (let round = -1; round < Number(values.rounds); round++) {
      const inputs = inputsOf(round);
      if (inputs.length === 0) break;
      const pair = [await rate(one, inputs), await rate(several, inputs)];
      if (round >= 0) for (const at of [0, 1]) rates[at].push(pair[at]);
    }
    const ratios = rates[1].map((x, i) => x / rates[0][i]);
    if (ratios.length > 0)
      console.log(`${name}/s: one ${spread(rates[0])}, several ${spread(rates[1])}, ratio ${spread(ratios)}`);
  }
  await Promise.all([one.close(), several.close()]);
}

void main();
