import { cpus, freemem, totalmem } from "node:os";
import { addonFile, binding } from "./binding";
import { physicalCores, usableCpus } from "./cpus";
import { devicePackage } from "./device-libraries";
import { type DeviceReport, listDevices } from "./devices";
import { GmeError } from "./errors";
import { type GraphicsVendor, graphicsVendors } from "./graphics-cards";
import { currentLibc } from "./platform-package";
import { type ListedModel, listModels } from "./store/model-store";
import { storeFolder } from "./store/store-folders";
import { version } from "./version";

/** What this machine offers, and what is wrong with it. Sizes in bytes. */
export interface Diagnosis {
  readonly version: string;
  readonly node: string;
  readonly platform: { readonly os: string; readonly arch: string; readonly libc: string };
  readonly memory: { readonly total: number; readonly free: number };
  readonly processor: { readonly model: string; readonly cores: number; readonly usable: number };
  /** The native addon; `error`: why it does not load or run here, and what helps. */
  readonly engine: { readonly file?: string; readonly ggml?: string; readonly error?: string };
  /** Absent when the engine does not load or run. */
  readonly devices?: DeviceReport;
  /** Makers of the cards in the machine, whether they can be used or not; known on Linux only. */
  readonly graphicsCards: readonly GraphicsVendor[];
  readonly store: { readonly folder: string; readonly models: readonly ListedModel[]; readonly error?: string };
  /** What to do, in order; empty when nothing is amiss. */
  readonly advice: readonly string[];
}

/** Looks at everything that a model needs to be loaded and run here. Rejects never: what fails is part of the answer. */
export async function diagnose(): Promise<Diagnosis> {
  const { engine, devices } = await tryDevices(tryEngine());
  const found = {
    version,
    node: process.version,
    platform: { os: process.platform, arch: process.arch, libc: currentLibc() },
    memory: { total: totalmem(), free: freemem() },
    processor: { model: cpus()[0]?.model.trim() ?? "", cores: physicalCores(), usable: usableCpus() },
    engine,
    ...(devices && { devices }),
    graphicsCards: graphicsVendors(),
    store: await tryStore(),
  };
  return { ...found, advice: adviceFor(found) };
}

function tryEngine(): Diagnosis["engine"] {
  try {
    const { ggml } = binding().version;
    return { file: addonFile(), ggml };
  } catch (error) {
    return { error: GmeError.from(error).message };
  }
}

/** An engine without kernels for this processor loads, but cannot run anything. */
async function tryDevices(engine: Diagnosis["engine"]): Promise<Pick<Diagnosis, "engine" | "devices">> {
  if (engine.error !== undefined) return { engine };
  try {
    return { engine, devices: await listDevices() };
  } catch (error) {
    return { engine: { ...engine, error: GmeError.from(error).message } };
  }
}

async function tryStore(): Promise<Diagnosis["store"]> {
  const folder = storeFolder();
  try {
    return { folder, models: await listModels() };
  } catch (error) {
    return { folder, models: [], error: GmeError.from(error).message };
  }
}

function adviceFor({ engine, devices, graphicsCards, store }: Omit<Diagnosis, "advice">): string[] {
  const advice: string[] = [];
  if (engine.error !== undefined) advice.push("make the engine work first: see above");
  const usable = devices?.devices.filter(({ software }) => !software) ?? [];
  for (const { path, from, error = "" } of devices?.libraries.filter(({ error }) => error !== undefined) ?? []) {
    const other = from === "GME_BACKEND_PATH" ? "correct GME_BACKEND_PATH" : `remove ${from}`;
    advice.push(
      `${path} is of no use here: ${missingLibraryAdvice(error) ?? "update the driver of the card"}, or ${other}`,
    );
  }
  for (const { path } of idleLibraries(devices))
    advice.push(`${path} loads and finds no device: install or update the driver of the card`);
  if (engine.error === undefined && usable.length === 0) advice.push(...graphicsCards.map(cardAdvice));
  if (store.models.length === 0) advice.push("no model was fetched yet: gme pull gme-2b");
  for (const { name } of store.models.filter(({ isPresent }) => !isPresent)) {
    advice.push(`the file of ${name} is not there any more: gme pull ${name}`);
  }
  return advice;
}

/** CUDA's library loads without a driver too. */
function idleLibraries(report: DeviceReport | undefined) {
  const { devices, libraries } = report ?? { devices: [], libraries: [] };
  return libraries.filter(({ path, error }) => error === undefined && !devices.some(({ library }) => library === path));
}

/** What brings a library that the system's loader did not find; undefined: the reason is another. */
export function missingLibraryAdvice(error: string): string | undefined {
  const missing = /\b(lib(cublas|cublasLt|cudart|cuda|vulkan)\.so(?:\.(\d+))?[\d.]*): cannot open shared object file/;
  const [, file, library, major] = missing.exec(error) ?? [];
  if (file === undefined) return undefined;
  if (library === "cuda") return `${file} is missing: install NVIDIA's driver, which brings it`;
  if (library === "vulkan") return `${file} is missing: install it (Debian, Ubuntu: apt-get install libvulkan1)`;
  const cuda = major === undefined ? "CUDA" : `CUDA ${major}`;
  const folder = "name their folder in LD_LIBRARY_PATH where the system does not find them";
  return `${file} is missing: install the libraries of ${cuda}, from NVIDIA's packages or by pip install nvidia-cublas, and ${folder}`;
}

function cardAdvice(vendor: GraphicsVendor): string {
  const names = { nvidia: "NVIDIA", amd: "AMD", intel: "Intel" } as const;
  const remedy =
    vendor === "nvidia"
      ? `npm install ${devicePackage("cuda")}`
      : "name ggml's Vulkan library in GME_BACKEND_PATH (docs/devices.md)";
  return `the ${names[vendor]} card is not used: ${remedy}`;
}
