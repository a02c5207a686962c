import { dirname } from "node:path";
import { addonFile, binding } from "./binding";
import { type DeviceLibrarySource, findDeviceLibraries } from "./device-libraries";
import { tryApart } from "./device-trial";
import { GmeError, printable } from "./errors";

/** A device that a model can be loaded on, as `load({ device })` names it. */
export interface Device {
  /** `cuda:0`, `vulkan:1`, … */
  readonly name: string;
  /** What its driver calls it. */
  readonly description: string;
  /** PCI address, empty where it has none; `load({ device })` takes it too. */
  readonly id: string;
  /** File of the library that drives it. */
  readonly library: string;
  /** Bytes, as of now; 0 where the driver does not say. */
  readonly memoryFree: number;
  readonly memoryTotal: number;
  /** With memory of its own. */
  readonly discrete: boolean;
  /** Computes on the processor: never chosen unless it is named. */
  readonly software: boolean;
}

/** What became of a library of devices. */
export interface DeviceLibrary extends DeviceLibrarySource {
  /** Why it has no part in anything; absent when it was loaded. */
  readonly error?: string;
}

export interface DeviceReport {
  /** Level of the processor's kernels that was chosen: `native` in a build for this machine. */
  readonly processor: string;
  /** Instruction sets that our own kernels use here. */
  readonly kernels: string;
  readonly devices: readonly Device[];
  readonly libraries: readonly DeviceLibrary[];
}

/** A driver that takes longer to start is taken for one that hangs. */
const probeMs = 60_000;
/** All libraries, one after the other. */
const listMs = 300_000;

let prepared: Promise<DeviceLibrary[]> | undefined;

/** Loads the libraries of devices that are there, each after a trial in a process of its own; once per thread of JavaScript. */
export function loadDeviceLibraries(): Promise<DeviceLibrary[]> {
  prepared ??= loadEach(findDeviceLibraries(process.env, engineFolder()));
  return prepared;
}

/** Folder of the addon and the libraries beside it. */
function engineFolder(): string | undefined {
  binding();
  const file = addonFile();
  return file === undefined ? undefined : dirname(file);
}

async function loadEach(sources: DeviceLibrarySource[]): Promise<DeviceLibrary[]> {
  const libraries: DeviceLibrary[] = [];
  for (const source of sources) {
    const error = (await probe(source.path)) ?? (await add(source.path));
    libraries.push(error === undefined ? source : { ...source, error });
  }
  return libraries;
}

async function add(path: string): Promise<string | undefined> {
  try {
    await binding().addDeviceLibrary(path).promise;
    return undefined;
  } catch (error) {
    return GmeError.from(error).message;
  }
}

interface ProbeReport extends Partial<DeviceReport> {
  readonly code?: string;
  readonly message?: string;
}

/**
 * Why the library cannot be used, as a process of its own found out; undefined: it can. Where no such process can be started it is loaded
 * untried: a driver that ends the process then ends a utility process, not the app.
 */
async function probe(path: string): Promise<string | undefined> {
  const trial = await tryApart([path], probeMs);
  if (trial === undefined) return undefined;
  if ("failure" in trial) return trial.failure;
  const { code, message } = trial.answer as ProbeReport;
  return code === undefined ? undefined : (message ?? code);
}

/**
 * What listDevices() says, asked in a process of its own: a driver that was started takes memory of its card as long as its process lives.
 * Where that process fails there are no devices, and `failure` says why.
 */
export async function listDevicesApart(): Promise<
  Pick<DeviceReport, "devices" | "libraries"> & { readonly failure?: string }
> {
  const trial = await tryApart([], listMs);
  if (trial === undefined) return listDevices();
  if ("failure" in trial) return { devices: [], libraries: [], failure: trial.failure };
  const { devices = [], libraries = [], code, message = code } = trial.answer as ProbeReport;
  return { devices, libraries, ...(message !== undefined && { failure: message }) };
}

/** The devices of this machine that a model can be loaded on, and why others cannot. Loads their drivers: seconds at the first call. */
export async function listDevices(): Promise<DeviceReport> {
  const libraries = await loadDeviceLibraries();
  const report = JSON.parse(await binding().devices().promise) as Omit<DeviceReport, "libraries">;
  return { ...report, libraries };
}

/** To be called before a model is loaded on anything but the processor. */
export async function prepareDevices(device: string): Promise<void> {
  if (device === "cpu") return;
  const failed = (await loadDeviceLibraries()).filter(({ error }) => error !== undefined);
  if (device === "auto" || failed.length === 0) return;
  const { devices } = JSON.parse(await binding().devices().promise) as Pick<DeviceReport, "devices">;
  if (devices.length > 0) return; // the engine says which there are
  const reasons = failed.map(({ path, error }) => `${printable(path)}: ${error}`).join("; ");
  throw new GmeError("GME_DEVICE_UNAVAILABLE", `there is no device ${device}: ${reasons}`, {
    field: "options.device",
    value: device,
    expected: "auto, cpu, or a device that gme doctor lists",
  });
}
