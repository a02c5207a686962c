import { resolve } from "node:path";
import { badArgument } from "../errors";
import { GmeModel } from "../model";
import { loadOptions, type OptionSpec, readOptions, unknownName } from "../options";
import { defaultPassageLength, defaultPassageOverlap } from "./file-plan";
import type { CheckOptions } from "./index-check";
import type { PruneOptions } from "./index-prune";
import type {
  AddFilesOptions,
  AddOptions,
  EntriesOptions,
  OpenIndexOptions,
  SearchOptions,
  Selection,
  ViewOptions,
} from "./index-types";

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
    default: defaultPassageLength,
    help: "characters of a passage of a long text",
  },
  {
    name: "passageOverlap",
    kind: "integer",
    min: 0,
    max: 50_000,
    default: defaultPassageOverlap,
    help: "characters that a passage shares with the one before it",
  },
  { name: "retryFailed", kind: "boolean", default: false, help: "try unchanged files again that failed before" },
  { name: "maxErrors", kind: "integer", min: 0, max: 1e9, help: "stop after more failures than this" },
];

const signalOption: OptionSpec = { name: "signal", kind: "signal", help: "stops the call; what was embedded is kept" };
const progressOption: OptionSpec = { name: "onProgress", kind: "function", help: "called with the run's counts" };
const eventOption: OptionSpec = { name: "onEvent", kind: "function", help: "called with each failed or skipped file" };

export function readAddOptions(given: unknown): AddOptions {
  return readOptions<AddOptions>([progressOption, signalOption], given);
}

export function readCheckOptions(given: unknown): CheckOptions {
  return readOptions<CheckOptions>([progressOption, signalOption], given);
}

export function readPruneOptions(given: unknown): PruneOptions {
  const { paths, ...rest } = objectOf<PruneOptions>(given);
  const force: OptionSpec = { name: "force", kind: "boolean", default: false, help: "prune all the same" };
  const read = readOptions<PruneOptions>([force, signalOption], rest);
  return { ...read, ...(paths !== undefined && { paths: readPaths(paths).map((path) => resolve(path)) }) };
}

export function readEntriesOptions(given: unknown): EntriesOptions {
  const where: OptionSpec = { name: "where", kind: "string", help: "SQL over the columns" };
  const vectors: OptionSpec = { name: "vectors", kind: "boolean", help: "with the embeddings" };
  const thumbnails: OptionSpec = { name: "thumbnails", kind: "boolean", help: "with the thumbnails" };
  return readOptions<EntriesOptions>([where, vectors, thumbnails], given);
}

const searchOptions: readonly OptionSpec[] = [
  { name: "path", kind: "string", help: "a glob on the rows' paths" },
  { name: "where", kind: "string", help: "SQL over the columns" },
  { name: "instruction", kind: "string", help: "the query's instruction" },
  { name: "exact", kind: "boolean", help: "compare with every row" },
  { name: "thumbnails", kind: "boolean", help: "thumbnails with the results" },
  signalOption,
];

/** Names and plain types; what a query, kind, limit or vector may be is checked by the search itself. */
export function readSearchOptions(given: unknown): SearchOptions {
  const { image, embedding, kind, limit, minScore, ...rest } = objectOf<SearchOptions>(given);
  const names = ["image", "embedding", "kind", "limit", "minScore"];
  const known = [...searchOptions.map(({ name }) => name), ...names];
  for (const name of Object.keys(rest))
    if (!known.includes(name)) throw unknownName("GME_OPTION_INVALID", "option", `options.${name}`, name, known);
  return { ...readOptions<SearchOptions>(searchOptions, rest), image, embedding, kind, limit, minScore };
}

export function readViewOptions(given: unknown): ViewOptions {
  const side: OptionSpec = { name: "side", kind: "integer", min: 16, max: 4_096, help: "pixels of the longer side" };
  return readOptions<ViewOptions>([side, signalOption], given);
}

export function readSelection(given: unknown): Selection {
  const { keys, paths, where, ...rest } = objectOf<Selection>(given);
  readOptions([], rest);
  for (const [name, list] of Object.entries({ keys, paths }))
    if (list !== undefined && !(Array.isArray(list) && list.every((item) => typeof item === "string")))
      throw badArgument("GME_INPUT_INVALID", `selection.${name}`, "an array of strings", list);
  if (where !== undefined && typeof where !== "string")
    throw badArgument("GME_INPUT_INVALID", "selection.where", "a string", where);
  return { keys, paths, where };
}

function objectOf<T extends object>(given: unknown): T {
  if (given === undefined) return {} as T;
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw badArgument("GME_OPTION_INVALID", "options", "an object", given);
  return given as T;
}

export function readAddFilesOptions(given: unknown): AddFilesOptions {
  const { exclude, ...rest } = objectOf<AddFilesOptions>(given);
  if (exclude !== undefined && !(Array.isArray(exclude) && exclude.every((pattern) => typeof pattern === "string")))
    throw badArgument("GME_OPTION_INVALID", "options.exclude", "an array of patterns", exclude);
  const read = readOptions<AddFilesOptions>([...addFilesOptions, progressOption, eventOption, signalOption], rest);
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
  const { model, modelOptions, ...rest } = objectOf<OpenIndexOptions>(given);
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
