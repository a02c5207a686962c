import { Command } from "commander";
import { type EmbedOptions, embedOptions } from "../index";
import { addModelFlags, addOptionFlags, type Flags, openModel, optionsOf } from "./model-flags";
import { errorJson, exitCodes, printJson, UsageError } from "./output";
import { readItemFlags, readJsonLines } from "./read-input";
import { stopSignal } from "./signals";

/** This command shows the tokenizer itself, so special strings are its tokens unless asked otherwise. */
const tokenOptions = embedOptions
  .filter(({ name }) => name === "specialTokens")
  .map((spec) => ({ ...spec, default: "parse" }));

export function inspectTokensCommand(): Command {
  const command = new Command("tokens")
    .description("token ids of a bare text, without the template, as the model's tokenizer gives them")
    .option("--text <T>", "the text; - reads it from stdin")
    .option("--jsonl", 'one {"text"} per line from stdin to one {"ids"} per line')
    .option("--json", "JSON, which this command always prints");
  addOptionFlags(command, tokenOptions);
  return addModelFlags(command).action(runTokens);
}

async function runTokens(flags: Flags): Promise<void> {
  if (flags.jsonl && flags.text !== undefined)
    throw new UsageError("--jsonl takes its texts from stdin, not from --text");
  const item = flags.jsonl ? undefined : ((await readItemFlags({ text: flags.text })) as { text: string });
  const model = await openModel(flags, stopSignal());
  const { specialTokens = "parse" } = optionsOf<Pick<EmbedOptions, "specialTokens">>(flags, tokenOptions);
  const ids = async (text: string) => Array.from(await model.tokenize(text, { specialTokens, signal: stopSignal() }));
  try {
    if (item === undefined) await tokenizeLines(ids);
    else await printJson({ ids: await ids(item.text) });
  } finally {
    await model.close();
  }
}

async function tokenizeLines(ids: (text: string) => Promise<number[]>): Promise<void> {
  for await (const line of readJsonLines(process.stdin)) {
    const name = "value" in line && line.value.id !== undefined ? { id: line.value.id } : {};
    try {
      if ("error" in line) throw line.error;
      await printJson({ ...name, ids: await ids(line.value.text as string) });
    } catch (error) {
      if (stopSignal().aborted) throw error;
      await printJson({ ...name, error: errorJson(error) });
      process.exitCode = exitCodes.someFailed;
    }
  }
}
