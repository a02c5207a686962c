import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { findDeviceLibraries } from "../../lib/device-libraries";
import { temporaryFolder } from "../helpers/fixtures";

const folder = temporaryFolder();

function fill(name: string, files: readonly string[]): string {
  const path = join(folder, name);
  mkdirSync(path);
  for (const file of files) writeFileSync(join(path, file), "");
  return path;
}

t.test("named libraries come first, then Metal's beside the engine; others there are not devices'", async (t) => {
  const named = fill("named", ["libggml-vulkan.so", "libggml-base.so", "libggml-cpu-haswell.so", "readme.txt"]);
  const others = ["gme-embed.node", "libgme-engine.dylib", "libgme-ggml-cpu-apple_m1.so", "libgme-ggml-cuda.so"];
  const engine = fill("engine", [...others, "libgme-ggml-metal.so"]);
  t.strictSame(findDeviceLibraries({ GME_BACKEND_PATH: named }, engine), [
    { path: join(named, "libggml-vulkan.so"), from: "GME_BACKEND_PATH" },
    { path: join(engine, "libgme-ggml-metal.so"), from: "engine" },
  ]);
  t.strictSame(findDeviceLibraries({}, fill("linux", others)), []);
  t.strictSame(findDeviceLibraries({}, join(folder, "not-there")), []);
});
