import { readdirSync, readFileSync } from "node:fs";

/** The engine processes of this process that run, by their number; none where the system does not say. */
export function enginePids(): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter(isOurEngine).map(Number).sort((a, b) => a - b); // biome-ignore format: one line says it
}

function isOurEngine(pid: string): boolean {
  try {
    const [, state, parent] = /\) (\S) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    return Number(parent) === process.pid && state !== "Z" && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("engine-host"); // biome-ignore format: one line says it
  } catch {
    return false; // it has just ended
  }
}
