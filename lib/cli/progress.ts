import type { SingleBar } from "cli-progress";

/** A bar on a terminal's stderr; nothing elsewhere. */
export interface Progress {
  update(done: number, total?: number): void;
  stop(): void;
}

/** `unit` names what is counted; a total of 1 is shown as per cent. */
export async function startProgress(label: string, total: number, unit: string): Promise<Progress> {
  if (process.stderr.isTTY !== true) return { update: () => undefined, stop: () => undefined };
  const { SingleBar, Presets } = await import("cli-progress");
  const counts = total === 1 ? "{percentage}%" : `{value}/{total} ${unit}`;
  const bar: SingleBar = new SingleBar(
    {
      format: `${label} {bar} ${counts}`,
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
      etaBuffer: 50,
    },
    Presets.shades_classic,
  );
  bar.start(total, 0);
  return {
    update(done, newTotal) {
      if (newTotal !== undefined) bar.setTotal(newTotal);
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}
