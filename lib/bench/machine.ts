import { readFileSync } from "node:fs";
import { arch, cpus, platform, totalmem } from "node:os";
import { binding } from "../binding";
import { physicalCores, usableCpus } from "../cpus";
import { version } from "../version";

export interface BenchMachine {
  readonly cpu: string;
  /** Physical cores and CPUs that this process may use, and the threads that the model uses. */
  readonly cores: number;
  readonly cpus: number;
  readonly threads: number;
  /** Those that matter to matrix products; empty where the system does not tell. */
  readonly instructionSets: readonly string[];
  readonly memoryBytes: number;
  readonly platform: string;
  readonly node: string;
  readonly ggml: string;
  readonly version: string;
}

const notable = [
  ...["avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"],
  ...["asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"],
]; // biome-ignore format: one row per architecture

export function describeMachine(threads: number): BenchMachine {
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    cores: physicalCores(),
    cpus: usableCpus(),
    threads,
    instructionSets: instructionSets(),
    memoryBytes: totalmem(),
    platform: `${platform()}-${arch()}`,
    node: process.versions.node,
    ggml: binding().version.ggml,
    version,
  };
}

/** From Linux's /proc/cpuinfo. */
function instructionSets(): string[] {
  if (process.platform !== "linux") return [];
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "";
    const found = new Set(line.trim().split(/\s+/));
    return notable.filter((name) => found.has(name));
  } catch {
    return [];
  }
}
