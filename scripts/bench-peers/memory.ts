// Peak memory of another process, from Linux's /proc: the kernel's own high-water mark, and how it divides.
import { readFileSync } from "node:fs";
import { setInterval } from "node:timers";

export interface PeakMemory {
  /** The kernel's high-water mark of resident memory, mapped weights included, in bytes. */
  readonly peak: number;
  /** Most bytes seen in memory of its own (not mapped from files), sampled. */
  readonly ownPeak: number;
  /** Resident bytes of the mapped model files at the end. */
  readonly mappedWeights: number;
}

function statusBytes(pid: number, key: string): number {
  const line = new RegExp(`^${key}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) * 1024;
}

function mappedWeights(pid: number): number {
  let total = 0;
  let isModel = false;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) isModel = line.endsWith(".gguf");
    else if (isModel && line.startsWith("Rss:")) total += Number(/\d+/.exec(line)?.[0]) * 1024;
  }
  return total;
}

const sampleMs = 50;

/** Runs `work` and watches `pid` meanwhile. */
export async function watchMemory(pid: number, work: () => Promise<void>): Promise<PeakMemory> {
  let ownPeak = 0;
  const sample = () => {
    ownPeak = Math.max(ownPeak, statusBytes(pid, "RssAnon"));
  };
  const timer = setInterval(sample, sampleMs);
  try {
    await work();
    sample();
    return { peak: statusBytes(pid, "VmHWM"), ownPeak, mappedWeights: mappedWeights(pid) };
  } finally {
    clearInterval(timer);
  }
}
