import { binding } from "../binding";
import { physicalCores, usableCpus } from "../cpus";
import { prepareDevices } from "../devices";
import { abortError } from "../errors";
import { startJob } from "../embed-run";
import { maxThreads, type OptionSpec, readOptions } from "../options";
import { untilAborted } from "../queue";

export interface RooflineOptions {
  /** Type of the weights: f32, f16, bf16, q8_0, q4_0, q4_k, … Default f16. */
  type?: string;
  /** Where to measure: `cpu`, or a device as `listDevices` names it. Default `cpu`. */
  device?: string;
  /** 1…512, then limited to the CPUs. Default: physical cores, as for a model. */
  threads?: number;
  /** About how long to measure, 0…600; 0: the small sizes once. Default 4. */
  seconds?: number;
  signal?: AbortSignal;
}

/** What the machine does at most, by measurement. */
export interface Roofline {
  readonly type: string;
  /** `cpu`, or the device that was measured. */
  readonly device: string;
  readonly threads: number;
  /** 1e9 multiplications and additions per second of ggml's fastest matrix product by weights of `type`. */
  readonly gflops: number;
  /** Its shape: weights [rows, columns] times `tokens` rows. */
  readonly weights: readonly [number, number];
  readonly tokens: number;
  /** In a layout that ggml repacks such weights into on this machine; false: as they are in the file. */
  readonly repacked: boolean;
  /** 1e9 bytes per second that all threads together read from memory, or the device from its own. */
  readonly readGigabytesPerSecond: number;
}

const rooflineOptions: readonly OptionSpec[] = [
  { name: "type", kind: "string", default: "f16", help: "type of the weights" },
  { name: "device", kind: "string", default: "cpu", help: "where: cpu, or a device" },
  { name: "threads", kind: "integer", min: 1, max: maxThreads, help: "threads (default: physical cores)" },
  { name: "seconds", kind: "integer", min: 0, max: 600, default: 4, help: "about how long to measure" },
  { name: "signal", kind: "signal", help: "stops measuring" },
];

/**
 * Measures the machine's own limits: ggml's matrix product in several sizes, weights and rows random, f32 accumulation, best of all runs;
 * and the reading of a buffer larger than the caches; on a device its products and its memory. Long texts and pictures are bound by the first, single short texts by the second.
 */
export async function roofline(options?: RooflineOptions): Promise<Roofline> {
  const read = readOptions<RooflineOptions & Required<Pick<RooflineOptions, "type" | "device" | "seconds">>>(
    rooflineOptions,
    options,
  );
  const { type, device, seconds, signal } = read;
  const threads = Math.min(read.threads ?? physicalCores(), usableCpus());
  if (signal?.aborted) throw abortError(signal);
  await prepareDevices(device);
  const measured = await untilAborted(
    startJob(() => binding().roofline(type, { device, threads, seconds })),
    signal,
  );
  return { type, device, threads, ...measured };
}
