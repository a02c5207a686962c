import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Test } from "tap";
import { command } from "./cli";
import { root, temporaryFolder } from "./fixtures";

/** `gme serve` as a process of its own. */
export interface ServeProcess {
  readonly child: ChildProcess;
  /** Where it says it listens. */
  readonly url: string;
  /** Everything it has written to stderr so far. */
  said(): string;
  /** Its exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
}

export interface ServeSettings {
  readonly env?: Record<string, string>;
  /** What goes before node on the command line: unshare, setpriv …. */
  readonly wrapper?: readonly string[];
}

/** Rejects where it ends before it listens. Killed at the test's end. */
export async function serve(
  t: Test,
  args: readonly string[],
  { env, wrapper = [] }: ServeSettings = {},
): Promise<ServeProcess> {
  const { GME_MODEL, GME_API_KEY, ...inherited } = process.env;
  const [file, ...rest] = [
    ...wrapper,
    process.execPath,
    ...command,
    "serve",
    ...(args.includes("--socket") ? [] : ["--port", "0"]),
    ...args,
  ];
  const child = spawn(file, rest, {
    cwd: root,
    env: { ...inherited, GME_THREADS: "1", GME_HOME: temporaryFolder(), ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  const ended = once(child, "exit").then(([code, signal]) => (signal ?? code) as number | string);
  t.teardown(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr?.on("data", (data) => {
      text += String(data);
      const found = /gme-embed listens at (\S+)/.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
    void ended.then((code) => reject(new Error(`gme serve ended with ${code}: ${text}`)));
  });
  return { child, url, said: () => text, ended };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** A POST of JSON, answered with JSON. */
export async function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Record<string, unknown>,
  };
}
