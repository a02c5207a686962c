// Child processes of the lifetime tests: Node itself, without the TypeScript loader, so that little but our code takes memory or time.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { isSanitized } from "./rounds";

export interface ChildEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Of both streams, in the order it came. */
  output: string;
  errors: string;
  milliseconds: number;
}

export interface ChildOptions {
  /** GME_CHILD_SETUP: what childSetup() gives. */
  setup: string;
  env?: Record<string, string>;
  flags?: readonly string[];
  /** Called with every piece of output. */
  onOutput?: (text: string, pid: number) => void;
  patience?: number;
}

export const childScript = (name: string): string => join(__dirname, "children", name);

/** Runs a script of children/ to its end. */
export async function runChild(name: string, args: readonly unknown[], options: ChildOptions): Promise<ChildEnd> {
  const start = performance.now();
  const child = spawn(process.execPath, [...(options.flags ?? []), childScript(name), ...args.map(String)], {
    env: { ...process.env, NODE_OPTIONS: "", GME_CHILD_SETUP: options.setup, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [output, errors] = ["", ""];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      if (stream === child.stderr) errors += data;
      output += data;
      options.onOutput?.(String(data), child.pid as number);
    });
  }
  const patience = (options.patience ?? 20_000) * (isSanitized ? 10 : 1);
  const watchdog = setTimeout(() => child.kill("SIGKILL"), patience);
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  clearTimeout(watchdog);
  return { code, signal, output, errors, milliseconds: performance.now() - start };
}
