// Builds the native parts with CMake and copies what was made to the product folder.
//
//   node scripts/cmake-build.js [--product FOLDER] [--config Release|Debug] [--arch x64] [--tests]
//
// In the usual form that is build-cmake/ -> gme_embed.node, compiled for the processor of this machine. build-cmake lies outside
// build/, where node-gyp-build looks first and which a node-gyp rebuild wipes. --tests builds gme-tool and the engine's tests as well.
//
// With GME_PREBUILD, the folder of a target that scripts/prebuild.mjs prepared, it is the form that is passed on (GME_PORTABLE):
// <folder>/cmake -> gme_embed.node and the libraries beside it; with <folder>/toolchain/toolchain.cmake, if that is there.
// CMAKE_BUILD_PARALLEL_LEVEL limits the jobs.
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { parseArgs } = require("node:util");

const root = path.dirname(__dirname);
const prebuildFolder = process.env.GME_PREBUILD;
const buildFolder = prebuildFolder ? path.join(prebuildFolder, "cmake") : path.join(root, "build-cmake");

const { values: options } = parseArgs({
  options: {
    product: { type: "string", default: path.join(root, "build", "Release") },
    config: { type: "string", default: "Release" },
    arch: { type: "string", default: process.env.PREBUILD_ARCH || process.arch },
    tests: { type: "boolean", default: false },
  },
});

function fail(message) {
  console.error(`cmake-build: ${message}`);
  process.exit(1);
}

function run(command, args, what) {
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (done.status !== 0)
    fail(`"${what}" failed (${done.error?.code ?? done.signal ?? `exit code ${done.status}`}); see above`);
}

/** cmake-js where it is installed: an installed package builds itself without it, which only Windows cannot (its loader's hook). */
function findCmakeJs() {
  try {
    return path.join(path.dirname(require.resolve("cmake-js/package.json")), "bin", "cmake-js");
  } catch {
    if (process.platform === "win32") fail("cmake-js is not installed; run: npm install cmake-js");
    return undefined;
  }
}

function configureWith(definitions) {
  const program = findCmakeJs();
  if (program === undefined) {
    const args = ["-S", root, "-B", buildFolder, `-DCMAKE_BUILD_TYPE=${options.config}`];
    return run("cmake", [...args, ...definitions.map((each) => `-D${each}`)], "cmake");
  }
  const common = ["--directory", root, "--out", buildFolder, "--config", options.config, "--arch", options.arch];
  const args = [program, "configure", "--log-level", "warn", ...common, ...definitions.map((each) => `--CD${each}`)];
  run(process.execPath, args, "cmake-js configure");
}

function buildTarget(target, jobs) {
  const args = ["--build", buildFolder, "--config", options.config, "--parallel", jobs];
  run("cmake", [...args, ...(target ? ["--target", target] : [])], "cmake --build");
}

function cmakeOptions() {
  if (!prebuildFolder) return fs.existsSync(path.join(root, "test", "engine")) ? ["GME_BUILD_TESTS=ON"] : [];
  const toolchain = path.join(prebuildFolder, "toolchain", "toolchain.cmake");
  return ["GME_PORTABLE=ON", ...(fs.existsSync(toolchain) ? [`CMAKE_TOOLCHAIN_FILE=${toolchain}`] : [])];
}

// Everything anew when the place, the architecture, the compiler or the CPU changed (ggml's kernels are compiled for this very CPU,
// see GME_NATIVE); CMake itself follows every other input.
function configure() {
  const cmakeArgs = cmakeOptions();
  const state = JSON.stringify([root, options.config, options.arch, os.cpus()[0]?.model, cmakeArgs]);
  const stateFile = path.join(buildFolder, ".configured");
  if (fs.existsSync(stateFile) && fs.readFileSync(stateFile, "utf8") === state) return;
  console.log(`native build: configuring ${options.config} for ${options.arch} in ${path.relative(root, buildFolder)}`);
  fs.rmSync(buildFolder, { recursive: true, force: true });
  configureWith(cmakeArgs);
  fs.writeFileSync(stateFile, state);
}

/** The addon, and in the portable form the libraries: of every folder where one of CMake's generators lays them. */
function findProducts() {
  const folders = [path.join(buildFolder, options.config), path.join(buildFolder, "bin"), buildFolder];
  folders.push(path.join(buildFolder, "bin", options.config));
  const isProduct = (name) =>
    name === "gme_embed.node" || (prebuildFolder && /^(lib)?gme-[\w.-]+\.(so|dylib|dll)$/.test(name));
  const found = new Map();
  for (const folder of folders.filter((each) => fs.existsSync(each))) {
    for (const name of fs.readdirSync(folder)) if (isProduct(name)) found.set(name, path.join(folder, name));
  }
  if (!found.has("gme_embed.node")) fail(`the build made no gme_embed.node in ${folders.join(", ")}`);
  return found;
}

function copyProduct(source, target) {
  if (fs.existsSync(target) && fs.readFileSync(target).equals(fs.readFileSync(source))) return;
  fs.mkdirSync(path.dirname(target), { recursive: true });
  // A new file under the old name: a process that has the old one loaded keeps it.
  fs.copyFileSync(source, `${target}.new`);
  fs.renameSync(`${target}.new`, target);
}

function main() {
  if (spawnSync("cmake", ["--version"]).status !== 0) {
    fail("CMake 3.19 or newer and a C++17 compiler are needed (Debian: apt-get install cmake g++)");
  }
  const jobs = process.env.CMAKE_BUILD_PARALLEL_LEVEL || String(os.availableParallelism());
  configure();
  // The libraries of the portable form are no part of what the addon needs to be linked.
  const targets = options.tests
    ? [undefined]
    : prebuildFolder
      ? ["gme_libraries", "gme_embed", "gme-tool"]
      : ["gme_embed"];
  console.log(`native build: compiling ${options.tests ? "addon, tool and tests" : "the addon"} with ${jobs} jobs`);
  for (const target of targets) buildTarget(target, jobs);
  for (const [name, source] of findProducts()) {
    copyProduct(source, path.join(options.product, name));
    console.log(`native build: ${path.relative(root, path.join(options.product, name))}`);
  }
}

main();
