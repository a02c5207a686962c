import { execFile } from "node:child_process";
import { extname, join } from "node:path";
import { scriptHost, type UtilityFork } from "./electron-host";

/** What a process of its own said; undefined: no such process can be started here. */
export type TrialAnswer = { readonly answer: unknown } | { readonly failure: string } | undefined;

interface Trial {
  readonly stdout: string;
  readonly failure?: string;
}

const drainMs = 100;
const tooSlow = (ms: number) => `it does not start within ${ms / 1000} s`;
const ended = (how: string) => `its driver ended the process that tried it (${how})`;

/**
 * Runs device-probe.ts in a process of its own, so that a driver that ends its process ends only that one; its last line of output is the
 * answer, as JSON. A process that takes longer than `ms` is killed. In an Electron app's utility process that can start none: undefined.
 */
export async function tryApart(args: string[], ms: number): Promise<TrialAnswer> {
  const script = join(__dirname, `device-probe${extname(__filename)}`);
  const host = scriptHost();
  if (host.kind === "none") return undefined;
  const { stdout, failure } =
    host.kind === "utility"
      ? await tryInUtility(host.utilityProcess, script, args, ms)
      : await tryInNode(script, args, ms);
  if (failure !== undefined) return { failure };
  try {
    return { answer: JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") };
  } catch {
    return { failure: "the process that tried it gave no answer" };
  }
}

function tryInNode(script: string, args: string[], ms: number): Promise<Trial> {
  const flags = [...process.execArgv, script, ...args];
  const options = { env: { ...process.env, ELECTRON_RUN_AS_NODE: "1" }, timeout: ms, windowsHide: true } as const;
  return new Promise((done) => {
    execFile(process.execPath, flags, { ...options, killSignal: "SIGKILL", maxBuffer: 1 << 24 }, (failure, stdout) => {
      if (!failure) done({ stdout });
      else
        done({ stdout, failure: failure.killed ? tooSlow(ms) : ended(failure.signal ?? `exit code ${failure.code}`) });
    });
  });
}

function tryInUtility(utilityProcess: UtilityFork, script: string, args: string[], ms: number): Promise<Trial> {
  const child = utilityProcess.fork(script, args, {
    stdio: ["ignore", "pipe", "ignore"],
    serviceName: "gme-embed devices",
  });
  let stdout = "";
  let isSlow = false;
  child.stdout?.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  const timer = setTimeout(() => {
    isSlow = true;
    if (child.pid !== undefined) process.kill(child.pid, "SIGKILL");
  }, ms);
  return new Promise((done) => {
    child.on("exit", (code) => {
      clearTimeout(timer);
      const failure = code === 0 ? undefined : isSlow ? tooSlow(ms) : ended(`exit code ${code}`);
      // What it said last may still be in the pipe.
      setTimeout(() => done(failure === undefined ? { stdout } : { stdout, failure }), drainMs);
    });
  });
}
