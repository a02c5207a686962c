import { badArgument } from "./errors";

/** One name: `cuda:1`, `auto`, `all`, …. Several: an array of them, or a text with commas between. */
export type DeviceChoice = string | readonly string[];

const oneDevice = /^(auto|cpu|cpu:ggml|(cuda|metal|vulkan)(:\d{1,2})?|[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/;
const mostDevices = 64;

/** The names of a choice that checkDevices() has let through. */
export function deviceNames(device: DeviceChoice): readonly string[] {
  return typeof device === "string" ? device.split(",") : device;
}

/** Whether the choice asks for an engine per device, each in a process of its own. */
export function isSeveral(device: DeviceChoice): boolean {
  const names = deviceNames(device);
  return names.length > 1 || names[0] === "all";
}

/** The form only: which devices there are is known once their libraries are loaded. */
export function checkDevices(value: unknown): void {
  const names = deviceNames(value as DeviceChoice);
  const isOne = (name: unknown) => typeof name === "string" && oneDevice.test(name);
  if (names.length === 1 && (names[0] === "all" || isOne(names[0]))) return;
  const expected = "auto, all, cpu, cuda, metal, vulkan, cuda:1 or a PCI address, or several of them but auto and all";
  if (names.length === 0 || !names.every((name) => isOne(name) && name !== "auto"))
    throw badArgument("GME_OPTION_INVALID", "options.device", expected, value);
  if (names.length > mostDevices)
    throw badArgument("GME_OPTION_INVALID", "options.device.length", `at most ${mostDevices} devices`, names.length);
}
