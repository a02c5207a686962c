import { readFileSync } from "node:fs";

/** Memory of the process in bytes. */
export interface BenchMemory {
  /** Before the model was loaded. */
  readonly baselineBytes: number;
  /** Most resident memory at any time, mapped weights included: Linux's VmHWM, else the system's own figure. */
  readonly peakBytes: number;
  readonly maxRssBytes: number;
  /** Bytes of the model's weights, mapped and owned. */
  readonly weightsBytes: number;
  /** Peak beyond the weights' bytes. Negative where weights were never read: of the embedding table only the rows that occur are. */
  readonly beyondWeightsBytes: number;
  /** Most memory that is not mapped from files, sampled while embedding; null where the system does not tell. */
  readonly peakOwnBytes: number | null;
}

const sampleMs = 25;

/** Looks at the process's memory from its making until `stop`. The engine computes on another thread, so samples come while it does. */
export class MemoryWatch {
  private readonly baselineBytes = process.memoryUsage.rss();
  private readonly timer = setInterval(() => this.sample(), sampleMs);
  private peakOwnBytes: number | null = null;

  constructor() {
    this.timer.unref();
    this.sample();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  report(weightsBytes: number): BenchMemory {
    this.sample();
    const { baselineBytes, peakOwnBytes } = this;
    const maxRssBytes = process.resourceUsage().maxRSS * 1024;
    const peakBytes = statusBytes("VmHWM") ?? maxRssBytes;
    return {
      ...{ baselineBytes, peakBytes, maxRssBytes, weightsBytes },
      beyondWeightsBytes: peakBytes - weightsBytes,
      peakOwnBytes,
    };
  }

  private sample(): void {
    const own = statusBytes("RssAnon");
    if (own !== undefined) this.peakOwnBytes = Math.max(this.peakOwnBytes ?? 0, own);
  }
}

/** A field of Linux's /proc/self/status. */
function statusBytes(field: string): number | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const found = new RegExp(`^${field}:\\s*(\\d+) kB$`, "m").exec(readFileSync("/proc/self/status", "latin1"));
    return found === null ? undefined : Number(found[1]) * 1024;
  } catch {
    return undefined;
  }
}
