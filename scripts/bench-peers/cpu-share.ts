// How much of the machine other programs used during a measurement: a busy machine makes its figures worthless. Linux only.
import { readFileSync } from "node:fs";
import { cpus } from "node:os";

export interface CpuMark {
  /** Ticks of the whole machine: in use or taken by the host, and all. */
  readonly busy: number;
  readonly all: number;
  /** Ticks of the measured process and of this one. */
  readonly own: number;
}

function processTicks(pid: number | "self"): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  return Number(fields[11]) + Number(fields[12]); // user and system
}

export function markCpu(pid: number): CpuMark | undefined {
  if (process.platform !== "linux") return undefined;
  const [user, nice, system, idle, wait, ...rest] = readFileSync("/proc/stat", "utf8")
    .split("\n", 1)[0]
    .trim()
    .split(/\s+/)
    .slice(1, 9)
    .map(Number);
  const busy = user + nice + system + rest.reduce((sum, ticks) => sum + ticks, 0);
  return { busy, all: busy + idle + wait, own: processTicks(pid) + processTicks("self") };
}

/** CPUs that others kept busy on average between two marks. */
export function othersBetween(from: CpuMark | undefined, to: CpuMark | undefined): number {
  if (from === undefined || to === undefined || to.all === from.all) return 0;
  return Math.max(0, ((to.busy - from.busy - (to.own - from.own)) / (to.all - from.all)) * cpus().length);
}
