import { type ChildProcess, fork } from "node:child_process";
import { extname, join } from "node:path";
import { GmeError, printable } from "../errors";
import type { FromEngine, ToEngine } from "./messages";

/** How a process ended. */
export interface ProcessEnd {
  /** `signal SIGSEGV`, `exit code 7`, … */
  readonly reason: string;
  /** The signal's name or the exit code. */
  readonly value: string | number;
  /** What it wrote last to stderr, else to stdout; in one line. */
  readonly lastLines: string;
}

const tailLength = 4096;
const shownLines = 5;
const hangChecks = 20;
const closeMs = 2_000;
/** The pipes of a process that has ended are read to their end, unless something else holds them open. */
const drainMs = 1_000;

/** The engine's child process. It is killed when it gives no sign of life for `hangMs`. */
export class EngineProcess {
  /** Settles once the process has ended and its last message has been read. */
  readonly ended: Promise<ProcessEnd>;
  private readonly child: ChildProcess;
  private readonly tails = { stdout: "", stderr: "" };
  private silentChecks = 0;
  private isHung = false;

  constructor(
    private readonly onMessage: (message: FromEngine) => void,
    private readonly hangMs: number,
  ) {
    this.child = fork(join(__dirname, `engine-host${extname(__filename)}`), [], {
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { MALLOC_ARENA_MAX: "2", ...process.env },
      execArgv: scriptFlags(process.execArgv),
    });
    this.child.on("message", (message) => this.receive(message as FromEngine));
    for (const name of ["stdout", "stderr"] as const) {
      this.child[name]?.on("data", (data) => {
        this.tails[name] = (this.tails[name] + String(data)).slice(-tailLength);
      });
    }
    const watch = setInterval(() => this.check(), this.hangMs / hangChecks);
    watch.unref();
    this.ended = this.untilEnd().finally(() => clearInterval(watch));
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Throws where the message cannot be cloned; a process that has ended takes it silently. */
  send(message: ToEngine): void {
    if (this.child.connected) this.child.send(message, () => undefined);
  }

  kill(): void {
    this.child.kill("SIGKILL");
  }

  /** Asks it to end, and kills it after two seconds. */
  async close(): Promise<void> {
    this.keepAlive(true);
    this.send({ type: "close" });
    const timer = setTimeout(() => this.kill(), closeMs);
    await this.ended;
    clearTimeout(timer);
  }

  /** Whether this process may not end by itself while that one runs. */
  keepAlive(wanted: boolean): void {
    const method = wanted ? "ref" : "unref";
    this.child[method]();
    this.child.channel?.[method]();
    for (const stream of [this.child.stdout, this.child.stderr]) {
      (stream as unknown as { [name in "ref" | "unref"]?: () => void } | null)?.[method]?.();
    }
  }

  private receive(message: FromEngine): void {
    this.silentChecks = 0;
    if (message.type !== "alive" || message.use !== undefined) this.onMessage(message);
  }

  /** Counts checks, not time: while this process itself is stopped, the other one is not overdue. */
  private check(): void {
    if (++this.silentChecks < hangChecks) return;
    this.isHung = true;
    this.kill();
  }

  private async untilEnd(): Promise<ProcessEnd> {
    const { child } = this;
    const [code, signal, error] = await new Promise<[number | null, string | null, Error?]>((resolve) => {
      child.once("error", (cause) => child.pid === undefined && resolve([null, null, cause]));
      child.once("close", (...end) => resolve(end));
      child.once("exit", (...end) => setTimeout(() => resolve(end), drainMs).unref());
    });
    const lastLines = this.lastLines();
    if (error !== undefined)
      return { reason: `it could not be started: ${printable(error.message)}`, value: 0, lastLines };
    if (this.isHung) {
      return { reason: `no sign of life for ${this.hangMs / 1000} s`, value: "hang", lastLines };
    }
    if (signal !== null) return { reason: `signal ${signal}`, value: signal, lastLines };
    return { reason: `exit code ${code}`, value: code ?? 0, lastLines };
  }

  private lastLines(): string {
    const text = this.tails.stderr.trim() || this.tails.stdout.trim();
    return text.split("\n").slice(-shownLines).map((line) => printable(line.trim())).join(" | "); // biome-ignore format: one line says it
  }
}

/** `engine ended (signal SIGSEGV)…`, with the process's last words. */
export function crashError(end: ProcessEnd, when: string, file?: string): GmeError {
  const words = end.lastLines === "" ? "" : `; its last lines: ${end.lastLines}`;
  return new GmeError("GME_ENGINE_CRASHED", `the engine's process ended ${when} (${end.reason})${words}`, {
    file,
    value: end.value,
    expected: "a process that keeps running",
  });
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
