// Builds what platform packages hold, for one target: addon, engine and ggml's kernels for every level of the architecture.
//
//   node scripts/prebuild.mjs [--target linux-x64] [--jobs N]     default: the target of this machine
//   node scripts/prebuild.mjs --all [--jobs N]                    every target that this machine can make
//   node scripts/prebuild.mjs --gpu cuda [--architectures 80,90] [--jobs N]
//
// binding.gyp and package.json -> build-prebuild/<target>/door -> prebuildify, node-gyp -> scripts/cmake-build.js -> CMake
//   -> build-prebuild/<target>/prebuilds/<platform>-<arch>/gme-embed.<libc>.node and the libraries.
//
// prebuildify empties build/ where it works. It gets a folder of its own, so that a checkout's own build stays what it is.
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { buildCuda } from "./prebuild/cuda.mjs";
import { findTarget, targetOfThisMachine, targets } from "./prebuild/targets.mjs";
import { prepareZig, writeToolchain } from "./prebuild/zig-toolchain.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const prebuildify = promisify(createRequire(import.meta.url)("prebuildify"));

/** Folder of a target's build. */
export const prebuildFolder = (name) => join(root, "build-prebuild", name);

// node-gyp compiles nothing here, but wants headers of Node and would fetch them: the one file of them that it reads, empty.
function writeNodeFolder(folder) {
  mkdirSync(join(folder, "include", "node"), { recursive: true });
  writeFileSync(join(folder, "include", "node", "common.gypi"), "{}\n");
  return folder;
}

function writeDoor(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, "scripts"), { recursive: true });
  for (const name of ["binding.gyp", "package.json"]) copyFileSync(join(root, name), join(folder, name));
  writeFileSync(
    join(folder, "scripts", "cmake-build.js"),
    `require(${JSON.stringify(join(root, "scripts", "cmake-build.js"))});\n`,
  );
  return folder;
}

/** Makes prebuilds/ of a target and returns the folder that holds it. */
export async function prebuild(target, jobs) {
  const folder = prebuildFolder(target.name);
  if (target.triple !== undefined) {
    await prepareZig();
    writeToolchain(target, join(folder, "toolchain"));
  } else if (target.platform !== process.platform) {
    throw new Error(`${target.name} is built on ${target.platform}`);
  }
  rmSync(join(folder, "prebuilds"), { recursive: true, force: true });
  process.env.GME_PREBUILD = folder;
  process.env.CMAKE_BUILD_PARALLEL_LEVEL = String(jobs);
  process.env.npm_config_nodedir = writeNodeFolder(join(folder, "node"));
  await prebuildify({
    cwd: writeDoor(join(folder, "door")),
    out: folder,
    name: "gme-embed",
    napi: true,
    targets: [{ runtime: "node", target: process.versions.node }],
    platform: target.platform,
    arch: target.arch,
    libc: target.libc,
    tagLibc: target.libc,
  });
  return folder;
}

function chosenTargets({ target, all }) {
  if (all) return targets.filter(({ platform }) => platform === process.platform);
  const chosen = target === undefined ? targetOfThisMachine() : findTarget(target);
  if (chosen === undefined) throw new Error(`no package is published for ${process.platform}-${process.arch}`);
  return [chosen];
}

async function prebuildDevices({ gpu, architectures, jobs }) {
  if (gpu !== "cuda") throw new Error(`--gpu ${gpu}: only cuda is built so far`);
  console.log(
    JSON.stringify(await buildCuda({ architectures: architectures?.split(","), jobs: Number(jobs) }), null, 2),
  );
}

async function main() {
  const { values } = parseArgs({
    options: {
      target: { type: "string" },
      all: { type: "boolean", default: false },
      gpu: { type: "string" },
      architectures: { type: "string" },
      jobs: { type: "string", default: String(availableParallelism()) },
    },
  });
  if (values.gpu !== undefined) return prebuildDevices(values);
  for (const target of chosenTargets(values)) {
    const start = performance.now();
    const folder = await prebuild(target, Number(values.jobs));
    console.log(`prebuild: ${relative(root, folder)} made in ${((performance.now() - start) / 1000).toFixed(0)} s`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(`prebuild: ${error.message}`);
    process.exitCode = 1;
  });
}
