// What the system says about this process; zeros where it says nothing (other systems than Linux).
import { readdirSync, readFileSync } from "node:fs";

const countEntries = (folder: string): number => {
  try {
    return readdirSync(folder).length;
  } catch {
    return 0;
  }
};

export const countThreads = (): number => countEntries("/proc/self/task");

export const countOpenFiles = (): number => countEntries("/proc/self/fd");

export const countMappings = (file: string): number => {
  try {
    return readFileSync("/proc/self/maps", "utf8")
      .split("\n")
      .filter((line) => line.endsWith(file)).length;
  } catch {
    return 0;
  }
};

/** Bytes of this process that are in memory. */
export const residentBytes = (): number => {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
  } catch {
    return 0;
  }
};

/** Bytes of a mapped file that are in memory, counted once however often this process maps them. */
export const sharedResidentBytes = (file: string): number => {
  const sections = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return sections
    .filter((section) => section.split("\n", 1)[0]?.endsWith(file))
    .reduce((sum, section) => sum + Number(/^Pss:\s+(\d+) kB/m.exec(section)?.[1]) * 1024, 0);
};

/** Nanoseconds that the main thread was ready to run and waited for a processor; 0 where the system does not say. */
export const runDelay = (): number => {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[1]);
  } catch {
    return 0;
  }
};
