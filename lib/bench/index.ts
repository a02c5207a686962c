import { abortError } from "../errors";
import type { GmeInput } from "../input";
import { inspectFile } from "../inspect";
import { type GmeModel, load } from "../model";
import type { LoadOptions } from "../options";
import { type BenchOptions, type BenchPlan, benchPlan } from "./bench-options";
import { type BenchReport, type BenchWorkReport, pictureCost, spreadOf } from "./bench-report";
import { type BenchWork, WorkMaker } from "./bench-work";
import { type FirstVector, firstVector } from "./first-vector";
import { describeMachine } from "./machine";
import { MemoryWatch } from "./memory-watch";
import { type Roofline, roofline } from "./roofline";
import { leastMilliseconds, type PartRooflines, stageShares } from "./stage-shares";

type InnerWork = Exclude<BenchWork, "first">;

interface Samples {
  readonly items: number;
  readonly tokens: number;
  readonly imageTokens: number;
  readonly milliseconds: number[];
}

interface ProfiledRun {
  readonly milliseconds: number;
  readonly stages: Awaited<ReturnType<GmeModel["profile"]>>["stages"];
}

/** Where a run stands: every step is announced, and ends it when the signal says so. */
class Steps {
  private done = 0;

  constructor(
    private readonly total: number,
    private readonly options: BenchOptions,
  ) {}

  next(step: string): void {
    const { signal, onProgress } = this.options;
    if (signal?.aborted) throw abortError(signal);
    onProgress?.({ step, done: this.done++, total: this.total });
  }
}

/**
 * Measures a model on this machine: load to first vector in a fresh process, texts, batches and pictures of exact sizes, by turns and
 * several rounds; then profiled runs of each, between two measurements of the machine's own limits. Takes minutes on a real model.
 * Rejects as `load` and `embed` do.
 */
export async function bench(model: string, options: BenchOptions = {}): Promise<BenchReport> {
  const plan = benchPlan(options);
  const { signal } = options;
  const loadOptions: LoadOptions = { minImageTokens: 256, maxImageTokens: 1280, ...options.load };
  const works = plan.works.filter((work): work is InnerWork => work !== "first");
  const hasFirst = plan.works.includes("first");
  const steps = new Steps(
    (hasFirst ? plan.rounds + 1 : 0) + 1 + works.length * (plan.rounds + plan.profiles) + 2,
    options,
  );
  const watch = new MemoryWatch();
  steps.next("loading");
  const gme = await load(model, { ...loadOptions, signal });
  try {
    const maker = await WorkMaker.create(gme, 1);
    const first = hasFirst ? await measureFirst(model, loadOptions, maker, plan, steps, signal) : undefined;
    const samples = await measureWorks(gme, maker, works, plan, steps, signal);
    watch.stop();
    const { mappedBytes, ownedBytes } = gme.info.memory;
    const memory = watch.report(mappedBytes + ownedBytes);
    const before = await measureRooflines(gme, plan, steps, signal);
    const profiles = await profileWorks(gme, maker, works, plan, steps, signal);
    const after = await measureRooflines(gme, plan, steps, signal);
    const rooflines = { decoder: better(before.decoder, after.decoder), vision: better(before.vision, after.vision) };
    const weights = await weightBytes(gme);
    const reports = works.map((work) =>
      reportOf(work, samples.get(work) as Samples, profiles.get(work) as ProfiledRun, rooflines, weights),
    );
    const { name, file, visionFile, type, parameters, fingerprint, threads } = gme.info;
    return {
      date: new Date().toISOString(),
      machine: describeMachine(threads),
      model: { ...{ name, file, visionFile, type, parameters, fingerprint }, visionType: visionType(gme), ...weights },
      rounds: plan.rounds,
      rooflines: before.decoder === before.vision ? [rooflines.decoder] : Object.values(rooflines),
      ...(first && { first }),
      works: reports,
      pictureCost: pictureCost(reports),
      memory,
    };
  } finally {
    watch.stop();
    await gme.close();
  }
}

/** The first process brings the file into the system's cache and is not counted. */
async function measureFirst(
  model: string,
  { onProgress: _, signal: __, ...load }: LoadOptions,
  maker: WorkMaker,
  { rounds }: BenchPlan,
  steps: Steps,
  signal?: AbortSignal,
): Promise<BenchReport["first"]> {
  const samples: FirstVector[] = [];
  for (let round = 0; round <= rounds; round++) {
    steps.next("load to first vector");
    const text = maker.inputs("short")[0] as string;
    const sample = await firstVector({ model, load, text }, signal);
    if (round > 0) samples.push(sample);
  }
  return {
    milliseconds: spreadOf(samples.map(({ milliseconds }) => milliseconds)),
    loadMilliseconds: spreadOf(samples.map(({ loadMilliseconds }) => loadMilliseconds)),
    maxRssBytes: Math.max(...samples.map(({ maxRssBytes }) => maxRssBytes)),
    samples,
  };
}

/** By turns: what slows the machine down for a while slows down one round of everything. */
async function measureWorks(
  gme: GmeModel,
  maker: WorkMaker,
  works: readonly InnerWork[],
  plan: BenchPlan,
  steps: Steps,
  signal?: AbortSignal,
): Promise<Map<InnerWork, Samples>> {
  const found = new Map<InnerWork, Samples>();
  if (works.length > 0) await gme.embedBatch(maker.inputs("short"), { signal }); // pages of the weights come in
  if (works.some((work) => work.startsWith("picture"))) await gme.embedBatch(maker.inputs("picture-256"), { signal });
  for (let round = 0; round < plan.rounds; round++) {
    for (const work of works) {
      steps.next(`${work}, round ${round + 1} of ${plan.rounds}`);
      for (let i = 0; i < (work === "short" ? plan.shortTexts : 1); i++) {
        const inputs = maker.inputs(work);
        const milliseconds = await timed(() => embedAs(work, gme, inputs, signal));
        const samples = found.get(work);
        if (samples !== undefined) samples.milliseconds.push(milliseconds);
        else
          found.set(work, {
            items: inputs.length,
            ...(await maker.countTokens(inputs)),
            milliseconds: [milliseconds],
          });
      }
    }
  }
  return found;
}

function embedAs(work: InnerWork, gme: GmeModel, inputs: GmeInput[], signal?: AbortSignal): Promise<unknown> {
  return work.startsWith("batch") ? gme.embedBatch(inputs, { signal }) : gme.embed(inputs[0], { signal });
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

async function profileWorks(
  gme: GmeModel,
  maker: WorkMaker,
  works: readonly InnerWork[],
  plan: BenchPlan,
  steps: Steps,
  signal?: AbortSignal,
): Promise<Map<InnerWork, ProfiledRun>> {
  const fastest = new Map<InnerWork, ProfiledRun>();
  for (let i = 0; i < plan.profiles; i++) {
    for (const work of works) {
      steps.next(`${work}, stage by stage`);
      const inputs = maker.inputs(work);
      const start = performance.now();
      const { stages } = await gme.profile(inputs, { signal });
      const milliseconds = performance.now() - start;
      if (milliseconds < (fastest.get(work)?.milliseconds ?? Infinity)) fastest.set(work, { milliseconds, stages });
    }
  }
  return fastest;
}

function visionType(gme: GmeModel): string | null {
  return gme.info.vision ? String(gme.info.visionType ?? gme.info.type) : null;
}

async function measureRooflines(
  gme: GmeModel,
  plan: BenchPlan,
  steps: Steps,
  signal?: AbortSignal,
): Promise<PartRooflines> {
  steps.next("the machine's limits");
  const { type, threads, device, visionDevice } = gme.info;
  const measure = (type: string, device: string) =>
    roofline({ type, device, threads, seconds: plan.rooflineSeconds, signal });
  const decoder = await measure(type, device);
  const tower = { type: visionType(gme) ?? type, device: visionDevice || device };
  const isSame = tower.type === type && tower.device === device;
  return { decoder, vision: isSame ? decoder : await measure(tower.type, tower.device) };
}

function better(a: Roofline, b: Roofline): Roofline {
  const readGigabytesPerSecond = Math.max(a.readGigabytesPerSecond, b.readGigabytesPerSecond);
  return { ...(a.gflops >= b.gflops ? a : b), readGigabytesPerSecond };
}

/** Bytes of the layers; of the embedding table only some rows are read. */
async function weightBytes(gme: GmeModel): Promise<{ decoderBytes: number; visionBytes: number }> {
  const { file, visionFile } = gme.info;
  const sum = { decoderBytes: 0, visionBytes: 0 };
  for (const path of new Set([file, visionFile ?? file])) {
    for (const { name, bytes } of (await inspectFile(path)).tensors) {
      if (path === file && name.startsWith("blk.")) sum.decoderBytes += bytes;
      if (path === visionFile && /^(v|mm)\./.test(name)) sum.visionBytes += bytes;
    }
  }
  return sum;
}

function reportOf(
  name: InnerWork,
  samples: Samples,
  profiled: ProfiledRun,
  rooflines: PartRooflines,
  weights: { decoderBytes: number; visionBytes: number },
): BenchWorkReport {
  const { items, tokens, imageTokens } = samples;
  const milliseconds = spreadOf(samples.milliseconds);
  const seconds = milliseconds.median / 1000;
  const productMilliseconds = leastMilliseconds(profiled.stages, rooflines);
  const bytes = weights.decoderBytes + (imageTokens > 0 ? weights.visionBytes : 0);
  const readMilliseconds = bytes / 1e6 / rooflines.decoder.readGigabytesPerSecond;
  const least = Math.max(productMilliseconds, readMilliseconds);
  return {
    ...{ name, items, tokens, imageTokens, samples: samples.milliseconds, milliseconds },
    itemsPerSecond: items / seconds,
    tokensPerSecond: tokens / seconds,
    profile: stageShares(profiled.stages, profiled.milliseconds, rooflines),
    limit: { productMilliseconds, readMilliseconds, milliseconds: least, share: least / milliseconds.median },
  };
}
