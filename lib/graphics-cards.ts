import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export type GraphicsVendor = "nvidia" | "amd" | "intel";

const vendors: Readonly<Record<string, GraphicsVendor>> = { "0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel" };
/** PCI's class of display controllers and of the accelerators that some cards for servers call themselves. */
const displayClass = /^0x(03|12)/;

/** Makers of the graphics cards on the PCI bus, each once; empty where the system does not tell. */
export function graphicsVendors(bus = "/sys/bus/pci/devices"): GraphicsVendor[] {
  const found = new Set<GraphicsVendor>();
  for (const slot of listed(bus)) {
    const vendor = vendors[attribute(bus, slot, "vendor")];
    if (vendor !== undefined && displayClass.test(attribute(bus, slot, "class"))) found.add(vendor);
  }
  return [...found].sort();
}

function listed(bus: string): string[] {
  try {
    return readdirSync(bus);
  } catch {
    return [];
  }
}

function attribute(bus: string, slot: string, name: string): string {
  try {
    return readFileSync(join(bus, slot, name), "utf8").trim();
  } catch {
    return "";
  }
}
