import type { EmbedProfile } from "../model-work";
import type { Roofline } from "./roofline";

/** A stage beside the roofline. */
export interface BenchStage {
  readonly name: string;
  readonly runs: number;
  readonly milliseconds: number;
  /** 1e9 multiplications and additions; 0 where none are counted. */
  readonly gflop: number;
  /** Per second; null without operations. */
  readonly gflops: number | null;
  /** Of the roofline of the type of this part's weights, 1 being all of it; null without operations. */
  readonly share: number | null;
}

/** One profiled run: the fastest, where there were several. */
export interface BenchProfile {
  /** Wall time of the run, and what lies between its stages. */
  readonly milliseconds: number;
  readonly otherMilliseconds: number;
  readonly gflop: number;
  readonly gflops: number;
  readonly share: number;
  /** Of all stages whose name ends in ".attention". */
  readonly attentionMilliseconds: number;
  readonly stages: readonly BenchStage[];
}

/** The rooflines of the decoder's and the tower's types of weights; the same one where the types are. */
export interface PartRooflines {
  readonly decoder: Roofline;
  readonly vision: Roofline;
}

export function rooflineOf(stage: string, rooflines: PartRooflines): Roofline {
  return stage.startsWith("vision.") ? rooflines.vision : rooflines.decoder;
}

export function stageShares(
  stages: EmbedProfile["stages"],
  milliseconds: number,
  rooflines: PartRooflines,
): BenchProfile {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const gflop = sum(stages.map(({ flop }) => flop / 1e9));
  return {
    milliseconds,
    otherMilliseconds: Math.max(0, milliseconds - sum(stages.map((stage) => stage.milliseconds))),
    gflop,
    gflops: gflop / (milliseconds / 1000),
    share: leastMilliseconds(stages, rooflines) / milliseconds,
    attentionMilliseconds: sum(
      stages.filter(({ name }) => name.endsWith(".attention")).map((stage) => stage.milliseconds),
    ),
    stages: stages.map(({ name, runs, milliseconds, flop }) => {
      const gflops = flop > 0 ? flop / 1e6 / milliseconds : null;
      const share = gflops === null ? null : gflops / rooflineOf(name, rooflines).gflops;
      return { name, runs, milliseconds, gflop: flop / 1e9, gflops, share };
    }),
  };
}

/** Milliseconds that the stages' operations would take at the roofline. */
export function leastMilliseconds(stages: EmbedProfile["stages"], rooflines: PartRooflines): number {
  return stages.reduce((total, { name, flop }) => total + flop / 1e6 / rooflineOf(name, rooflines).gflops, 0);
}
