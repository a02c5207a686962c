import { extname, join } from "node:path";
import { GmeError, printable } from "../errors";
import { type ChannelEnd, type EngineChannel, openChannel } from "./engine-channel";
import type { FromEngine, ToEngine } from "./messages";
import type { PictureMemory } from "./picture-memory";

/** How a process ended. */
export interface ProcessEnd {
  /** `signal SIGSEGV`, `exit code 7`, … */
  readonly reason: string;
  /** The signal's name or the exit code. */
  readonly value: string | number;
  /** What it wrote last to stderr, else to stdout; in one line. */
  readonly lastLines: string;
}

/** A process that gives no sign of life for so long is killed as hung. */
export const defaultHangMs = 60_000;
const tailLength = 4096;
const shownLines = 5;
const hangChecks = 20;
const closeMs = 2_000;

/** The engine's child process. It is killed when it gives no sign of life for `hangMs`. */
export class EngineProcess {
  /** Settles once the process has ended and its last message has been read. */
  readonly ended: Promise<ProcessEnd>;
  private channel!: EngineChannel;
  private readonly tails = { stdout: "", stderr: "" };
  private silentChecks = 0;
  private lastSign = performance.now();
  private isHung = false;

  constructor(
    private readonly onMessage: (message: FromEngine) => void,
    private readonly hangMs: number,
  ) {
    const ended = new Promise<ChannelEnd>((end) => {
      this.channel = openChannel(join(__dirname, `engine-host${extname(__filename)}`), {
        message: (message) => this.receive(message),
        end,
      });
    });
    for (const name of ["stdout", "stderr"] as const) {
      this.channel[name]?.on("data", (data) => {
        this.tails[name] = (this.tails[name] + String(data)).slice(-tailLength);
      });
    }
    const watch = setInterval(() => this.check(), this.hangMs / hangChecks);
    watch.unref();
    this.ended = ended.then((end) => {
      clearInterval(watch);
      return this.describe(end);
    });
  }

  get pid(): number | undefined {
    return this.channel.pid;
  }

  /** Milliseconds since its last sign of life. */
  get silentMs(): number {
    return performance.now() - this.lastSign;
  }

  /** Until `ended` settles. */
  get pictures(): PictureMemory | undefined {
    return this.channel.pictures;
  }

  /** Throws where the message cannot be cloned; a process that has ended takes it silently. */
  send(message: ToEngine): void {
    this.channel.send(message);
  }

  kill(): void {
    this.channel.kill();
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
    this.channel.keepAlive(wanted);
  }

  private receive(message: FromEngine): void {
    this.silentChecks = 0;
    this.lastSign = performance.now();
    if (message.type !== "alive" || message.use !== undefined) this.onMessage(message);
  }

  /** Counts checks, not time: while this process itself is stopped, the other one is not overdue. */
  private check(): void {
    if (++this.silentChecks < hangChecks) return;
    this.isHung = true;
    this.kill();
  }

  private describe(end: ChannelEnd): ProcessEnd {
    const lastLines = this.lastLines();
    if ("error" in end)
      return { reason: `it could not be started: ${printable(end.error.message)}`, value: 0, lastLines };
    if (this.isHung) {
      return { reason: `no sign of life for ${this.hangMs / 1000} s`, value: "hang", lastLines };
    }
    if ("signal" in end) return { reason: `signal ${end.signal}`, value: end.signal, lastLines };
    return { reason: `exit code ${end.code}`, value: end.code, lastLines };
  }

  private lastLines(): string {
    const text = this.tails.stderr.trim() || this.tails.stdout.trim();
    return text.split("\n").slice(-shownLines).map((line) => printable(line.trim())).join(" | "); // biome-ignore format: one line says it
  }
}

/** `engine ended (signal SIGSEGV)…`, with the process's last words. */
export function crashError(end: ProcessEnd, when: string, file?: string, field?: string): GmeError {
  const words = end.lastLines === "" ? "" : `; its last lines: ${end.lastLines}`;
  return new GmeError("GME_ENGINE_CRASHED", `the engine's process ended ${when} (${end.reason})${words}`, {
    file,
    field,
    value: end.value,
    expected: "a process that keeps running",
  });
}
