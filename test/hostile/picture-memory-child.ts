// Decodes the files that it is told, one after the other, and writes for each what became of it, the least processor time of some runs and by
// how much the peak of the process's memory grew. A process of its own, so that nothing else works or grows meanwhile.
import { readFileSync, writeFileSync } from "node:fs";
import { imageFixture } from "../helpers/fixtures";
import { outcomeOf } from "./picture-outcome";

const [list] = process.argv.slice(2);

function memoryMiB(field: "VmHWM" | "VmRSS"): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
}

async function main(): Promise<void> {
  // Code and tables of the formats are there once, not once per picture.
  for (const name of ["photo-640x480.jpg", "photo-640x480.png", "web-512x384.webp"])
    await outcomeOf(imageFixture(name));
  for (let i = 0; i < 3; i++) await outcomeOf(Buffer.from("GIF89a no picture, but an error"));
  for (const { path, runs } of JSON.parse(readFileSync(list, "utf8")) as { path: string; runs: number }[]) {
    globalThis.gc?.();
    // Sets the peak back to what is used now.
    writeFileSync("/proc/self/clear_refs", "5");
    const before = memoryMiB("VmRSS");
    let best = Number.POSITIVE_INFINITY;
    let what = "";
    for (let i = 0; i < runs; i++) {
      const outcome = await outcomeOf(path);
      best = Math.min(best, outcome.work);
      what = outcome.what;
    }
    console.log(JSON.stringify({ what, milliseconds: best, growth: memoryMiB("VmHWM") - before }));
  }
}

void main();
