// Builds the native parts through cmake-js in build-cmake/ and copies gme_embed.node to the product folder.
//
//   node scripts/cmake-build.js [--product FOLDER] [--config Release|Debug] [--arch x64] [--tests]
//
// The default product folder is build/Release, where node-gyp-build looks first. build-cmake lies outside build/, which a
// node-gyp rebuild wipes. --tests builds gme-tool and the engine's tests as well. CMAKE_BUILD_PARALLEL_LEVEL limits the jobs.
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { parseArgs } = require("node:util");

const root = path.dirname(__dirname);
const buildFolder = path.join(root, "build-cmake");

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

function cmakeJs(command, args) {
  const program = path.join(path.dirname(require.resolve("cmake-js/package.json")), "bin", "cmake-js");
  const common = ["--directory", root, "--out", buildFolder, "--config", options.config, "--arch", options.arch];
  const done = spawnSync(process.execPath, [program, command, "--log-level", "warn", ...common, ...args], {
    cwd: root,
    stdio: "inherit",
  });
  if (done.status !== 0) fail(`"cmake-js ${command}" failed (${done.signal ?? `exit code ${done.status}`}); see above`);
}

// Everything anew when the place, the architecture or the CPU changed (ggml's kernels are compiled for this very CPU, see
// GME_NATIVE); CMake itself follows every other input.
function configure() {
  const cmakeArgs = fs.existsSync(path.join(root, "test", "engine")) ? ["--CDGME_BUILD_TESTS=ON"] : [];
  const state = JSON.stringify([root, options.config, options.arch, os.cpus()[0]?.model, cmakeArgs]);
  const stateFile = path.join(buildFolder, ".configured");
  if (fs.existsSync(stateFile) && fs.readFileSync(stateFile, "utf8") === state) return;
  console.log(`native build: configuring ${options.config} for ${options.arch} in build-cmake`);
  fs.rmSync(buildFolder, { recursive: true, force: true });
  cmakeJs("configure", cmakeArgs);
  fs.writeFileSync(stateFile, state);
}

function findAddon() {
  const places = [path.join(buildFolder, options.config), buildFolder, path.join(buildFolder, "bin", options.config)];
  const found = places.map((folder) => path.join(folder, "gme_embed.node")).find((file) => fs.existsSync(file));
  return found ?? fail(`the build made no gme_embed.node in ${places.join(", ")}`);
}

function copyAddon() {
  const source = findAddon();
  const target = path.join(options.product, "gme_embed.node");
  if (fs.existsSync(target) && fs.readFileSync(target).equals(fs.readFileSync(source))) return target;
  fs.mkdirSync(options.product, { recursive: true });
  // A new file under the old name: a process that has the old one loaded keeps it.
  fs.copyFileSync(source, `${target}.new`);
  fs.renameSync(`${target}.new`, target);
  return target;
}

function main() {
  try {
    require.resolve("cmake-js/package.json");
  } catch {
    fail("cmake-js is not installed; run: npm ci");
  }
  if (spawnSync("cmake", ["--version"]).status !== 0) {
    fail("CMake 3.19 or newer and a C++17 compiler are needed (Debian: apt-get install cmake g++)");
  }
  const jobs = process.env.CMAKE_BUILD_PARALLEL_LEVEL || String(os.availableParallelism());
  configure();
  const targets = options.tests ? [] : ["--target", "gme_embed"];
  console.log(`native build: compiling ${options.tests ? "addon, tool and tests" : "the addon"} with ${jobs} jobs`);
  cmakeJs("build", ["--parallel", jobs, ...targets]);
  console.log(`native build: ${path.relative(root, copyAddon())}`);
}

main();
