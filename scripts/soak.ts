// Random operations against an in-memory model of what must come out, for as long as one likes.
//
//   npm run soak -- --minutes 30 [--seed 1] [--users 4] [--no-index]
//
// Models are opened, called, aborted, closed, and (isolated ones) killed by several users at once; an index is filled, searched
// and emptied by one more. Exit code 1 when an outcome differs from what it must be, or memory grows by more than
// `growthMost` per hour in a run of at least ten minutes.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { load } from "../lib";
import { enginePids } from "../test/isolated/engine-pids";
import { badItems, goodItems } from "./soak/expected-items";
import { IndexOperations } from "./soak/index-operations";
import { ModelOperations } from "./soak/model-operations";
import { SoakRun } from "./soak/soak-run";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: "1" },
    users: { type: "string", default: "4" },
    "no-index": { type: "boolean", default: false },
  },
});

const growthMost = 60; // MB per hour
const growthFrom = 10; // minutes
const sampleMs = 5_000;
const gguf = join(__dirname, "..", "test", "fixtures", "gguf");
const file = { path: join(gguf, "tiny-a-f32.gguf"), mmproj: join(gguf, "mmproj-tiny-a-f32.gguf") };

async function until(minutes: number, run: SoakRun, next: () => Promise<void>): Promise<void> {
  while (run.minutes < minutes) {
    try {
      await next();
    } catch (error) {
      run.differs("the run", (error as Error).stack ?? String(error));
    }
  }
}

async function main(): Promise<void> {
  const minutes = Number(values.minutes);
  const folder = mkdtempSync(join(tmpdir(), "gme-soak-"));
  const run = new SoakRun(Number(values.seed), () => enginePids().length);
  const killEngine = () => {
    const pids = enginePids();
    if (pids.length > 0) process.kill(run.pick(pids), "SIGKILL");
    return pids.length > 0;
  };
  const model = await load(file.path, { mmproj: file.mmproj, threads: 1 });
  const models = new ModelOperations(run, file, await goodItems(model), badItems(), killEngine);
  const index = new IndexOperations(run, folder, model);
  const timer = setInterval(() => run.sample(), sampleMs);
  const users = Array.from({ length: Number(values.users) }, () => until(minutes, run, () => models.next()));
  if (!values["no-index"]) users.push(until(minutes, run, () => index.next()));
  await Promise.all(users);
  clearInterval(timer);
  run.sample();
  await index.close();
  await models.closeAll();
  await model.close();
  if (enginePids().length > 0) run.differs("the end", "an engine's process is left");
  rmSync(folder, { recursive: true });
  const { text, megabytesPerHour } = run.report();
  console.log(text);
  if (minutes >= growthFrom && megabytesPerHour > growthMost) run.differs("memory", `${megabytesPerHour.toFixed(1)} MB per hour`); // biome-ignore format: one line says it
  process.exitCode = run.differences === 0 ? 0 : 1;
}

void main();
