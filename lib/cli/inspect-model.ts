import { Command } from "commander";
import { inspectFile } from "../index";
import { print, printJson } from "./output";

export function inspectModelCommand(): Command {
  return new Command("model")
    .description("keys, tensors, sizes, type mix and defaults in force of a GGUF file")
    .argument("<F>", "the GGUF file")
    .option("--json", "machine-readable")
    .action(async (file: string, flags: { json?: boolean }) => {
      const report = await inspectFile(file);
      if (flags.json) await printJson(report);
      else await print(`${JSON.stringify(report, null, 2)}\n`);
    });
}
