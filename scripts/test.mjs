// Runs every test and ends with one line, `N passed, N failed`: the engine's checks and tap's assertions together.
//
// build-cmake/bin/test-* (one `ok`/`not ok` line per check) -> tap's files (TAP, leaves counted) -> totals.
// A crash, a failed file without a failed assertion, and a file without any assertion count as one failure.
//
//   node scripts/test.mjs           all
//   node scripts/test.mjs tokenizer only files whose path contains the word
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { Parser } from "tap-parser";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const words = process.argv.slice(2);
const totals = { passed: 0, failed: 0, skipped: 0 };

function add(counts) {
  for (const key of Object.keys(totals)) totals[key] += counts[key];
}

function filesBelow(folder, pattern) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .sort();
}

function report(file, counts, milliseconds) {
  const parts = [`${counts.passed} passed`];
  if (counts.failed > 0) parts.push(`${counts.failed} FAILED`);
  if (counts.skipped > 0) parts.push(`${counts.skipped} skipped`);
  console.log(`${file}: ${parts.join(", ")} (${(milliseconds / 1000).toFixed(1)} s)`);
}

function fail(counts, message) {
  counts.failed++;
  console.log(`  not ok ${message}`);
}

function runEngineTest(source) {
  const name = source.match(/(test-[^/\\]+)\.cpp$/)[1];
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const start = performance.now();
  const program = join(root, "build-cmake", "bin", process.platform === "win32" ? `${name}.exe` : name);
  const done = spawnSync(program, [join(root, "test", "fixtures")], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    timeout: 600_000,
  });
  for (const line of (done.stdout ?? "").split("\n")) {
    if (/^ok\b/.test(line)) counts.passed++;
    else if (/^not ok\b/.test(line)) fail(counts, line.slice(7));
    else if (line.trim() !== "") console.log(`  ${line}`);
  }
  if (done.status !== 0) {
    const reason = done.error?.message ?? (done.signal ? `killed by ${done.signal}` : `exit code ${done.status}`);
    if (counts.failed === 0 || done.signal) fail(counts, `${name} ended with ${reason}`);
    if (done.stderr) console.log(done.stderr.trimEnd());
  } else if (counts.passed + counts.failed === 0) {
    fail(counts, `${name} made no check`);
  }
  report(source, counts, performance.now() - start);
  add(counts);
}

// Counts the leaves of one TAP stream. A closing test point repeats its children's results, so it counts only when it
// failed on its own (a plan, a timeout, an exception outside any assertion).
function countLeaves(parser, counts) {
  let below;
  parser.on("child", (child) => {
    below = { passed: 0, failed: 0, skipped: 0 };
    countLeaves(child, below);
  });
  parser.on("comment", (text) => {
    if (!/^# (Subtest|time=|No coverage|\{ total)/.test(text)) console.log(`  ${text.trimEnd()}`);
  });
  parser.on("assert", (result) => {
    if (result.closingTestPoint) {
      for (const key of Object.keys(counts)) counts[key] += below[key];
      if (!result.ok && !result.todo && below.failed === 0) fail(counts, describe(result));
    } else if (result.skip || result.todo) counts.skipped++;
    else if (result.ok) counts.passed++;
    else fail(counts, describe(result));
  });
}

function describe(result) {
  const { at, diff, stack, signal, exitCode, tapCaught } = result.diag ?? {};
  const details = [signal && `killed by ${signal}`, exitCode && `exit code ${exitCode}`, tapCaught, diff, stack];
  if (!stack && at?.fileName) details.push(`at ${at.fileName}:${at.lineNumber}`);
  return [result.fullname || result.name, ...details.filter(Boolean)].join("\n").trimEnd().replaceAll("\n", "\n    ");
}

// One top-level test point per file, as tap's runner reports them.
function reportFiles(parser) {
  let below;
  parser.on("child", (child) => {
    below = { passed: 0, failed: 0, skipped: 0 };
    countLeaves(child, below);
  });
  parser.on("assert", (result) => {
    const counts = result.closingTestPoint ? below : { passed: 0, failed: 0, skipped: 0 };
    const leaves = counts.passed + counts.failed + counts.skipped;
    if (leaves === 0) fail(counts, `${result.name} made no assertion`);
    else if (!result.ok && counts.failed === 0) fail(counts, describe(result));
    report(result.name, counts, result.time ?? 0);
    add(counts);
  });
}

async function runTap(files) {
  const tap = join(root, "node_modules", "tap", "dist", "esm", "run.mjs");
  const child = spawn(process.execPath, [tap, "--reporter=tap", ...files], {
    cwd: root,
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const parser = new Parser();
  const seen = totals.failed;
  reportFiles(parser);
  const parsed = new Promise((resolve) => parser.on("complete", resolve));
  child.stdout.pipe(parser);
  const [code, signal] = await new Promise((resolve) => child.on("close", (...end) => resolve(end)));
  await parsed;
  if (code !== 0 && totals.failed === seen) fail(totals, `tap ended with ${signal ?? `exit code ${code}`}`);
}

const engineTests = filesBelow("test/engine", /^test-.*\.cpp$/);
const tapTests = filesBelow("test", /\.test\.ts$/);
for (const source of engineTests) runEngineTest(source);
if (tapTests.length > 0) await runTap(tapTests);
if (engineTests.length + tapTests.length === 0) fail(totals, `no test file matches ${words.join(" ")}`);
if (totals.skipped > 0) console.log(`${totals.skipped} skipped`);
console.log(`${totals.passed} passed, ${totals.failed} failed`);
process.exitCode = totals.failed === 0 ? 0 : 1;
