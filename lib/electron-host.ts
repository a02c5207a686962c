import { closeSync, openSync, readSync } from "node:fs";
import type { Readable } from "node:stream";

/** What is used of Electron's utility process. */
export interface UtilityProcess {
  readonly pid: number | undefined;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  postMessage(message: unknown): void;
  on(event: "message", listener: (message: unknown) => void): void;
  on(event: "exit", listener: (code: number) => void): void;
}

export interface UtilityFork {
  fork(script: string, args: string[], options: Record<string, unknown>): UtilityProcess;
}

/** How a script of this package can be run in a process of its own. */
export type ScriptHost =
  | { readonly kind: "node" }
  | { readonly kind: "utility"; readonly utilityProcess: UtilityFork }
  /** Electron, not in its main process, in an app whose fuse `runAsNode` is off: starting it again would open the app again. */
  | { readonly kind: "none" };

const fuseSentinel = Buffer.from("dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX");
const chunkBytes = 1 << 22;

let known: ScriptHost | undefined;

/** In Electron's main process utility processes: they run also where the app forbids Electron to run as Node. */
export function scriptHost(): ScriptHost {
  known ??= findHost();
  return known;
}

function findHost(): ScriptHost {
  if (process.versions.electron === undefined) return { kind: "node" };
  const { type } = process as NodeJS.Process & { type?: string };
  if (type === "browser") {
    const { utilityProcess } = require("electron") as { utilityProcess?: UtilityFork };
    if (utilityProcess !== undefined) return { kind: "utility", utilityProcess };
  }
  return runsAsNode(electronBinary(process.execPath)) ? { kind: "node" } : { kind: "none" };
}

/** On macOS the helpers' programs are small; what Electron is stands in the framework beside them. */
function electronBinary(program: string): string {
  const frameworks = /^(.*?\.app\/Contents)\//.exec(program)?.[1];
  return process.platform === "darwin" && frameworks !== undefined
    ? `${frameworks}/Frameworks/Electron Framework.framework/Electron Framework`
    : program;
}

/**
 * Electron keeps its fuses in its program: a sentinel, the version of the list (1), its length, then one character for each fuse, of
 * which the first is runAsNode: "0" off, "1" on, "r" removed. True where it cannot be read: that is Electron's default.
 */
export function runsAsNode(program: string): boolean {
  try {
    const state = readFuse(program);
    return state === undefined || state === "1".charCodeAt(0);
  } catch {
    return true;
  }
}

/** Some 200 MB are looked through, a tenth of a second. */
function readFuse(program: string): number | undefined {
  const file = openSync(program, "r");
  const overlap = fuseSentinel.length + 3;
  const chunk = Buffer.alloc(chunkBytes + overlap);
  try {
    for (let at = 0; ; at += chunkBytes) {
      const window = chunk.subarray(0, readSync(file, chunk, 0, chunk.length, at));
      const found = window.indexOf(fuseSentinel);
      if (found >= 0 && found + overlap <= window.length) {
        const [version, length, state] = window.subarray(found + fuseSentinel.length);
        return version === 1 && length > 0 ? state : undefined;
      }
      if (window.length < chunk.length) return undefined;
    }
  } finally {
    closeSync(file);
  }
}
