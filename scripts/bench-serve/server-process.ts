// A server in a process of its own, so that who asks does not share its event loop.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(__dirname, "..", "..");

export interface ServerProcess {
  readonly url: string;
  /** Resident bytes of the server's process, its engine's not among them. */
  memory(): number;
  stop(): Promise<void>;
}

/** `gme serve` with these arguments, or without them a server over an engine that costs nothing. */
export async function startServerProcess(args: readonly string[] | undefined): Promise<ServerProcess> {
  const serve = [join(root, "dist", "cli", "main.js"), "serve", "--port", "0", "--log-level", "warn", ...(args ?? [])];
  const stub = ["--import", "tsx", join(__dirname, "stub-server.ts")];
  const child = spawn(process.execPath, args === undefined ? stub : serve, { stdio: ["ignore", "ignore", "pipe"] });
  const url = await urlOf(child);
  return {
    url,
    memory: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) * 1024,
    stop: async () => {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** From the line that says where it listens. */
function urlOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    child.stderr?.on("data", (data) => {
      said += String(data);
      const url = /listens at (\S+)/.exec(said)?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
  });
}
