// Lines of the engine that the fuzzers' corpus and past findings run through, file by file; gcc and gcov, no clang needed.
//
//   node scripts/fuzz-coverage.mjs [--missed] [FOLDER]   builds in FOLDER (build-fuzz-coverage); --missed lists the lines not reached
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const names = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const folder = resolve(names[0] ?? join(root, "build-fuzz-coverage"));
const groups = {
  reader: ["gguf-file.cpp", "gguf-parser.cpp"],
  loader: ["model.cpp", "model-config.cpp", "model-weights.cpp", "vocabulary-keys.cpp"],
  tokenizer: [
    "tokenizer.cpp",
    "token-table.cpp",
    "byte-pair-encoding.cpp",
    "pre-tokenizer.cpp",
    "unicode-nfc.cpp",
    "prompt.cpp",
  ],
  resizer: ["image-resize.cpp", "image-resize-kernels.cpp", "image-patches.cpp"],
  "argument reader": ["embed-args.cpp"],
};

function command(program, args, cwd = root) {
  const done = spawnSync(program, args, { cwd, encoding: "utf8", maxBuffer: 1 << 30 });
  if (done.status === 0) return done.stdout;
  console.error(`${done.stdout ?? ""}${done.stderr ?? ""}\n${program} ${args.join(" ")} failed`);
  process.exit(1);
}

const profiles = () =>
  readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith(".gcda"))
    .map((name) => join(folder, name));

function build() {
  const flags = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS=--coverage -O0", "-DCMAKE_CXX_COMPILER_LAUNCHER="];
  command("cmake", ["-S", root, "-B", folder, "-DGME_BUILD_TESTS=ON", ...flags]);
  const jobs = process.env.CMAKE_BUILD_PARALLEL_LEVEL || "2";
  command("cmake", ["--build", folder, "--parallel", jobs, "--target", "test-fuzz-replay"]);
  for (const file of profiles()) rmSync(file);
}

// Per source file: line -> how often it ran, over all the places that include it.
function countLines() {
  const lines = new Map();
  for (const profile of profiles()) {
    const name = basename(profile, ".cpp.gcda");
    if (!Object.values(groups).some((files) => files.includes(`${name}.cpp`))) continue;
    const { files } = JSON.parse(command("gcov", ["--json-format", "--stdout", profile], dirname(profile)));
    for (const file of files.filter(({ file }) => basename(file) === `${name}.cpp`)) {
      const counts = lines.get(`${name}.cpp`) ?? new Map();
      for (const { line_number: line, count } of file.lines) counts.set(line, (counts.get(line) ?? 0) + count);
      lines.set(`${name}.cpp`, counts);
    }
  }
  return lines;
}

function percent(counts) {
  const all = counts.flatMap((one) => [...one.values()]);
  const reached = all.filter((count) => count > 0).length;
  return `${((100 * reached) / all.length).toFixed(1)} % (${reached} of ${all.length} lines)`;
}

build();
command(join(folder, "bin", "test-fuzz-replay"), [join(root, "test", "fixtures")]);
const lines = countLines();
for (const [group, files] of Object.entries(groups)) {
  const known = files.filter((file) => lines.has(file));
  console.log(`${group}: ${percent(known.map((file) => lines.get(file)))}`);
  for (const file of known) {
    const missed = [...lines.get(file)].filter(([, count]) => count === 0).map(([line]) => line);
    const listed = process.argv.includes("--missed") && missed.length > 0 ? `; not: ${missed.join(" ")}` : "";
    console.log(`  ${file}: ${percent([lines.get(file)])}${listed}`);
  }
}
