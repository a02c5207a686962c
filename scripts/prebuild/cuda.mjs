// ggml's CUDA back end as a library to be passed on, of the package @gme-embed/<platform>-<arch>-cuda.
//
//   node scripts/prebuild/cuda.mjs [--architectures 75,80,89,90,120] [--jobs N]
//
// Leaves libgme-ggml-cuda.so and cuda.json, which says what it was made of and what it needs, in build-prebuild/linux-x64-cuda/prebuilds. The last
// architecture is compiled as PTX too, which drivers turn into code for newer cards. cuBLAS's headers, and a library to link against,
// come from PyPI when the toolkit has none (vendor/cublas, checksum below); neither is passed on.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { layWheel, sha256 } from "./wheel.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const target = join(root, "build-prebuild", "linux-x64-cuda", "prebuilds");
const cublas = {
  folder: join(root, "vendor", "cublas"),
  // The oldest of CUDA 13's: what is linked against it runs with every later one of the same number.
  spec: "nvidia-cublas==13.0.2.14",
  platform: "manylinux_2_27_x86_64",
  sha256: "0cf238ffdbe46c00cb9aa98e7bca745c223a5ca5a53e686ac8b3e5a08fe80d6c",
};

/** From Turing on; sm_86 runs what was made for sm_80. With one more the package would be over 150 MB (docs/performance.md). */
export const defaultArchitectures = ["75", "80", "89", "90", "120"];

/** "75,80" as CMake has it: machine code of each, and PTX of the newest. */
export function cmakeArchitectures(architectures) {
  for (const each of architectures)
    if (!/^\d{2,3}a?$/.test(each)) throw new Error(`${each} is no architecture such as 90`);
  const order = [...new Set(architectures)].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  if (order.length === 0) throw new Error("no architecture is named");
  return order.map((each, i) => (i === order.length - 1 ? each : `${each}-real`)).join(";");
}

const run = (program, args, options = {}) => execFileSync(program, args, { stdio: "inherit", cwd: root, ...options });
const told = (program, args) => execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** The toolkit's folder and version. */
export function findToolkit(environment = process.env) {
  const candidates = [environment.CUDACXX, "nvcc", "/usr/local/cuda/bin/nvcc"].filter((each) => each);
  for (const nvcc of candidates) {
    try {
      const version = /release (\d+)\.(\d+)/.exec(told(nvcc, ["--version"]));
      if (version) return { nvcc, version: `${version[1]}.${version[2]}`, major: Number(version[1]) };
    } catch {
      // the next
    }
  }
  throw new Error(`no CUDA toolkit: looked for ${candidates.join(", ")}`);
}

/** The folder for GME_CUBLAS_ROOT. */
export async function fetchCublas() {
  const members = ["nvidia/cu13/include/", "nvidia/cu13/lib/libcublas.so.13"];
  await layWheel({ ...cublas, base: "nvidia/cu13", members });
  return cublas.folder;
}

const hasCublas = (nvcc) =>
  ["../include", "../targets/x86_64-linux/include"].some((part) =>
    existsSync(join(dirname(told("sh", ["-c", `readlink -f "$(command -v "$0")"`, nvcc]).trim()), part, "cublas_v2.h")),
  );

/** Names of libraries that the system's loader must find. */
function neededLibraries(file) {
  return [...told("readelf", ["-d", file]).matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name);
}

/** The oldest glibc that has all it asks for: that of the machine that compiled it, at worst. */
function glibcFloor(file) {
  const minors = [...told("readelf", ["-V", file]).matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
  return minors.length === 0 ? "none" : `2.${Math.max(...minors)}`;
}

/** Compiles for hours on few processors. Returns what cuda.json says. */
export async function buildCuda({ architectures = defaultArchitectures, jobs = cpus().length } = {}) {
  const toolkit = findToolkit();
  const asked = cmakeArchitectures(architectures);
  const folder = join(root, "build-cuda");
  const cublasRoot = hasCublas(toolkit.nvcc) ? "" : await fetchCublas();
  const options = [
    "-DGME_PORTABLE=ON",
    "-DGME_CUDA=ON",
    `-DGME_CUDA_ARCHITECTURES=${asked}`,
    `-DGME_CUBLAS_ROOT=${cublasRoot}`,
  ];
  run("cmake", [
    "-S",
    root,
    "-B",
    folder,
    "-DCMAKE_BUILD_TYPE=Release",
    `-DCMAKE_CUDA_COMPILER=${toolkit.nvcc}`,
    ...options,
  ]);
  const start = performance.now();
  run("cmake", ["--build", folder, "--target", "ggml-cuda", `-j${jobs}`]);
  const seconds = Math.round((performance.now() - start) / 1000);
  const built = join(folder, "bin", "libgme-ggml-cuda.so");
  const { commit, ggmlVersion } = JSON.parse(readFileSync(join(root, "vendor", "ggml.json"), "utf8"));
  const facts = {
    architectures: asked.split(";"),
    toolkit: toolkit.version,
    ggml: { version: ggmlVersion, commit },
    needs: { driver: `CUDA ${toolkit.major} or newer`, libraries: neededLibraries(built), glibc: glibcFloor(built) },
    bytes: statSync(built).size,
    sha256: await sha256(built),
    buildSeconds: seconds,
  };
  mkdirSync(target, { recursive: true });
  copyFileSync(built, join(target, "libgme-ggml-cuda.so"));
  writeFileSync(join(target, "cuda.json"), `${JSON.stringify(facts, null, 2)}\n`);
  return facts;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { architectures: { type: "string" }, jobs: { type: "string" } } });
  try {
    const { architectures, jobs } = values;
    if (jobs !== undefined && !/^[1-9]\d{0,3}$/.test(jobs))
      throw new Error(`--jobs ${jobs}: a whole number from 1 is expected`);
    const facts = await buildCuda({ architectures: architectures?.split(","), jobs: jobs && Number(jobs) });
    console.log(JSON.stringify(facts, null, 2));
  } catch (error) {
    console.error(`cuda: ${error.message}`);
    process.exitCode = 1;
  }
}
