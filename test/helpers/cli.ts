import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root, temporaryFolder } from "./fixtures";

export interface CliResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: Buffer;
  stderr: string;
  /** Native addons that the process loaded. */
  addons: string[];
}

export interface CliOptions {
  stdin?: string | Uint8Array;
  env?: Record<string, string>;
  cwd?: string;
  /** Called with the running process, whose stdin then stays open. */
  during?: (child: ChildProcessWithoutNullStreams) => void;
}

const folder = temporaryFolder();
let runs = 0;

/** Node's arguments for `gme`: compiled where scripts/test.mjs found dist up to date, else from the source, which starts slower. */
export const command: readonly string[] =
  process.env.GME_TEST_COMPILED === "1"
    ? [join(root, "dist", "cli", "main.js")]
    : ["--import", pathToFileURL(require.resolve("tsx")).href, join(root, "lib", "cli", "main.ts")];

/** Runs `gme`. */
export function gme(args: readonly string[], { stdin, env, cwd = root, during }: CliOptions = {}): Promise<CliResult> {
  const log = join(folder, `dlopen-${runs++}`);
  const { GME_MODEL, GME_THREADS, NO_COLOR, FORCE_COLOR, ...inherited } = process.env;
  const preload = ["--require", join(root, "test", "helpers", "record-dlopen.cjs")];
  const child = spawn(process.execPath, [...preload, ...command, ...args], {
    cwd,
    env: { ...inherited, GME_THREADS: "1", GME_HOME: join(folder, "no-store"), ...env, GME_TEST_DLOPEN: log },
  });
  const stdout: Buffer[] = [];
  let stderr = "";
  child.stdout.on("data", (data) => stdout.push(data));
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  child.stdin.on("error", () => undefined); // the command may end before it has read everything
  if (during === undefined) child.stdin.end(stdin);
  else during(child);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const addons = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
      resolve({ code, signal, stdout: Buffer.concat(stdout), stderr, addons });
    });
  });
}

export function jsonLines(stdout: Buffer): Record<string, unknown>[] {
  const lines = stdout.toString("utf8").split("\n");
  if (lines.pop() !== "") throw new Error("the last line has no end");
  return lines.map((line) => JSON.parse(line));
}
