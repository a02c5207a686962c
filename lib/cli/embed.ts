import { Command, Option } from "commander";
import { embedOptions, type EmbedOptions } from "../index";
import { base64, type EmbedFormat, embedFormats, npyFile } from "./embed-formats";
import { embedLines } from "./embed-lines";
import { addModelFlags, addOptionFlags, type Flags, openModel, optionsOf } from "./model-flags";
import { print, UsageError, writeWhole } from "./output";
import { readItemFlags } from "./read-input";
import { stopSignal } from "./signals";

export function embedCommand(): Command {
  const command = new Command("embed")
    .description("embed a text, a picture, or both in one vector")
    .option("--text <T>", "the text; - reads it from stdin")
    .option("--image <F>", "the picture's file; - reads its bytes from stdin")
    .option("--prompt <P>", "this item's instruction")
    .option("--document", "embed as a document: the default instruction, same as --is-query off")
    .option(
      "--jsonl",
      'one item per line from stdin, {"id"?, "text"?, "image"?, "prompt"?}, to one line per item in the same order',
    )
    .addOption(new Option("--format <format>", "json, jsonl, npy or base64").choices(embedFormats).default("json"))
    .option("--out <F>", "write to a file instead of stdout")
    .option("--json", "same as --format json");
  addModelFlags(addOptionFlags(command, embedOptions));
  return command.action(runEmbed);
}

async function runEmbed(flags: Flags): Promise<void> {
  const format = (flags.json ? "json" : flags.format) as EmbedFormat;
  const options = embedOptionsOf(flags);
  if (flags.jsonl && (flags.text ?? flags.image ?? flags.prompt) !== undefined) {
    throw new UsageError("--jsonl takes its items from stdin, not from --text, --image or --prompt");
  }
  if (format === "npy" && flags.out === undefined && process.stdout.isTTY)
    throw new UsageError("npy is binary: give --out F or a pipe");
  const item = flags.jsonl ? undefined : await readItemFlags(flags);
  const model = await openModel(flags, stopSignal());
  try {
    if (item === undefined) await embedLines(model, options, format, flags.out as string | undefined);
    else
      await deliver(
        await model.embed(item, { ...options, signal: stopSignal() }),
        format,
        flags.out as string | undefined,
      );
  } finally {
    await model.close();
  }
}

/** The embed options among the flags; `--document` is `isQuery: false`. */
export function embedOptionsOf(flags: Flags): EmbedOptions {
  const options = optionsOf<EmbedOptions>(flags, embedOptions);
  if (flags.document) options.isQuery = false;
  return options;
}

async function deliver(vector: Float32Array, format: EmbedFormat, out: string | undefined): Promise<void> {
  const data = render(vector, format);
  await (out === undefined ? print(data) : writeWhole(out, data));
}

function render(vector: Float32Array, format: EmbedFormat): string | Uint8Array {
  switch (format) {
    case "npy":
      return npyFile([vector], true, vector.length);
    case "base64":
      return `${base64(vector)}\n`;
    case "json":
    case "jsonl":
      return `${JSON.stringify({ dimensions: vector.length, embedding: Array.from(vector) })}\n`;
  }
}
