// The engine's tests and the tests that load the addon into Node, with a sanitizer in ggml, engine and addon.
//
//   node scripts/sanitize.mjs address            ASan, UBSan and LeakSanitizer
//   node scripts/sanitize.mjs thread             TSan
//   node scripts/sanitize.mjs address --only abort     tests whose path contains the word
//
// GCC builds into build-sanitized/KIND/cmake; the addon lies in build-sanitized/KIND/package, where GME_EMBED_PREBUILD makes
// node-gyp-build look first, so that build/Release stays as it is. Node itself is not instrumented: the sanitizer's runtime is preloaded.
// Each report is a file below build-sanitized/KIND/reports. Ends with "N reports, N failures" and the exit code 1 when there are any.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values, positionals } = parseArgs({
  options: { only: { type: "string", default: "" }, "no-build": { type: "boolean", default: false } },
  allowPositionals: true,
});

const kinds = {
  address: {
    sanitizers: "address,undefined",
    runtime: "libasan.so",
    // Undefined behaviour ends the program as a bad address does; otherwise it would be a line that nobody reads.
    flags: "-fno-sanitize-recover=undefined",
    folders: ["test/lifetime", "test/hostile", "test/parity/golden.test.ts"],
  },
  thread: { sanitizers: "thread", runtime: "libtsan.so", flags: "", folders: ["test/lifetime"] },
};

const [name] = positionals;
const kind = kinds[name];
if (!kind) {
  console.error(`usage: node scripts/sanitize.mjs ${Object.keys(kinds).join("|")} [--only WORD] [--no-build]`);
  process.exit(2);
}
const folder = join(root, "build-sanitized", name);
const buildFolder = join(folder, "cmake");
const packageFolder = join(folder, "package");
const reports = join(folder, "reports");
const totals = { reports: 0, failures: 0, tests: 0 };

function build() {
  const args = [
    ...["-S", root, "-B", buildFolder, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DGME_BUILD_TESTS=ON"],
    ...[`-DGME_SANITIZE=${kind.sanitizers}`, `-DCMAKE_C_FLAGS=${kind.flags}`, `-DCMAKE_CXX_FLAGS=${kind.flags}`],
  ];
  const jobs = process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(availableParallelism());
  for (const command of [args, ["--build", buildFolder, "--parallel", jobs]]) {
    if (spawnSync("cmake", command, { stdio: "inherit" }).status !== 0) process.exit(1);
  }
}

function installAddon() {
  const product = join(packageFolder, "build", "Release");
  mkdirSync(product, { recursive: true });
  copyFileSync(join(buildFolder, "gme_embed.node"), join(product, "gme_embed.node"));
}

function runtimeFile() {
  const found = spawnSync("gcc", [`-print-file-name=${kind.runtime}`], { encoding: "utf8" }).stdout.trim();
  return realpathSync(found);
}

/** Options of all runtimes; a report goes to a file beside those of the same test. */
function sanitizerEnv(reportPrefix) {
  const suppressions = (file) => `suppressions=${join(root, "test", "sanitizers", file)}`;
  const log = `log_path=${reportPrefix}`;
  return {
    ASAN_OPTIONS: `${log}:detect_leaks=1:strict_string_checks=1:check_initialization_order=1`,
    UBSAN_OPTIONS: `${log}:print_stacktrace=1`,
    LSAN_OPTIONS: `${suppressions("leak-node.supp")}:print_suppressions=0`,
    TSAN_OPTIONS: `${log}:${suppressions("thread-node.supp")}:ignore_noninstrumented_modules=1:history_size=7:second_deadlock_stack=1`,
  };
}

function collectReports(title) {
  const files = readdirSync(reports).filter((file) => file.startsWith(`${title}.`));
  const written = files.filter((file) => readFileSync(join(reports, file), "utf8").trim() !== "");
  for (const file of written) {
    const lines = readFileSync(join(reports, file), "utf8").split("\n");
    console.log(`  report ${relative(root, join(reports, file))}:\n    ${lines.slice(0, 40).join("\n    ")}`);
  }
  return written.length;
}

/** One program to its end; `command` is [file, ...args]. */
function run(title, command, env) {
  for (const file of readdirSync(reports)) if (file.startsWith(`${title}.`)) rmSync(join(reports, file));
  const start = performance.now();
  const done = spawnSync(command[0], command.slice(1), {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    timeout: 3_600_000,
    env: { ...process.env, ...sanitizerEnv(join(reports, title)), GME_SANITIZED: "1", ...env },
  });
  const output = `${done.stdout}\n${done.stderr}`;
  const failed = output.split("\n").filter((line) => /^\s*not ok\b/.test(line) && !/# (SKIP|TODO)/.test(line));
  const passed = output.split("\n").filter((line) => /^\s*ok\b/.test(line)).length;
  const found = collectReports(title);
  const isBad = done.status !== 0 || failed.length > 0 || passed === 0;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${title}: ${passed} passed, ${failed.length} failed, ${found} reports (${seconds} s)`);
  if (isBad) {
    const reason = done.error?.message ?? (done.signal ? `killed by ${done.signal}` : `exit code ${done.status}`);
    console.log(`  ${reason}\n  ${failed.join("\n  ")}\n  ${done.stderr.split("\n").slice(-20).join("\n  ")}`);
  }
  totals.reports += found;
  totals.failures += isBad ? 1 : 0;
  totals.tests++;
}

function testFiles(place) {
  const path = join(root, place);
  if (!existsSync(path)) return [];
  if (place.endsWith(".ts")) return [place];
  return readdirSync(path)
    .filter((file) => file.endsWith(".test.ts"))
    .sort()
    .map((file) => `${place}/${file}`);
}

const isAsked = (path) => path.includes(values.only);

if (!values["no-build"]) build();
installAddon();
mkdirSync(reports, { recursive: true });
const programs = readdirSync(join(buildFolder, "bin")).filter((file) => file.startsWith("test-") && isAsked(file));
for (const program of programs.sort())
  run(program, [join(buildFolder, "bin", program), join(root, "test", "fixtures")], {});
const tsx = pathToFileURL(join(root, "node_modules", "tsx", "dist", "loader.mjs")).href;
for (const file of kind.folders.flatMap(testFiles).filter(isAsked)) {
  run(file.replaceAll("/", "-").replace(".test.ts", ""), [process.execPath, "--import", tsx, file], {
    LD_PRELOAD: runtimeFile(),
    GME_EMBED_PREBUILD: packageFolder,
    TAP_TIMEOUT: "3600",
  });
}
console.log(`${name}: ${totals.tests} programs, ${totals.reports} reports, ${totals.failures} failures`);
process.exitCode = totals.reports + totals.failures === 0 && totals.tests > 0 ? 0 : 1;
