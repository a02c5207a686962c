import { Command } from "commander";
import { embedOptions, writeSafetensors } from "../index";
import { embedOptionsOf } from "./embed";
import { addModelFlags, addOptionFlags, type Flags, openModel } from "./model-flags";
import { print, printJson } from "./output";
import { readItemFlags } from "./read-input";
import { stopSignal } from "./signals";

export function inspectStagesCommand(): Command {
  const command = new Command("stages")
    .description("the named tensors of every stage of one item, as a safetensors file")
    .option("--text <T>", "the text; - reads it from stdin")
    .option("--image <F>", "the picture's file; - reads its bytes from stdin")
    .option("--prompt <P>", "the item's instruction")
    .option("--document", "as a document: the default instruction, same as --is-query off")
    .requiredOption("--out <F>", "the .safetensors file to write")
    .option("--json", "list the stages as JSON");
  addModelFlags(addOptionFlags(command, embedOptions));
  return command.action(runStages);
}

async function runStages(flags: Flags): Promise<void> {
  const item = await readItemFlags(flags);
  const model = await openModel(flags, stopSignal());
  try {
    const stages = await model.inspectStages(item, { ...embedOptionsOf(flags), signal: stopSignal() });
    await writeSafetensors(flags.out as string, stages);
    const list = stages.map(({ name, shape }) => ({ name, shape }));
    if (flags.json) await printJson({ file: flags.out, stages: list });
    else for (const { name, shape } of list) await print(`${name}\t[${shape.join(", ")}]\n`);
  } finally {
    await model.close();
  }
}
