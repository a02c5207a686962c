import type { SingleBar } from "cli-progress";
import { Command, Option } from "commander";
import {
  convert,
  type ConvertProgress,
  type ConvertSummary,
  type ConvertType,
  convertTypes,
  type OptionSpec,
} from "../index";
import { addOptionFlags } from "./model-flags";
import { print, printJson, UsageError } from "./output";
import { stopSignal } from "./signals";

/** Flags about the adapter and the way in which it was trained. */
const adapterOptions: readonly OptionSpec[] = [
  { name: "lora", kind: "string", placeholder: "DIR", help: "merge this LoRA adapter into the weights of a folder" },
  {
    name: "positions",
    kind: "choice",
    choices: ["sequential", "mrope"],
    help: "the file's positions (default: mrope with --lora, else sequential; a pair's own)",
  },
  {
    name: "loaderResize",
    kind: "boolean",
    help: "the file resizes pictures twice (default: off with --lora, else on; a pair's own)",
  },
];

interface ConvertFlags {
  out: string;
  type?: ConvertType;
  visionType?: ConvertType;
  split?: boolean;
  name?: string;
  lora?: string;
  positions?: "sequential" | "mrope";
  loaderResize?: boolean;
  force?: boolean;
  json?: boolean;
}

export function convertCommand(): Command {
  const command = new Command("convert")
    .description(
      "a Hugging Face folder, a GGUF file, or llama.cpp's decoder and mmproj files, to one GGUF file or a pair",
    )
    .argument("<source...>", "DIR, or one.gguf, or decoder.gguf mmproj.gguf")
    .requiredOption("-o, --out <F>", "the GGUF file to write")
    .addOption(
      new Option(
        "--type <type>",
        "type of the matrices (default: f16; GGUF files keep theirs); the rest is f32",
      ).choices(convertTypes),
    )
    .addOption(
      new Option(
        "--vision-type <type>",
        "type of the vision tower's matrices (default: the type; q8_0 beside quantised ones)",
      ).choices(convertTypes),
    )
    .option("--split", "write llama.cpp's two files: F, and the tower as mmproj-F beside it")
    .option("--name <T>", "the model's name in the file (default: the folder's name)");
  return addOptionFlags(command, adapterOptions)
    .option("--force", "overwrite an existing file")
    .option("--json", "the summary as JSON")
    .action(runConvert);
}

async function runConvert(sources: string[], flags: ConvertFlags): Promise<void> {
  if (sources.length > 2) throw new UsageError("give one folder, one file, or the two files of a pair");
  const source = sources.length === 2 ? ([sources[0], sources[1]] as const) : sources[0];
  const bar = await startBar();
  let summary: ConvertSummary;
  try {
    const { out: target, json: _, ...options } = flags;
    summary = await convert({ source, target, ...options, onProgress: bar.update, signal: stopSignal() });
  } finally {
    bar.stop();
  }
  await (flags.json ? printJson(summary) : print(describeSummary(summary)));
}

/** Tensor name, MB/s and time left, on a terminal. */
async function startBar(): Promise<{ update?: (progress: ConvertProgress) => void; stop(): void }> {
  if (process.stderr.isTTY !== true) return { stop: () => undefined };
  const { SingleBar, Presets } = await import("cli-progress");
  const format = "{bar} {percentage}% {speed} MB/s, {eta_formatted} left  {tensor}";
  const options = { format, stream: process.stderr, hideCursor: true, clearOnComplete: true, etaBuffer: 50 };
  const bar: SingleBar = new SingleBar(options, Presets.shades_classic);
  const start = performance.now();
  let isStarted = false;
  return {
    update({ tensor, done, total }) {
      if (!isStarted) bar.start(total, 0, { tensor, speed: "0" });
      isStarted = true;
      const speed = (done / 1e3 / Math.max(1, performance.now() - start)).toFixed(0);
      bar.update(done, { tensor, speed });
    },
    stop: () => bar.stop(),
  };
}

function describeSummary({
  file,
  visionFile,
  bytes,
  tensors,
  parameters,
  types,
  fellBack,
  unneeded,
  merged,
  positions,
  loaderResize,
  seconds,
}: ConvertSummary): string {
  const mix = Object.entries(types).map(([type, { tensors, bytes }]) => `${tensors} ${type} (${megabytes(bytes)})`);
  const lines = [
    `${file}${visionFile === undefined ? "" : ` and ${visionFile}`}: ${megabytes(bytes)}, ${parameters.toLocaleString("en")} parameters, ${tensors} tensors: ${mix.join(", ")}`,
    "Norms, biases and the patch embedding are f32 whatever the type.",
  ];
  for (const { from, to, tensors } of fellBack)
    lines.push(`${tensors} matrices are ${to}, since their rows are no whole blocks of ${from}.`);
  if (unneeded.length > 0) lines.push(`Left out, since no embedding depends on it: ${unneeded.join(", ")}`);
  if (merged !== undefined) {
    lines.push(...describeMerged(merged));
    lines.push(
      `The file says positions ${positions}, ${loaderResize ? "two resizes" : "one resize"} of pictures; SWIFT trains with mrope and one.`,
    );
  }
  lines.push(`Done in ${seconds.toFixed(1)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s.`);
  return `${lines.join("\n")}\n`;
}

function describeMerged({ folder, base, targets, ranks, ignored }: NonNullable<ConvertSummary["merged"]>): string[] {
  const count = Object.values(targets).reduce((sum, n) => sum + n, 0);
  const list = Object.entries(targets).map(([target, n]) => `${target} ${n}`);
  const trained = base === undefined ? "" : `, trained on ${base}`;
  const lines = [`Merged ${folder}${trained}: ${count} matrices of rank ${ranks.join(", ")}: ${list.join(", ")}`];
  if (ignored.length > 0) lines.push(`Not merged, since no embedding depends on it: ${ignored.join(", ")}`);
  lines.push("If this model is distributed, its name must begin with GME, as GME's card asks (--name).");
  return lines;
}

function megabytes(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(2)} MB`;
}
