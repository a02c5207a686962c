import { physicalCores } from "../cpus";
import { deviceNames } from "../device-names";
import { type Device, type DeviceLibrary, listDevicesApart } from "../devices";
import { abortError, GmeError, printable } from "../errors";
import type { LoadOptions } from "../options";

/** The engines to start, by their devices. */
export interface TeamPlan {
  readonly devices: readonly string[];
  /** A device that turns out to be of no use is done without; one that was asked for by name is an error. */
  readonly isStrict: boolean;
  /** Why it is not what was asked for; empty where it is. */
  readonly note: string;
}

/** Of a choice of several devices. Of `all` without a graphics card: `auto` alone, with the reason. */
export async function planTeam({ device = "auto", signal }: LoadOptions): Promise<TeamPlan> {
  const names = deviceNames(device);
  if (names[0] !== "all") return { devices: names, isStrict: true, note: "" };
  const found = await listDevicesApart();
  if (signal?.aborted) throw abortError(signal);
  const devices = everyCard(found.devices).map(({ name }) => name);
  if (devices.length > 0) return { devices, isStrict: false, note: "" };
  return { devices: ["auto"], isStrict: false, note: noCards(found) };
}

/** Each graphics card once: those with memory of their own, else those that share the processor's. */
export function everyCard(devices: readonly Device[]): Device[] {
  const real = devices.filter(({ software }) => !software);
  const discrete = real.filter((device) => device.discrete);
  const cards: Device[] = [];
  for (const device of byKind(discrete.length > 0 ? discrete : real))
    if (!cards.some((card) => isSameCard(card, device))) cards.push(device);
  return cards;
}

/** A card that two libraries drive is left to the one that is made for it. */
function byKind(devices: readonly Device[]): Device[] {
  const isVulkan = ({ name }: Device) => name.startsWith("vulkan");
  return [...devices.filter((device) => !isVulkan(device)), ...devices.filter(isVulkan)];
}

function isSameCard(a: Device, b: Device): boolean {
  if (a.library === b.library) return false;
  if (a.id !== "" && b.id !== "") return a.id.toLowerCase() === b.id.toLowerCase();
  return a.description === b.description;
}

function noCards({ devices, libraries, failure }: Awaited<ReturnType<typeof listDevicesApart>>): string {
  const software = devices.map(({ name }) => `${name} computes on the processor`);
  const failed = libraries.flatMap(({ path, error }: DeviceLibrary) =>
    error === undefined ? [] : [`${printable(path)}: ${printable(error)}`],
  );
  const reasons = [...(failure === undefined ? [] : [printable(failure)]), ...software, ...failed];
  return `no graphics card was found for the device "all"${reasons.length > 0 ? ` (${reasons.join("; ")})` : ""}: it runs on the processor`;
}

/** Each engine's share of the physical cores, unless the caller says how many threads each has. */
export function threadsOfEach({ threads }: LoadOptions, engines: number): { threads?: number } {
  if (threads !== undefined) return { threads };
  return engines > 1 ? { threads: Math.max(1, Math.floor(physicalCores() / engines)) } : {};
}

/** What each engine is opened with: the options of all but for its device, its threads and how it is told to stop. */
export type OpenEngine<Engine> = (options: LoadOptions) => Promise<Engine>;

export interface OpenedTeam<Engine> {
  readonly engines: readonly Engine[];
  readonly note: string;
}

const ofNoUse = ["GME_OUT_OF_MEMORY", "GME_DEVICE_UNAVAILABLE", "GME_ENGINE_CRASHED"];

/** Opens an engine per device of the choice, at the same time. Where that fails, what was opened is closed again. */
export async function openEngines<Engine extends { close(): Promise<void> }>(
  options: LoadOptions,
  open: OpenEngine<Engine>,
): Promise<OpenedTeam<Engine>> {
  const { devices, isStrict, note } = await planTeam(options);
  const outcomes = await openEach(devices, options, isStrict, open);
  const engines = outcomes.flatMap((outcome) => (outcome instanceof GmeError ? [] : [outcome]));
  const errors = outcomes.filter((outcome): outcome is GmeError => outcome instanceof GmeError);
  const fatal = errors.find(({ code }) => isStrict || devices[0] === "auto" || !ofNoUse.includes(code));
  if (fatal !== undefined) {
    await Promise.all(engines.map((engine) => engine.close()));
    throw fatal;
  }
  const notes = [note, ...errors.map(({ message }) => `left out: ${message}`)];
  if (engines.length === 0) engines.push(await open({ ...options, device: "auto" }));
  return { engines, note: notes.filter((text) => text !== "").join("; ") };
}

/** Where one fails for good the others are stopped: the first error is that one. */
async function openEach<Engine>(
  devices: readonly string[],
  options: LoadOptions,
  isStrict: boolean,
  open: OpenEngine<Engine>,
): Promise<(Engine | GmeError)[]> {
  const { signal, onProgress } = options;
  const leaving = new AbortController();
  const shared = signal === undefined ? leaving.signal : AbortSignal.any([signal, leaving.signal]);
  const fractions = devices.map(() => 0);
  const failures: GmeError[] = [];
  const opened = await Promise.all(
    devices.map(async (device, at) => {
      const report = (fraction: number) => {
        fractions[at] = fraction;
        onProgress?.(fractions.reduce((sum, each) => sum + each, 0) / devices.length);
      };
      try {
        const own = { device, ...threadsOfEach(options, devices.length), signal: shared };
        return await open({ ...options, ...own, ...(onProgress && { onProgress: report }) });
      } catch (caught) {
        const error = GmeError.from(caught);
        failures.push(error);
        if (isStrict || !ofNoUse.includes(error.code)) leaving.abort();
        return error;
      }
    }),
  );
  return failures.length === 0 ? opened : opened.map((outcome) => firstOf(outcome, failures));
}

/** The error of one that was stopped because another failed tells nothing. */
function firstOf<Engine>(outcome: Engine | GmeError, failures: readonly GmeError[]): Engine | GmeError {
  return outcome instanceof GmeError && outcome.code === "GME_ABORTED" ? failures[0] : outcome;
}
