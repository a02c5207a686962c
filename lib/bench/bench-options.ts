import { badArgument, GmeError } from "../errors";
import type { LoadOptions } from "../options";
import { type BenchWork, benchWorks } from "./bench-work";

export interface BenchProgress {
  /** What is being measured, in a word or two. */
  readonly step: string;
  /** Steps done and in all. */
  readonly done: number;
  readonly total: number;
}

export interface BenchOptions {
  /** How the model is loaded. Pictures may have 256 to 1280 image tokens unless it says otherwise. */
  readonly load?: LoadOptions;
  /** What to measure; everything by default. `picture` stands for all pictures, `text` and `batch` likewise. */
  readonly only?: readonly string[];
  /** How often everything is measured, 1…1000; by turns, not one after the other. Default 3, or 1 when quick. */
  readonly rounds?: number;
  /** One round of the small things: whether it works, not how fast it is. */
  readonly quick?: boolean;
  readonly onProgress?: (progress: BenchProgress) => void;
  readonly signal?: AbortSignal;
}

export interface BenchPlan {
  readonly works: readonly BenchWork[];
  readonly rounds: number;
  /** Different short texts of a round, each a measurement of its own. */
  readonly shortTexts: number;
  /** Profiled runs, of which the fastest counts. */
  readonly profiles: number;
  /** Of each of the two measurements of each roofline. */
  readonly rooflineSeconds: number;
}

const quickWorks: readonly BenchWork[] = ["first", "short", "text-254", "batch-8", "picture-256", "picture-391"];
const optionNames = ["load", "only", "rounds", "quick", "onProgress", "signal"];

export function benchPlan(options: BenchOptions): BenchPlan {
  for (const name of Object.keys(options)) {
    if (!optionNames.includes(name)) throw badArgument("GME_OPTION_INVALID", "options", optionNames.join(", "), name);
  }
  const { quick = false, rounds = quick ? 1 : 3 } = options;
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1000) {
    throw badArgument("GME_OPTION_INVALID", "options.rounds", "an integer from 1 to 1000", rounds);
  }
  const works = options.only === undefined ? (quick ? quickWorks : benchWorks) : chosenWorks(options.only);
  return { works, rounds, shortTexts: quick ? 2 : 8, profiles: quick ? 1 : 2, rooflineSeconds: quick ? 0 : 3 };
}

function chosenWorks(only: readonly string[]): readonly BenchWork[] {
  const isMeant = (work: BenchWork, name: string) => work === name || work.split("-")[0] === name;
  for (const name of only) {
    if (benchWorks.some((work) => isMeant(work, name))) continue;
    const expected = [...benchWorks, "text", "batch", "picture"].join(", ");
    throw new GmeError(
      "GME_OPTION_INVALID",
      `${JSON.stringify(name).slice(0, 60)} is nothing to measure; known: ${expected}`,
      {
        field: "options.only",
        value: name,
        expected,
      },
    );
  }
  return benchWorks.filter((work) => only.some((name) => isMeant(work, name)));
}
