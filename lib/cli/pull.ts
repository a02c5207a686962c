import { Command, Option } from "commander";
import {
  attribution,
  type ConvertType,
  convertTypes,
  knownModels,
  listModels,
  type PulledModel,
  type PullProgress,
  pullModel,
  setDefaultModel,
} from "../index";
import { note, print, printJson, UsageError } from "./output";
import { type Progress, startProgress } from "./progress";
import { stopSignal } from "./signals";

interface PullFlags {
  type?: ConvertType;
  mmproj?: string;
  revision?: string;
  name?: string;
  sha256?: string;
  default?: boolean;
  list?: boolean;
  json?: boolean;
}

export function pullCommand(): Command {
  return new Command("pull")
    .description("download a model into the store: a checkpoint, which is converted, or GGUF files")
    .argument(
      "[model]",
      `${knownModels.map(({ name }) => name).join(", ")}, org/repository, or org/repository:file.gguf`,
    )
    .addOption(
      new Option("--type <type>", "type of the conversion (default: f16), or of the GGUF file to take").choices(
        convertTypes,
      ),
    )
    .option("--mmproj <F>", "the vision tower's file in the repository, where it has several")
    .option("--revision <R>", "branch, tag or commit (default: main)")
    .option("--name <N>", "name in the store (default: the known model's, else the repository's or the file's)")
    .option("--sha256 <hex>", "the sha256 that a single file must have")
    .option("--default", "the model of every command that is given none")
    .option("--list", "what is in the store, and which names are known")
    .option("--json", "the result as JSON")
    .action(runPull);
}

async function runPull(model: string | undefined, flags: PullFlags): Promise<void> {
  const { list, json, default: isDefault, ...options } = flags;
  if (list) {
    if (model !== undefined) throw new UsageError("--list takes no model");
    return listStore(json === true);
  }
  if (model === undefined)
    throw new UsageError(`name a model: ${knownModels.map(({ name }) => name).join(", ")} or org/repository`);
  if (isDefault && (await isStored(model)) && Object.keys(options).length === 0) {
    await setDefaultModel(model);
    return json ? printJson({ name: model, isDefault: true }) : print(`${model} is the default model.\n`);
  }
  const bar = await openBars();
  let pulled: PulledModel;
  try {
    pulled = await pullModel({ model, ...options, onProgress: bar.update, onNote: note, signal: stopSignal() });
  } finally {
    bar.stop();
  }
  if (isDefault) await setDefaultModel(pulled.name);
  await (json
    ? printJson({ ...pulled, isDefault: isDefault === true })
    : print(describePulled(pulled, isDefault === true)));
  noteTerms(pulled);
}

async function isStored(name: string): Promise<boolean> {
  return (await listModels()).some((model) => model.name === name && model.isPresent);
}

/** One bar for the download, one for the conversion. */
async function openBars(): Promise<{ update: (progress: PullProgress) => void; stop(): void }> {
  const labels = { download: "downloading", convert: "converting" } as const;
  const bars = {
    download: undefined as Progress | undefined,
    convert: undefined as Progress | undefined,
  };
  if (process.stderr.isTTY !== true) return { update: () => undefined, stop: () => undefined };
  const start = async (step: PullProgress["step"], total: number) => {
    bars[step] = await startProgress(labels[step], total, "MB");
  };
  const begun = new Set<PullProgress["step"]>();
  return {
    update({ step, done, total }) {
      const megabytes = Math.ceil(total / 1e6);
      if (!begun.has(step)) {
        begun.add(step);
        if (step === "convert") bars.download?.stop();
        void start(step, megabytes);
      }
      bars[step]?.update(Math.floor(done / 1e6), megabytes);
    },
    stop() {
      bars.download?.stop();
      bars.convert?.stop();
    },
  };
}

function describePulled({ name, file, mmproj, bytes, commit, isNew }: PulledModel, isDefault: boolean): string {
  const lines = [`${name}: ${file} (${gigabytes(bytes)}), commit ${commit.slice(0, 12)}`];
  if (mmproj !== undefined) lines.push(`vision tower: ${mmproj}`);
  if (!isNew) lines.push("It was there already and is up to date.");
  lines.push(isDefault ? "It is the default model." : `Use it: gme embed --model ${name} --text "…"`);
  return `${lines.join("\n")}\n`;
}

/** Licence and attribution, once after a pull; and what a digest is worth that only the repository vouches for. */
function noteTerms({ name, repository, licence, isNew }: PulledModel): void {
  if (!isNew) return;
  note(
    `Licence: ${licence ?? "not stated, see the repository"} (${repository}). ${attribution}: show this in what you build with it.`,
  );
  if (!knownModels.some((known) => known.name === name))
    note(`${repository} is not one of the known models: its files are as the repository has them, whoever that is.`);
}

async function listStore(json: boolean): Promise<void> {
  const models = await listModels();
  if (json) return printJson({ models, known: knownModels.map((known) => ({ ...known, types: convertTypes })) });
  const lines = models.map(({ name, isDefault, isPresent, type, bytes, repository, commit }) => {
    const marks = [isDefault && "default", !isPresent && "its file has gone or has changed: pull it again"]
      .filter(Boolean)
      .join(", ");
    return `${name}\t${type ?? "as pulled"}\t${gigabytes(bytes)}\t${repository}@${commit.slice(0, 12)}${marks && `\t${marks}`}`;
  });
  if (models.length === 0) note("The store is empty.");
  const others = knownModels.filter(({ name }) => !models.some((model) => model.name === name));
  for (const { name, about, repository } of others) note(`Not pulled: ${name} (${about}; ${repository})`);
  if (others.length > 0) note(`Types: ${convertTypes.join(", ")}`);
  await print(lines.map((line) => `${line}\n`).join(""));
}

function gigabytes(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
