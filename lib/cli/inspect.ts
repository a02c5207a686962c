import { Command } from "commander";
import { imageOptions, inspectImage, type ImageOptions } from "../index";
import { inspectModelCommand } from "./inspect-model";
import { inspectStagesCommand } from "./inspect-stages";
import { inspectTokensCommand } from "./inspect-tokens";
import { addOptionFlags, type Flags, optionsOf } from "./model-flags";
import { printJson } from "./output";

export function inspectCommand(): Command {
  return new Command("inspect")
    .description("look inside a model file, a text's tokens, a picture's sizes, or the stages of an embedding")
    .addCommand(inspectModelCommand())
    .addCommand(inspectTokensCommand())
    .addCommand(inspectImageCommand())
    .addCommand(inspectStagesCommand());
}

function inspectImageCommand(): Command {
  const command = new Command("image")
    .description("the sizes a picture passes through, widths first; gridThw is t,h,w in patches")
    .argument("<F>", "the picture's file")
    .option("--json", "JSON, which this command always prints");
  addOptionFlags(command, imageOptions);
  return command.action(async (file: string, flags: Flags) => {
    await printJson(await inspectImage(file, optionsOf<ImageOptions>(flags, imageOptions)));
  });
}
