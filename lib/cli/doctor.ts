import { Command } from "commander";
import { type Device, type Diagnosis, diagnose, printable } from "../index";
import { exitCodes, note, print, printJson } from "./output";

export function doctorCommand(): Command {
  return new Command("doctor")
    .description("what this machine offers for embedding, and what is wrong with it")
    .option("--json", "everything as one JSON object")
    .addHelpText("after", "\nExit codes: 0 a model can be loaded and run here, 1 the engine does not load or run here.")
    .action(runDoctor);
}

async function runDoctor({ json }: { json?: boolean }): Promise<void> {
  if (!json && process.env.GME_BACKEND_PATH) note("trying the libraries of GME_BACKEND_PATH …");
  const found = await diagnose();
  await (json ? printJson(found) : print(`${describeMachine(found).join("\n")}\n`));
  if (found.engine.error !== undefined) process.exitCode = exitCodes.failed;
}

function describeMachine(found: Diagnosis): string[] {
  const { os, arch, libc } = found.platform;
  const { model, cores, usable } = found.processor;
  const kernels =
    found.devices === undefined ? "" : `, kernels ${found.devices.kernels}, ggml's ${found.devices.processor}`;
  return [
    row("gme-embed", `${found.version}, Node ${found.node}, ${[os, arch, libc].filter(Boolean).join(" ")}`),
    ...rows("engine", engineLines(found)),
    row("processor", `${printable(model)}, ${cores} cores for ${usable} threads${kernels}`),
    row("memory", `${gigabytes(found.memory.total)}, ${gigabytes(found.memory.free)} free`),
    ...rows("devices", deviceLines(found)),
    ...rows("models", storeLines(found)),
    ...rows("advice", found.advice.length === 0 ? ["nothing is amiss"] : found.advice),
  ];
}

function engineLines({ engine }: Diagnosis): string[] {
  if (engine.error !== undefined) return engine.error.split("\n");
  return [`${printable(engine.file ?? "")}, ggml ${engine.ggml}`];
}

function deviceLines({ devices, graphicsCards }: Diagnosis): string[] {
  if (devices === undefined) return ["not known without the engine"];
  const cards = graphicsCards.length === 0 ? "" : ` (cards in the machine: ${graphicsCards.join(", ")})`;
  const lines = devices.devices.map(describeDevice);
  const failed = devices.libraries.filter(({ error }) => error !== undefined);
  return [
    ...(lines.length > 0 ? lines : [`none beside the processor${cards}`]),
    ...failed.map(({ path, from, error }) => `not used: ${printable(path)} of ${from}: ${printable(error ?? "")}`),
  ];
}

function describeDevice({ name, description, id, memoryFree, memoryTotal, discrete, software }: Device): string {
  const kind = software ? "software, only when named" : discrete ? "memory of its own" : "shares the memory";
  const memory = memoryTotal === 0 ? "memory unknown" : `${gigabytes(memoryFree)} of ${gigabytes(memoryTotal)} free`;
  return [name, printable(description), id, memory, kind].filter(Boolean).join(", ");
}

function storeLines({ store }: Diagnosis): string[] {
  const names = store.models.map(
    ({ name, isPresent }) => `${printable(name)}${isPresent ? "" : " (its file is gone)"}`,
  );
  const error = store.error === undefined ? [] : [store.error];
  return [`${printable(store.folder)}: ${names.length === 0 ? "none" : names.join(", ")}`, ...error];
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
const row = (title: string, text: string): string => `${title.padEnd(11)}${text}`;
const rows = (title: string, texts: readonly string[]): string[] =>
  texts.map((text, i) => row(i === 0 ? title : "", text));
