import type { ModelInfo } from "../model-info";
import type { BenchWork } from "./bench-work";
import type { FirstVector } from "./first-vector";
import type { BenchMachine } from "./machine";
import type { BenchMemory } from "./memory-watch";
import type { Roofline } from "./roofline";
import type { BenchProfile } from "./stage-shares";

/** Smallest, middle and largest of several measurements. */
export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export interface BenchWorkReport {
  readonly name: Exclude<BenchWork, "first">;
  /** Of one measurement: items, their tokens (template included), image tokens among them. */
  readonly items: number;
  readonly tokens: number;
  readonly imageTokens: number;
  /** Every measurement in its order, and their spread. */
  readonly samples: readonly number[];
  readonly milliseconds: Spread;
  /** At the median. */
  readonly itemsPerSecond: number;
  readonly tokensPerSecond: number;
  readonly profile: BenchProfile;
  /**
   * The least time this machine needs: its operations at the roofline, or the weights that it uses read once from memory, whichever is
   * longer; and which share of the median that is.
   */
  readonly limit: {
    readonly productMilliseconds: number;
    readonly readMilliseconds: number;
    readonly milliseconds: number;
    readonly share: number;
  };
}

/** How even the cost of a picture's token is from the smallest to the largest picture. */
export interface PictureCost {
  readonly pictures: readonly {
    readonly imageTokens: number;
    readonly milliseconds: number;
    readonly perToken: number;
    readonly perTokenWithoutAttention: number;
  }[];
  /** Largest over smallest, less one. */
  readonly variation: number;
  readonly variationWithoutAttention: number;
}

export interface BenchReport {
  readonly date: string;
  readonly machine: BenchMachine;
  readonly model: Pick<ModelInfo, "name" | "file" | "visionFile" | "type" | "parameters" | "fingerprint"> & {
    readonly visionType: string | null;
    /** Of the weights that every text reads, and every picture besides. */
    readonly decoderBytes: number;
    readonly visionBytes: number;
  };
  readonly rounds: number;
  /** One per type of weights; the better of a measurement before the profiled runs and one after them. */
  readonly rooflines: readonly Roofline[];
  /** Load to first vector in a fresh process, the file in the system's cache; absent when it was left out. */
  readonly first?: {
    readonly milliseconds: Spread;
    readonly loadMilliseconds: Spread;
    readonly maxRssBytes: number;
    readonly samples: readonly FirstVector[];
  };
  readonly works: readonly BenchWorkReport[];
  /** With two pictures or more. */
  readonly pictureCost?: PictureCost;
  readonly memory: BenchMemory;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { min: sorted[0], median, max: sorted[sorted.length - 1] };
}

export function pictureCost(works: readonly BenchWorkReport[]): PictureCost | undefined {
  const pictures = works
    .filter(({ name }) => name.startsWith("picture-"))
    .map(({ imageTokens, milliseconds: { median }, profile }) => {
      const perToken = median / imageTokens;
      const withoutAttention = 1 - profile.attentionMilliseconds / profile.milliseconds;
      return { imageTokens, milliseconds: median, perToken, perTokenWithoutAttention: perToken * withoutAttention };
    });
  if (pictures.length < 2) return undefined;
  const variation = (values: number[]) => Math.max(...values) / Math.min(...values) - 1;
  return {
    pictures,
    variation: variation(pictures.map(({ perToken }) => perToken)),
    variationWithoutAttention: variation(pictures.map(({ perTokenWithoutAttention }) => perTokenWithoutAttention)),
  };
}
