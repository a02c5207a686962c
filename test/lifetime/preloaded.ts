// Libraries of preload/, compiled by the compiler that built the addon.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../helpers/fixtures";

const folder = temporaryFolder();

/** LD_PRELOAD's value for a child: the library in front of what this process was started with. */
export function preloaded(name: string): string {
  const library = join(folder, `${name}.so`);
  if (!existsSync(library)) {
    const source = join(__dirname, "preload", `${name}.cpp`);
    const flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-o", library, source];
    const done = spawnSync(process.env.CXX ?? "c++", flags, {
      encoding: "utf8",
      env: { ...process.env, LD_PRELOAD: "" },
    });
    if (done.status !== 0) throw new Error(`${name} was not compiled: ${done.stderr ?? done.error}`);
  }
  // A sanitizer's runtime must stay the first.
  return [process.env.LD_PRELOAD, library].filter(Boolean).join(":");
}
