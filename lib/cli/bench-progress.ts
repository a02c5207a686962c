import type { SingleBar } from "cli-progress";
import type { BenchProgress } from "../index";
import { note } from "./output";

const linesEveryMs = 10_000;

/** A bar that names the step on a terminal's stderr; elsewhere a line now and then, once it takes longer. */
export async function startBenchProgress(): Promise<{ step: (progress: BenchProgress) => void; stop(): void }> {
  if (process.stderr.isTTY !== true) return lines();
  const { SingleBar, Presets } = await import("cli-progress");
  const format = "{bar} {value}/{total} {step}";
  const bar: SingleBar = new SingleBar(
    { format, stream: process.stderr, hideCursor: true, clearOnComplete: true },
    Presets.shades_classic,
  );
  let isStarted = false;
  return {
    step({ step, done, total }) {
      if (!isStarted) bar.start(total, done, { step });
      isStarted = true;
      bar.update(done, { step });
    },
    stop: () => isStarted && bar.stop(),
  };
}

function lines() {
  let last = performance.now();
  return {
    step({ step, done, total }: BenchProgress) {
      if (performance.now() - last < linesEveryMs) return;
      last = performance.now();
      note(`${done}/${total} ${step}`);
    },
    stop: () => undefined,
  };
}
