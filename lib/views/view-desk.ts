import { extname, join } from "node:path";
import { abortError, GmeError } from "../errors";
import { type EngineChannel, openChannel } from "../isolated/engine-channel";
import { fromWire } from "../isolated/wire-error";
import type { FromView, ViewFile, ViewJob } from "./view-messages";

/** Libraries that read pictures and PDFs may crash and hang, so they do it in processes that can be ended. */
const maxProcesses = 2;
const maxWaiting = 32;
const defaultLimitMs = 20_000;
const idleMs = 30_000;

interface Waiting {
  readonly job: ViewJob;
  readonly settle: (outcome: Uint8Array | GmeError) => void;
}

/** Draws views, two at once, the others in their order; its processes start at the first need and end when idle. */
export class ViewDesk {
  private readonly waiting: Waiting[] = [];
  private readonly processes = new Set<ViewProcess>();
  private closed = false;

  constructor(private readonly limitMs = defaultLimitMs) {}

  /** Processes that run now. */
  get size(): number {
    return this.processes.size;
  }

  /**
   * WebP. Rejects with what is wrong with the file; GME_QUEUE_FULL; GME_DEADLINE_EXCEEDED where drawing takes too long;
   * GME_ENGINE_CRASHED where it ends its process; GME_ABORTED.
   */
  draw(files: readonly ViewFile[], side: number, signal?: AbortSignal): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(new GmeError("GME_MODEL_CLOSED", "the index has been closed"));
      if (signal?.aborted) return reject(abortError(signal));
      if (this.waiting.length >= maxWaiting)
        return reject(new GmeError("GME_QUEUE_FULL", `${maxWaiting} pictures wait to be drawn`, { value: maxWaiting, expected: "fewer at once" })); // biome-ignore format: one line says it
      const entry: Waiting = {
        job: { files, side },
        settle: (outcome) => {
          signal?.removeEventListener("abort", onAbort);
          if (outcome instanceof GmeError) reject(outcome);
          else resolve(outcome);
        },
      };
      const onAbort = () => this.drop(entry, abortError(signal));
      signal?.addEventListener("abort", onAbort, { once: true });
      this.waiting.push(entry);
      this.next();
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const entry of this.waiting.splice(0)) entry.settle(new GmeError("GME_MODEL_CLOSED", "the index was closed"));
    await Promise.all([...this.processes].map((process) => process.end()));
  }

  /** What is being drawn already is left to its end: it is short, and a new process would cost more. */
  private drop(entry: Waiting, error: GmeError): void {
    const at = this.waiting.indexOf(entry);
    if (at >= 0) this.waiting.splice(at, 1);
    entry.settle(error);
  }

  private next(): void {
    while (this.waiting.length > 0) {
      const idle = [...this.processes].find(({ isIdle }) => isIdle) ?? this.start();
      if (idle === undefined) return;
      const { job, settle } = this.waiting.shift() as Waiting;
      void idle.draw(job).then(settle).then(() => this.next()); // biome-ignore format: one line says it
    }
  }

  private start(): ViewProcess | undefined {
    if (this.processes.size >= maxProcesses) return undefined;
    const process = new ViewProcess(this.limitMs);
    this.processes.add(process);
    void process.ended.then(() => {
      this.processes.delete(process);
      this.next();
    });
    return process;
  }
}

/** One process and the job it has; never used again after it was told to end. */
class ViewProcess {
  readonly ended: Promise<void>;
  private readonly channel: EngineChannel<ViewJob>;
  private settle: ((outcome: Uint8Array | GmeError) => void) | undefined;
  private timer: NodeJS.Timeout | undefined;
  private isEnding = false;

  constructor(private readonly limitMs: number) {
    let end: () => void = () => undefined;
    this.ended = new Promise((resolve) => {
      end = resolve;
    });
    this.channel = openChannel<ViewJob, FromView>(join(__dirname, `view-host${extname(__filename)}`), {
      message: (message) => this.receive(message),
      end: (how) => {
        this.isEnding = true;
        const reason = "error" in how ? how.error.message : "signal" in how ? how.signal : `exit code ${how.code}`;
        this.finish(new GmeError("GME_ENGINE_CRASHED", `the process that draws pictures ended (${reason})`, { value: reason })); // biome-ignore format: one line says it
        end();
      },
    });
    for (const stream of [this.channel.stdout, this.channel.stderr]) stream?.resume();
    this.channel.keepAlive(false);
    this.rest();
  }

  get isIdle(): boolean {
    return this.settle === undefined && !this.isEnding;
  }

  draw(job: ViewJob): Promise<Uint8Array | GmeError> {
    return new Promise((resolve) => {
      this.settle = resolve;
      clearTimeout(this.timer);
      this.channel.keepAlive(true);
      this.timer = setTimeout(() => {
        this.finish(new GmeError("GME_DEADLINE_EXCEEDED", `drawing the picture took more than ${this.limitMs / 1000} s`, { expected: `at most ${this.limitMs / 1000} s` })); // biome-ignore format: one line says it
        void this.end();
      }, this.limitMs);
      this.channel.send(job);
    });
  }

  end(): Promise<void> {
    this.isEnding = true;
    this.channel.keepAlive(true); // whoever waits for its end has nothing else to stay alive by
    this.channel.kill();
    return this.ended;
  }

  private receive(message: FromView): void {
    if (message.type === "drawn") this.finish(message.webp);
    else if (message.type === "failed") this.finish(fromWire(message.error));
  }

  private finish(outcome: Uint8Array | GmeError): void {
    const { settle } = this;
    clearTimeout(this.timer);
    this.settle = undefined;
    if (!this.isEnding) this.rest();
    settle?.(outcome);
  }

  private rest(): void {
    this.channel.keepAlive(false);
    this.timer = setTimeout(() => void this.end(), idleMs);
    this.timer.unref();
  }
}
