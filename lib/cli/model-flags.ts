import { type Command, InvalidArgumentError, Option } from "commander";
import { existsSync } from "node:fs";
import {
  bundledModelPath,
  defaultModel,
  type GmeModel,
  load,
  type LoadOptions,
  type OptionSpec,
  loadOptions,
} from "../index";
import { note, UsageError } from "./output";
import { startProgress } from "./progress";

/** The flags of one command, as the argument parser hands them over. */
export type Flags = Record<string, unknown>;

/** One flag per option of the table, in kebab-case. Functions, signals and what is for programs alone have none. */
export function addOptionFlags(command: Command, table: readonly OptionSpec[]): Command {
  for (const spec of table) {
    if (spec.kind === "function" || spec.kind === "signal" || spec.isFlag === false) continue;
    command.addOption(flagOf(spec));
  }
  return command;
}

function flagOf(spec: OptionSpec): Option {
  const name = spec.name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const shown = spec.default === undefined ? "" : ` (default: ${spec.default === true ? "on" : spec.default})`;
  switch (spec.kind) {
    case "boolean":
      if (spec.default === false) return new Option(`--${name}`, spec.help);
      return new Option(`--${name} <on|off>`, `${spec.help}${shown}`).argParser(readSwitch);
    case "integer":
      return new Option(`--${name} <n>`, `${spec.help}${shown}`).argParser(readInteger);
    case "hosts":
      return new Option(`--${name} [hosts...]`, spec.help);
    case "choice":
      return new Option(`--${name} <${spec.choices?.join("|")}>`, `${spec.help}${shown}`).choices(spec.choices ?? []);
    default:
      return new Option(`--${name} <${spec.placeholder ?? "text"}>`, `${spec.help}${shown}`);
  }
}

function readSwitch(value: string): boolean {
  if (/^(on|true|yes|1)$/i.test(value)) return true;
  if (/^(off|false|no|0)$/i.test(value)) return false;
  throw new InvalidArgumentError("on or off expected.");
}

function readInteger(value: string): number {
  if (!/^-?\d{1,15}(e[0-9])?$/.test(value)) throw new InvalidArgumentError("An integer expected.");
  return Number(value);
}

/** The options of the table among a command's flags. */
export function optionsOf<T extends object>(flags: Flags, table: readonly OptionSpec[]): T {
  const options: Flags = {};
  for (const { name } of table) if (flags[name] !== undefined) options[name] = flags[name];
  return options as T;
}

/** `--model` and every load option. */
export function addModelFlags(command: Command): Command {
  command.option(
    "--model <F>",
    "GGUF file or name of a pulled model (default: GME_MODEL, else the store's default, else the bundled demonstration model)",
  );
  return addOptionFlags(command, loadOptions);
}

/** The model of `--model`, of GME_MODEL, the default of the store, or the bundled one with a notice; loaded. */
export async function openModel(flags: Flags, signal?: AbortSignal): Promise<GmeModel> {
  const { path, options } = await chosenModel(flags);
  const progress = await startProgress("loading", 1, "");
  try {
    return await load(path, { ...options, signal, onProgress: (fraction) => progress.update(fraction) });
  } finally {
    progress.stop();
  }
}

/** The same model by its file or name, and how it is to be loaded: for what loads it later, or elsewhere. */
export async function chosenModel(flags: Flags): Promise<{ path: string; options: LoadOptions }> {
  const path = await modelPath(flags.model as string | undefined);
  const options = optionsOf<LoadOptions>(flags, loadOptions);
  const threads = process.env.GME_THREADS;
  if (options.threads === undefined && threads) {
    if (!/^\d{1,6}$/.test(threads))
      throw new UsageError(`GME_THREADS is ${JSON.stringify(threads.slice(0, 40))}, an integer is expected`);
    options.threads = Number(threads);
  }
  return { path, options };
}

async function modelPath(flag: string | undefined): Promise<string> {
  const named = flag ?? (process.env.GME_MODEL || undefined) ?? (await defaultModel())?.name;
  if (named !== undefined) return named;
  if (!existsSync(bundledModelPath)) throw new UsageError("no model: give --model F or set GME_MODEL");
  note(
    "Using the bundled demonstration model (3 M parameters, made to show the machinery; it is not GME). Choose another with --model or GME_MODEL.",
  );
  return bundledModelPath;
}
