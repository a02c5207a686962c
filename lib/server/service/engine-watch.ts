import { type EmbedOptions, GmeError } from "../../index";
import type { ServedModel } from "./embed-service";
import type { ServiceSettings } from "./service-settings";

export interface WatchListener {
  /** The engine's process ended, over the watch's own text or with nothing to do. */
  crashed(error: GmeError): void;
  /** It has work and finishes nothing, and there is no process that could be ended. */
  stuck(error: GmeError): void;
  /** The engine answers again, or has been given up for a while. */
  changed(): void;
}

export interface EngineHealth {
  readonly healthy: boolean;
  /** Why it is not; empty where it is. */
  readonly reason: string;
  /** Since the engine last answered; undefined: not yet. */
  readonly answerAgeMs?: number;
}

const tickMs = 250;
/** A text that takes the engine so many times as long as it usually does is overdue. */
const slack = 10;
/** A batch is never overdue before. */
const leastOverdueMs = 20_000;
const firstDelayMs = 500;
const longestDelayMs = 8_000;

/**
 * Knows whether the engine answers: a short text is embedded while nothing else is, every finished batch counts, and its processes' signs of
 * life are looked at. After a crash it starts the engine again, but not for ever.
 */
export class EngineWatch {
  private phase: "up" | "down" | "broken" = "up";
  /** Milliseconds in which this process ran: one that was stopped itself must not take the engine for dead. */
  private awakeMs = 0;
  private lastTick = performance.now();
  private readonly timer: NodeJS.Timeout;
  private delay: NodeJS.Timeout | undefined;
  private readonly leaving = new AbortController();
  private crashes: number[] = [];
  private crashesInRow = 0;
  private seenEnds = 0;
  private probes = 0;
  private probeSince: number | undefined;
  private usualProbeMs = 0;
  private batches = 0;
  /** When the engine went from no work to some. */
  private busySince = 0;
  private lastAnswer: number | undefined;
  private silentTicks = 0;
  private isKilled = false;

  constructor(
    private readonly model: ServedModel,
    private readonly settings: ServiceSettings,
    private readonly listener: WatchListener,
    /** How long the work that the engine has should take, as far as that is known. */
    private readonly expectedMs: () => number | undefined,
  ) {
    this.seenEnds = this.ends();
    this.timer = setInterval(() => this.tick(), tickMs);
    this.timer.unref();
    void this.probe();
  }

  get isUp(): boolean {
    return this.phase === "up";
  }

  get isBroken(): boolean {
    return this.phase === "broken";
  }

  /** Whether its process has ended, or is there and gives no answer. */
  get isDown(): boolean {
    return this.phase !== "up" || this.hanging() !== "";
  }

  /** Ended processes of all engines since the model was loaded. */
  get restarts(): number {
    return this.ends();
  }

  health(): EngineHealth {
    const { lastAnswer } = this;
    const age = lastAnswer === undefined ? {} : { answerAgeMs: Math.round(this.now() - lastAnswer) };
    const reason = this.trouble();
    return { healthy: reason === "", reason, ...age };
  }

  batchStarted(): void {
    if (this.batches++ === 0 && this.probeSince === undefined) this.busySince = this.now();
  }

  /** `answered`: the engine finished it, whatever came out. */
  batchEnded(answered: boolean): void {
    this.batches--;
    if (answered) this.answered();
  }

  /** Its process ended, and what was in flight is settled. */
  crashed(): void {
    const ends = this.ends();
    const count = Math.max(1, ends - this.seenEnds);
    this.seenEnds = ends;
    const now = this.now();
    this.crashesInRow += count;
    this.isKilled = false;
    const { breakMs, maxCrashes } = this.settings;
    for (let i = 0; i < count; i++) this.crashes.push(now);
    this.crashes = this.crashes.filter((time) => now - time < breakMs);
    clearTimeout(this.delay);
    if (this.leaving.signal.aborted) this.phase = "down";
    else if (this.crashes.length >= maxCrashes) this.enter("broken");
    else {
      this.enter("down");
      const delayMs =
        this.crashesInRow <= 1 ? 0 : Math.min(longestDelayMs, firstDelayMs * 2 ** (this.crashesInRow - 2));
      this.delay = setTimeout(() => void this.probe(), delayMs);
    }
  }

  stop(): void {
    clearInterval(this.timer);
    clearTimeout(this.delay);
    this.leaving.abort();
  }

  private enter(phase: "up" | "down" | "broken"): void {
    if (this.phase === phase) return;
    this.phase = phase;
    this.listener.changed();
  }

  private now(): number {
    return this.awakeMs + Math.min(performance.now() - this.lastTick, 2 * tickMs);
  }

  private answered(): void {
    this.lastAnswer = this.now();
    this.crashesInRow = 0;
    this.isKilled = false;
    this.enter("up");
  }

  private trouble(): string {
    if (this.phase === "broken")
      return `the engine ended ${this.crashes.length} times within ${this.settings.breakMs / 1000} s`;
    if (this.phase === "down") return "the engine is started again";
    if (this.lastAnswer === undefined) return "the engine has not answered yet";
    return this.hanging();
  }

  /** Why the engine counts as hanging; empty: it does not. */
  private hanging(): string {
    if (this.silentTicks > 1) return "the engine's process gives no sign of life";
    if (this.lastAnswer === undefined) return "";
    const now = this.now();
    const probeLimit = Math.max(this.settings.probeMs, slack * this.usualProbeMs);
    if (this.batches === 0 && this.probeSince !== undefined && now - this.probeSince > probeLimit)
      return "the engine does not answer";
    const expected = this.expectedMs();
    if (this.batches === 0 || expected === undefined) return "";
    const limit = Math.min(this.settings.maxJobMs, Math.max(leastOverdueMs, slack * expected));
    return this.unansweredMs(now) > limit ? "the engine does not finish its work" : "";
  }

  private unansweredMs(now: number): number {
    return now - Math.max(this.busySince, this.lastAnswer ?? 0);
  }

  private tick(): void {
    this.awakeMs = this.now();
    this.lastTick = performance.now();
    const { settings, awakeMs: now } = this;
    const processes = this.model.engineProcesses?.() ?? [];
    // Loading a large model may take minutes: the library itself ends a process that is silent meanwhile.
    if (processes.length > 0 && processes.every(({ state }) => state !== "ready")) this.busySince = now;
    const wasDown = this.isDown;
    this.silentTicks = this.isSilent() ? this.silentTicks + 1 : 0;
    if (wasDown && !this.isDown) this.listener.changed();
    if (this.phase === "up" && this.ends() > this.seenEnds) {
      this.listener.crashed(
        new GmeError("GME_ENGINE_CRASHED", "the engine's process ended with nothing to do", { field: "call" }),
      );
      return;
    }
    const hasWork = this.batches > 0 || this.probeSince !== undefined;
    if (hasWork && this.unansweredMs(now) > settings.maxJobMs) this.endProcess();
    const since = now - (this.lastAnswer ?? 0);
    if (this.phase === "up" && !hasWork && since >= settings.probeEveryMs) void this.probe();
    if (this.phase === "broken" && !hasWork && now - (this.crashes.at(-1) ?? 0) >= settings.breakMs) void this.probe();
  }

  private isSilent(): boolean {
    const processes = this.model.engineProcesses?.() ?? [];
    return (
      processes.length > 0 &&
      processes.every(({ state, silentMs }) => state === "ready" && silentMs > this.settings.silentMs)
    );
  }

  private ends(): number {
    return (this.model.engineProcesses?.() ?? []).reduce((sum, { ends }) => sum + ends, 0);
  }

  /** What was with it then fails as after any crash. */
  private endProcess(): void {
    if (this.isKilled) return;
    this.isKilled = true;
    const processes = this.model.engineProcesses?.() ?? [];
    for (const { pid, state } of processes) if (state === "ready" && pid !== undefined) killNow(pid);
    if (processes.length > 0) return;
    const words = `the engine has finished nothing for ${this.settings.maxJobMs / 1000} s`;
    this.listener.stuck(new GmeError("GME_ENGINE_CRASHED", words));
  }

  private async probe(): Promise<void> {
    if (this.probeSince !== undefined || this.leaving.signal.aborted) return;
    const since = this.now();
    const wasUp = this.phase === "up" && this.lastAnswer !== undefined;
    this.probeSince = since;
    if (this.batches === 0) this.busySince = since;
    // Another text each time: the library refuses one that was there when two processes died.
    const text = `health ${++this.probes}`;
    const options: EmbedOptions = { batchSize: 1, keepTogether: true, signal: this.leaving.signal };
    let failure: GmeError | undefined;
    try {
      for await (const { error } of this.model.embedMany([text], options)) failure = error;
    } catch (error) {
      failure = GmeError.from(error);
    }
    this.probeSince = undefined;
    if (this.leaving.signal.aborted) return;
    if (failure !== undefined) this.listener.crashed(failure);
    else {
      const took = this.now() - since;
      if (wasUp) this.usualProbeMs = this.usualProbeMs === 0 ? took : this.usualProbeMs * 0.8 + took * 0.2;
      this.answered();
    }
  }
}

function killNow(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {} // it has ended
}
