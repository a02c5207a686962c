import { Command, Option } from "commander";
import {
  bench,
  type BenchOptions,
  benchModel,
  type BenchShape,
  benchShapes,
  benchWorks,
  type ConvertType,
  convertTypes,
  type LoadOptions,
} from "../index";
import { startBenchProgress } from "./bench-progress";
import { benchTable } from "./bench-table";
import { addModelFlags, chosenModel, type Flags } from "./model-flags";
import { print, printJson, UsageError } from "./output";
import { stopSignal } from "./signals";

export function benchCommand(): Command {
  const command = new Command("bench")
    .description(
      "speed on this machine: load to first vector, texts, batches and pictures of exact sizes; every stage beside the machine's own limits",
    )
    .addOption(
      new Option(
        "--synthetic <shape>",
        "instead of a model: random weights of this shape, made once in the store's folder",
      ).choices(benchShapes),
    )
    .addOption(
      new Option("--type <type>", "with --synthetic: type of the matrices (default: f16)").choices(convertTypes),
    )
    .option("--only <work...>", `what to measure: ${benchWorks.join(", ")}; or text, batch, picture (default: all)`)
    .option("--rounds <n>", "how often everything is measured, by turns (default: 3)")
    .option("--quick", "one round of the small things: whether it works, not how fast it is")
    .option("--json", "all figures as JSON");
  return addModelFlags(command).action(runBench);
}

async function runBench(flags: Flags): Promise<void> {
  const rounds = readRounds(flags.rounds as string | undefined);
  if (flags.synthetic !== undefined && flags.model !== undefined)
    throw new UsageError("--model and --synthetic exclude each other");
  if (flags.type !== undefined && flags.synthetic === undefined) throw new UsageError("--type goes with --synthetic");
  const { path, load } = flags.synthetic === undefined ? await namedModel(flags) : await syntheticModel(flags);
  const progress = await startBenchProgress();
  try {
    const options: BenchOptions = {
      ...{ load, rounds, signal: stopSignal(), onProgress: progress.step },
      only: flags.only as string[] | undefined,
      quick: flags.quick as boolean | undefined,
    };
    const report = await bench(path, options);
    progress.stop();
    await (flags.json ? printJson(report) : print(benchTable(report)));
  } finally {
    progress.stop();
  }
}

function readRounds(given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const rounds = /^\d{1,4}$/.test(given) ? Number(given) : 0;
  if (rounds < 1 || rounds > 1000) throw new UsageError("--rounds takes an integer from 1 to 1000");
  return rounds;
}

async function namedModel(flags: Flags): Promise<{ path: string; load: LoadOptions }> {
  const { path, options } = await chosenModel(flags);
  return { path, load: options };
}

/** Random weights cost what real ones cost: that is all that is measured here. */
async function syntheticModel(flags: Flags): Promise<{ path: string; load: LoadOptions }> {
  const shape = flags.synthetic as BenchShape;
  const { options } = await chosenModel({ ...flags, model: shape });
  const progress = await startBenchProgress();
  try {
    const onProgress = (done: number, total: number) =>
      progress.step({
        step: `making random ${shape} weights (MB)`,
        done: Math.round(done / 1e6),
        total: Math.round(total / 1e6),
      });
    const path = await benchModel(shape, {
      type: flags.type as ConvertType | undefined,
      onProgress,
      signal: stopSignal(),
    });
    return { path, load: options };
  } finally {
    progress.stop();
  }
}
