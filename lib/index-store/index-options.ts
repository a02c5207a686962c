import { badArgument } from "../errors";
import { GmeModel } from "../model";
import { loadOptions, type OptionSpec, readOptions } from "../options";
import type { AddFilesOptions, OpenIndexOptions } from "./index-types";

/** The options of addFiles that are flags of `gme index`. */
export const addFilesOptions: readonly OptionSpec[] = [
  { name: "followSymlinks", kind: "boolean", default: false, help: "follow symbolic links (loops are safe)" },
  { name: "hidden", kind: "boolean", default: false, help: "take files and folders whose name begins with a dot" },
  {
    name: "captions",
    kind: "boolean",
    default: true,
    help: "cat.txt or cat.jpg.txt beside cat.jpg is its caption, embedded with it in one vector",
  },
  {
    name: "textColumn",
    kind: "string",
    placeholder: "NAME",
    help: "column of texts in JSONL and CSV files (default: text, caption or content)",
  },
  {
    name: "imageColumn",
    kind: "string",
    placeholder: "NAME",
    help: "column of pictures' paths in JSONL and CSV files (default: image or file_name)",
  },
  {
    name: "passageLength",
    kind: "integer",
    min: 100,
    max: 100_000,
    default: 1_200,
    help: "characters of a passage of a long text",
  },
  {
    name: "passageOverlap",
    kind: "integer",
    min: 0,
    max: 50_000,
    default: 200,
    help: "characters that a passage shares with the one before it",
  },
  { name: "retryFailed", kind: "boolean", default: false, help: "try unchanged files again that failed before" },
  { name: "maxErrors", kind: "integer", min: 0, max: 1e9, help: "stop after more failures than this" },
];

const functionOptions: readonly OptionSpec[] = [
  { name: "onProgress", kind: "function", help: "called with the run's counts" },
  { name: "onEvent", kind: "function", help: "called with each failed or skipped file" },
  { name: "signal", kind: "signal", help: "stops the run; what was embedded is kept" },
];

export function readAddFilesOptions(given: unknown): AddFilesOptions {
  const { exclude, ...rest } = (given ?? {}) as AddFilesOptions;
  if (given !== undefined && (typeof given !== "object" || given === null))
    throw badArgument("GME_OPTION_INVALID", "options", "an object", given);
  if (exclude !== undefined && !(Array.isArray(exclude) && exclude.every((pattern) => typeof pattern === "string")))
    throw badArgument("GME_OPTION_INVALID", "options.exclude", "an array of patterns", exclude);
  const read = readOptions<AddFilesOptions>([...addFilesOptions, ...functionOptions], rest);
  const { passageLength = 0, passageOverlap = 0 } = read;
  if (passageOverlap * 2 > passageLength)
    throw badArgument("GME_OPTION_INVALID", "options.passageOverlap", `at most half of passageLength (${passageLength})`, passageOverlap); // biome-ignore format: one line says it
  return { ...read, ...(exclude !== undefined && { exclude }) };
}

export function readPaths(paths: unknown): readonly string[] {
  const isPath = (path: unknown) => typeof path === "string" && path !== "" && !path.includes("\0");
  if (!Array.isArray(paths) || paths.length === 0 || !paths.every(isPath))
    throw badArgument("GME_INPUT_INVALID", "paths", "an array of paths", paths);
  return paths;
}

export function readOpenOptions(given: unknown): OpenIndexOptions {
  const { model, modelOptions, ...rest } = (given ?? {}) as OpenIndexOptions;
  const plain = readOptions<OpenIndexOptions>(
    [
      { name: "readOnly", kind: "boolean", default: false, help: "only search, stats, check and export" },
      { name: "signal", kind: "signal", help: "stops opening" },
    ],
    rest,
  );
  if (model !== undefined && !(model instanceof GmeModel) && (typeof model !== "string" || model === ""))
    throw badArgument(
      "GME_OPTION_INVALID",
      "options.model",
      "a GmeModel, a GGUF file or the name of a pulled model",
      model,
    );
  if (modelOptions !== undefined) readOptions(loadOptions, modelOptions);
  return { ...plain, ...(model !== undefined && { model }), ...(modelOptions !== undefined && { modelOptions }) };
}
