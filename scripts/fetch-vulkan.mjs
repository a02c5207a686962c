// Lays a ready library of ggml for Vulkan in vendor/vulkan, for test/parity/vulkan.test.ts: node-llama-cpp builds it of the commit that
// vendor/ggml.json pins. The distribution's shader compiler is too old to build it here.
//
//   node scripts/fetch-vulkan.mjs     says "not run" on other systems than Linux x64, ends with 1 when a checksum differs
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, "vendor", "vulkan");
const { version } = JSON.parse(readFileSync(join(root, "vendor", "ggml.json"), "utf8"));
const spec = `@node-llama-cpp/linux-x64-vulkan@${version}`;
// Of that version: the backend, and the copy of ggml's base that it asks for by name.
const files = {
  "libggml-vulkan.so": "5dbbe80b520118b6b71f3ea31935ba107cee9c9c68f7e7ed18b20cdb424e819b",
  "libggml-base.so": "6c342c8aeb20cb31a18099d6f79de4de6703814d1cfd5c4d754a8643087e486e",
};

const sha256 = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");

const isThere = (folder) =>
  Object.entries(files).every(([name, sum]) => existsSync(join(folder, name)) && sha256(join(folder, name)) === sum);

function fetchFiles() {
  const work = mkdtempSync(join(tmpdir(), "gme-vulkan-"));
  try {
    const packed = execFileSync("npm", ["pack", spec, "--json", "--silent", "--ignore-scripts"], {
      cwd: work,
      encoding: "utf8",
    });
    const folder = "package/bins/linux-x64-vulkan";
    const members = Object.keys(files).map((name) => `${folder}/${name}`);
    execFileSync("tar", ["-xzf", JSON.parse(packed)[0].filename, ...members], { cwd: work });
    if (!isThere(join(work, folder)))
      throw new Error(`${spec}: a checksum differs from the one in scripts/fetch-vulkan.mjs`);
    rmSync(target, { recursive: true, force: true });
    mkdirSync(dirname(target), { recursive: true });
    execFileSync("cp", ["-r", join(work, folder), `${target}.new`]);
    renameSync(`${target}.new`, target);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (process.platform !== "linux" || process.arch !== "x64") {
  console.log("fetch-vulkan: not run: the library is for Linux x64");
} else if (isThere(target)) {
  console.log("fetch-vulkan: up to date");
} else {
  try {
    fetchFiles();
    console.log(`fetch-vulkan: ${spec} laid in vendor/vulkan, checksums match`);
  } catch (error) {
    console.error(`fetch-vulkan: ${error.message}`);
    process.exitCode = 1;
  }
}
