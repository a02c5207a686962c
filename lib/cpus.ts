import { readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";

/** CPUs that this process may use. */
export function usableCpus(): number {
  return Math.max(1, availableParallelism());
}

/** Physical cores that this process may use: hyper-threads of one core do not speed up matrix products. */
export function physicalCores(): number {
  return Math.max(1, Math.min(usableCpus(), coresOfProcCpuinfo() ?? coresByModel()));
}

/** Distinct (physical id, core id) pairs of Linux's /proc/cpuinfo; undefined where it has none (other systems, arm64). */
export function coresOfProcCpuinfo(text = readProcCpuinfo()): number | undefined {
  const cores = new Set<string>();
  for (const block of text.split(/\n\s*\n/)) {
    const package_ = /^physical id\s*:\s*(\d+)/m.exec(block)?.[1];
    const core = /^core id\s*:\s*(\d+)/m.exec(block)?.[1];
    if (package_ !== undefined && core !== undefined) cores.add(`${package_}/${core}`);
  }
  return cores.size > 0 ? cores.size : undefined;
}

function readProcCpuinfo(): string {
  if (process.platform !== "linux") return "";
  try {
    return readFileSync("/proc/cpuinfo", "utf8");
  } catch {
    return "";
  }
}

/** Elsewhere: x86 chips mostly have two threads per core, others one. */
function coresByModel(): number {
  const logical = cpus().length;
  return process.arch === "x64" && process.platform !== "linux" ? Math.ceil(logical / 2) : logical;
}
