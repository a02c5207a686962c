// Runs every test and ends with one line, `N passed, N failed`: the engine's checks and tap's assertions together.
//
// build-cmake/bin/test-* and test/**/*.test.ts, each in a process of its own, `--jobs` at a time, the longest first
//   -> scripts/test-results.mjs -> one line per file -> totals.
// A crash, a failed file without a failed assertion, and a file without any assertion count as one failure.
//
//   node scripts/test.mjs                    all
//   node scripts/test.mjs tokenizer          only files whose path contains the word
//   node scripts/test.mjs --jobs 1           one at a time (default: one more than there are processors)
//   node scripts/test.mjs --record FILE      titles, figures and counts as JSON lines, for scripts/robustness-table.mjs
//
// The tap files run under tsx, which keeps what it compiled: under tap's own runner each file, and each child that
// inherits its flags, compiles what it imports anew, 3 s for the whole library.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { TestResults } from "./test-results.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tsx = createRequire(import.meta.url).resolve("tsx/cjs");
const { values: options, positionals: words } = parseArgs({
  allowPositionals: true,
  options: { jobs: { type: "string", default: String(availableParallelism() + 1) }, record: { type: "string" } },
});
const engineSeconds = 600;
const fileSeconds = process.env.GME_TEST_LONG === "1" ? 14_400 : 300;

// Begun first, so that no long one is left alone at the end; a name that is missing here only costs time.
const longest = [
  "test/package/install.test.ts",
  "test/package/two-ggml.test.ts",
  "test/index-store/crash-points.test.ts",
  "test/isolated/crash.test.ts",
  "test/isolated/killed.test.ts",
  "test/index-store/store-faults.test.ts",
  "test/index-store/race.test.ts",
  "test/index-store/killed.test.ts",
  "test/convert/killed.test.ts",
  "test/index-store/signals.test.ts",
  "test/isolated/engine.test.ts",
  "test/devices/every-card.test.ts",
  "test/isolated/team.test.ts",
  "test/index-store/new-user.test.ts",
  "test/crawl/folder-watch.test.ts",
  "test/cli/search.test.ts",
  "test/documents/table-rows.test.ts",
  "test/cli/embed.test.ts",
  "test/documents/pdf-pages.test.ts",
];

function filesBelow(folder, pattern) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) =>
      relative(root, join(entry.parentPath ?? entry.path, entry.name))
        .split(sep)
        .join("/"),
    )
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)));
}

/** The engine's tests first of those that are not among the longest, then by name. */
function inOrder(files) {
  const rank = (file) =>
    longest.includes(file) ? longest.indexOf(file) : longest.length + (file.endsWith(".ts") ? 1 : 0);
  return files.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

function startEngineTest(file, results) {
  const name = file.match(/(test-[^/]+)\.cpp$/)[1];
  const program = join(root, "build-cmake", "bin", process.platform === "win32" ? `${name}.exe` : name);
  const child = spawn(program, [join(root, "test", "fixtures")], { stdio: ["ignore", "pipe", "pipe"] });
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) results.readLine(line);
  });
  child.stdout.on("end", () => results.readLine(rest));
  return child;
}

/** Whether dist was compiled after the last change of lib: the command is then started from there. */
function isCompiled() {
  const stamp = join(root, "build-cmake", ".stamp-dist");
  if (!existsSync(stamp)) return false;
  const sources = readdirSync(join(root, "lib"), { withFileTypes: true, recursive: true });
  const newest = sources.map((entry) => statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs);
  return Math.max(...newest) < statSync(stamp).mtimeMs;
}

const compiled = { GME_TEST_COMPILED: isCompiled() ? "1" : "0" };

function startTapFile(file, results) {
  const child = spawn(process.execPath, ["--require", tsx, join(root, file)], {
    cwd: root,
    env: { ...process.env, ...compiled, NO_COLOR: "1", TAP_TIMEOUT: String(fileSeconds) },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  child.stdout.pipe(results.tapParser());
  return child;
}

// A file ends itself when it runs out of time, and says what it waits for; only one whose loop stands still is killed.
function guard(child, seconds) {
  let timer;
  const arm = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(() => child.kill("SIGKILL"), milliseconds + 30_000);
  };
  arm(seconds * 1000);
  child.on("message", (message) => typeof message?.setTimeout === "number" && arm(message.setTimeout));
  child.on("close", () => clearTimeout(timer));
}

async function runFile(file) {
  const isEngine = file.endsWith(".cpp");
  const start = performance.now();
  const results = new TestResults();
  const child = isEngine ? startEngineTest(file, results) : startTapFile(file, results);
  guard(child, isEngine ? engineSeconds : fileSeconds);
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  const end = await new Promise((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) =>
      resolve(signal ? `killed by ${signal}` : code === 0 ? "" : `exit code ${code}`),
    );
  });
  await results.completed;
  if (end !== "" && (results.counts.failed === 0 || end.startsWith("killed")))
    results.fail(`${file} ended with ${end}`);
  else if (results.leaves === 0) results.fail(`${file} made no assertion`);
  const seconds = (performance.now() - start) / 1000;
  report(file, results, stderr, seconds);
  return { file, results, seconds };
}

function report(file, { counts, lines }, stderr, seconds) {
  const parts = [`${counts.passed} passed`];
  if (counts.failed > 0) parts.push(`${counts.failed} FAILED`);
  if (counts.skipped > 0) parts.push(`${counts.skipped} skipped`);
  for (const line of lines) console.log(line);
  if (stderr !== "") console.error(stderr.trimEnd());
  console.log(`${file}: ${parts.join(", ")} (${seconds.toFixed(1)} s)`);
}

async function runAll(files, jobs) {
  const waiting = [...files];
  const done = [];
  const worker = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) done.push(await runFile(file));
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return done;
}

function writeRecords(done, seconds) {
  const lines = done
    .sort((a, b) => (a.file < b.file ? -1 : 1))
    .flatMap(({ file, results }) => results.records.map((record) => ({ file, ...record })));
  lines.push({ suiteSeconds: Math.round(seconds), files: done.length });
  writeFileSync(options.record, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
}

const start = performance.now();
const files = inOrder([...filesBelow("test/engine", /^test-.*\.cpp$/), ...filesBelow("test", /\.test\.ts$/)]);
const jobs = Number(options.jobs);
if (!Number.isInteger(jobs) || jobs < 1) throw new Error(`--jobs ${options.jobs} is not a number of processes`);
const done = await runAll(files, jobs);
const seconds = (performance.now() - start) / 1000;
const total = (key) => done.reduce((sum, { results }) => sum + results.counts[key], 0);
const failed = total("failed") + (files.length === 0 ? 1 : 0);
if (files.length === 0) console.log(`  not ok no test file matches ${words.join(" ")}`);
if (options.record) writeRecords(done, seconds);
if (total("skipped") > 0) console.log(`${total("skipped")} skipped`);
console.log(`${files.length} files in ${seconds.toFixed(0)} s, ${jobs} at a time`);
console.log(`${total("passed")} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
