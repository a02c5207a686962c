import { Command } from "commander";
import { removeModel } from "../index";
import { print, printJson } from "./output";

interface RemoveFlags {
  all?: boolean;
  json?: boolean;
}

export function rmCommand(): Command {
  return new Command("rm")
    .description("remove a pulled model: its record and what was converted")
    .argument("<name>", "its name in the store, as gme pull --list shows it")
    .option("--all", "its downloaded files in the Hugging Face cache as well, which other tools may be using")
    .option("--json", "the removed record as JSON")
    .action(runRemove);
}

async function runRemove(name: string, { all = false, json }: RemoveFlags): Promise<void> {
  const model = await removeModel(name, { all });
  const rest = all ? "" : " Its downloaded files stay in the Hugging Face cache; --all removes those as well.";
  await (json ? printJson(model) : print(`${name} is removed.${rest}\n`));
}
