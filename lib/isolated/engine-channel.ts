import { type ChildProcess, fork } from "node:child_process";
import type { Readable } from "node:stream";
import { scriptHost, type UtilityProcess } from "../electron-host";
import type { FromEngine, ToEngine } from "./messages";
import { PictureMemory } from "./picture-memory";

/** How a process ended: its exit code, or the signal's name, or why it could not be started. */
export type ChannelEnd = { readonly code: number } | { readonly signal: string } | { readonly error: Error };

/** A child process that runs one of this package's scripts, and the messages to and from it. */
export interface EngineChannel<To = ToEngine> {
  readonly pid: number | undefined;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Shared with the process until that has ended; undefined where the system has none. */
  readonly pictures: PictureMemory | undefined;
  /** Throws where the message cannot be cloned; a process that has ended takes it silently. */
  send(message: To): void;
  kill(): void;
  /** Whether this process may not end by itself while that one runs. */
  keepAlive(wanted: boolean): void;
}

export interface ChannelListener<From = FromEngine> {
  message(message: From): void;
  /** Once the process has ended and its last message has been read. */
  end(end: ChannelEnd): void;
}

/** A forked process's descriptor of the shared memory: behind stdin, stdout, stderr and the messages. */
export const pictureFd = 4;

/** The pipes of a process that has ended are read to their end, unless something else holds them open. */
const drainMs = 1_000;

/** Ends with an error where this process can start none. */
export function openChannel<To extends object = ToEngine, From = FromEngine>(
  script: string,
  listener: ChannelListener<From>,
): EngineChannel<To> {
  const env = { MALLOC_ARENA_MAX: "2", ...process.env };
  const host = scriptHost();
  if (host.kind === "node") return forkedChannel(script, env, listener);
  if (host.kind === "none") return noChannel(listener);
  return utilityChannel(host.utilityProcess.fork(script, [], utilityOptions(env)), listener);
}

function noChannel<To>(listener: Pick<ChannelListener, "end">): EngineChannel<To> {
  const message =
    "with the app's fuse runAsNode off only Electron's main process can isolate a model; here load it without isolate";
  setImmediate(() => listener.end({ error: new Error(message) }));
  const nothing = () => undefined;
  const streams = { stdout: null, stderr: null, pictures: undefined };
  return { pid: undefined, ...streams, send: nothing, kill: nothing, keepAlive: nothing };
}

function utilityOptions(env: NodeJS.ProcessEnv): Record<string, unknown> {
  return { env, stdio: ["ignore", "pipe", "pipe"], serviceName: "gme-embed engine" };
}

function utilityChannel<To, From>(child: UtilityProcess, listener: ChannelListener<From>): EngineChannel<To> {
  child.on("message", (message) => listener.message(message as From));
  child.on("exit", (code) => listener.end({ code }));
  return {
    get pid() {
      return child.pid;
    },
    stdout: child.stdout,
    stderr: child.stderr,
    pictures: undefined, // a utility process inherits no descriptors
    send: (message) => child.postMessage(message),
    // Its own kill() is a polite SIGTERM, which an engine that hangs does not hear.
    kill: () => void (child.pid === undefined || killNow(child.pid)),
    keepAlive: () => undefined, // Electron's main process lives until the app quits
  };
}

function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {} // it has ended
}

function forkedChannel<To extends object, From>(
  script: string,
  env: NodeJS.ProcessEnv,
  listener: ChannelListener<From>,
): EngineChannel<To> {
  const pictures = PictureMemory.open();
  const child = forkWith(pictures, script, env);
  child.on("message", (message) => listener.message(message as From));
  void endOfFork(child).then((end) => {
    listener.end(end);
    pictures?.close();
  });
  return {
    get pid() {
      return child.pid;
    },
    stdout: child.stdout,
    stderr: child.stderr,
    pictures,
    send: (message) => void (child.connected && child.send(message, () => undefined)),
    kill: () => void child.kill("SIGKILL"),
    keepAlive: (wanted) => {
      const method = wanted ? "ref" : "unref";
      // Bun's channel has neither method, a stream may lack them.
      for (const holder of [child, child.channel, child.stdout, child.stderr]) {
        (holder as { [name in "ref" | "unref"]?: () => void } | null | undefined)?.[method]?.();
      }
    },
  };
}

function forkWith(pictures: PictureMemory | undefined, script: string, env: NodeJS.ProcessEnv): ChildProcess {
  try {
    return fork(script, [], {
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc", ...(pictures === undefined ? [] : [pictures.fd])],
      env,
      execArgv: scriptFlags(process.execArgv),
    });
  } catch (error) {
    pictures?.close();
    throw error;
  }
}

async function endOfFork(child: ChildProcess): Promise<ChannelEnd> {
  const [code, signal, error] = await new Promise<[number | null, string | null, Error?]>((resolve) => {
    child.once("error", (cause) => child.pid === undefined && resolve([null, null, cause]));
    child.once("close", (...end) => resolve(end));
    child.once("exit", (...end) => setTimeout(() => resolve(end), drainMs).unref());
  });
  if (error !== undefined) return { error };
  return signal === null ? { code: code ?? 0 } : { signal };
}

/** Without what belongs to this process alone: the debugger's port, and a script given on the command line. */
function scriptFlags(flags: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < flags.length; i++) {
    if (/^(-e|--eval|-p|-pe|--print)$/.test(flags[i])) i++;
    else if (
      !/^(--inspect|--debug-port|--input-type|--eval=|--print=|-i$|--interactive$|--test|--watch)/.test(flags[i])
    )
      kept.push(flags[i]);
  }
  return kept;
}
