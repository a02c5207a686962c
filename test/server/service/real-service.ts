import type { Test } from "tap";
import { type GmeError, type GmeModel, load, type LoadOptions } from "../../../lib";
import { BatchingService } from "../../../lib/server/service/batching-service";
import type { CrashEntry } from "../../../lib/server/service/crash-record";
import { ServerMetrics } from "../../../lib/server/service/metrics";
import type { ServiceSettings } from "../../../lib/server/service/service-settings";
import { model as file } from "../../isolated/engine-setup";

export interface RealService {
  readonly service: BatchingService;
  readonly model: GmeModel;
  readonly crashes: CrashEntry[];
  readonly metrics: ServerMetrics;
  /** Until the model was loaded and had answered. */
  readonly loadMs: number;
  /** Of the engine's process that runs now. */
  pid(): number;
}

/** A service over the demonstration model in a child process, which has answered once; both end with the test. */
export async function openReal(
  t: Test,
  settings: Partial<ServiceSettings> = {},
  options: LoadOptions = { isolate: true },
): Promise<RealService> {
  const start = performance.now();
  const model = await load(file, { threads: 1, device: "cpu", ...options });
  const crashes: CrashEntry[] = [];
  const metrics = new ServerMetrics();
  const service = new BatchingService(model, { ...settings, metrics, onCrash: (entry) => crashes.push(entry) });
  t.teardown(async () => {
    await service.stop(0);
    await model.close();
  });
  await until(() => service.health.healthy);
  const loadMs = performance.now() - start;
  return { service, model, crashes, metrics, loadMs, pid: () => model.engineProcesses()[0].pid as number };
}

/** Milliseconds until it is so; throws after two minutes. */
export async function until(isSo: () => boolean): Promise<number> {
  const start = performance.now();
  while (!isSo()) {
    if (performance.now() - start > 120_000) throw new Error(`not within two minutes: ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now() - start;
}

/** `vector`, or the code of the error. */
export function outcomeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "vector",
    ({ code }: GmeError) => code,
  );
}
