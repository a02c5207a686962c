// Does the built package run under Bun and Deno? Best effort: Node is what it is made for.
//
// vendor/runtimes/<name> (fetched from the registry, checked against the sums below) -> scripts/runtime-smoke.cjs, `--runs` times each
//   -> vectors beside Node's -> one line per runtime and way.
//
//   node scripts/check-runtimes.mjs               fetch what is missing, then run
//   node scripts/check-runtimes.mjs --runs 20     exit code 1 when a run fails or a sum differs
//   node scripts/check-runtimes.mjs --no-fetch    only those that are there; prints a JSON list after the lines
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, "vendor", "runtimes");
const smoke = join(root, "scripts", "runtime-smoke.cjs");
const runMs = 120_000;

const runtimes = [
  {
    name: "bun",
    spec: "@oven/bun-linux-x64@1.4.5",
    sum: "sha512-IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==",
    member: "package/bin/bun",
    args: [],
  },
  {
    name: "deno",
    spec: "@deno/linux-x64-glibc@2.9.6",
    sum: "sha512-3md4TKLCuzsLDmfOoC5KN7NAZaxSVkMgm64vg6foD00JBADCpYS2/5QqXfzgnP5ZQz3iLP9vBQJtEgc116OAoQ==",
    member: "package/deno",
    args: [
      "run",
      "--no-prompt",
      "--allow-ffi",
      "--allow-read",
      "--allow-env",
      "--allow-sys",
      "--allow-run",
      "--allow-write",
    ],
  },
];

const { values: options } = parseArgs({
  options: { runs: { type: "string", default: "3" }, "no-fetch": { type: "boolean", default: false } },
});

/** The sum is that of the packed file, so nothing of it is unpacked before it is known to be the right one. */
function fetchRuntime({ name, spec, sum, member }) {
  const work = mkdtempSync(join(tmpdir(), "gme-runtime-"));
  try {
    const packed = execFileSync("npm", ["pack", spec, "--json", "--silent", "--ignore-scripts"], {
      cwd: work,
      encoding: "utf8",
    });
    const file = join(work, JSON.parse(packed)[0].filename);
    const found = `sha512-${createHash("sha512").update(readFileSync(file)).digest("base64")}`;
    if (found !== sum) throw new Error(`${spec}: its sum is ${found}, not the one in scripts/check-runtimes.mjs`);
    execFileSync("tar", ["-xzf", file, member], { cwd: work });
    mkdirSync(folder, { recursive: true });
    execFileSync("cp", [join(work, member), join(folder, `${name}.new`)]);
    chmodSync(join(folder, `${name}.new`), 0o755);
    renameSync(join(folder, `${name}.new`), join(folder, name));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function runOnce(program, args) {
  const { status, signal, stdout, stderr, error } = spawnSync(program, args, {
    encoding: "utf8",
    timeout: runMs,
    cwd: root,
  });
  const end = error?.message ?? (signal ? `signal ${signal}` : status === 0 ? "" : `exit code ${status}`);
  const said = stderr.trim().split("\n").slice(-3).join(" | ");
  if (end !== "") return { failure: `${end}${said === "" ? "" : `: ${said}`}` };
  try {
    return { report: JSON.parse(stdout.trim().split("\n").at(-1)) };
  } catch {
    return { failure: "exit code 0, but no answer" };
  }
}

function worstDifference(report, expected) {
  const pairs = report.vectors.flatMap((vector, i) =>
    vector.map((value, j) => Math.abs(value - expected.vectors[i][j])),
  );
  return report.vectors.length === expected.vectors.length ? Math.max(...pairs) : Number.POSITIVE_INFINITY;
}

/** What became of `runs` runs of a runtime, in its own process or with the engine in a child. */
function check({ name, args }, way, expected) {
  const failures = [];
  let difference = 0;
  for (let run = 0; run < Number(options.runs); run++) {
    const { failure, report } = runOnce(join(folder, name), [...args, smoke, ...way]);
    if (failure !== undefined) failures.push(failure);
    else if (report.refused !== expected.refused || report.aborted !== expected.aborted)
      failures.push(`other error codes: ${report.refused}, ${report.aborted}`);
    else difference = Math.max(difference, worstDifference(report, expected));
  }
  if (difference > 1e-6) failures.push(`a number of a vector differs by ${difference} from Node's`);
  const version = spawnSync(join(folder, name), ["--version"], { encoding: "utf8" }).stdout.trim().split("\n")[0];
  return { name, version, way: way[0] ?? "in process", runs: Number(options.runs), failures, difference };
}

const isHere = process.platform === "linux" && process.arch === "x64";
if (!isHere) console.log("check-runtimes: not run: the pinned files are for Linux x64");
const results = [];
const node = isHere ? runOnce(process.execPath, [smoke]) : {};
if (node.failure !== undefined) throw new Error(`Node itself: ${node.failure}`);
for (const runtime of isHere ? runtimes : []) {
  if (!options["no-fetch"] && !existsSync(join(folder, runtime.name))) fetchRuntime(runtime);
  if (!existsSync(join(folder, runtime.name))) {
    console.log(`${runtime.name}: not there`);
    continue;
  }
  for (const way of [[], ["isolate"]]) {
    const result = check(runtime, way, node.report);
    results.push(result);
    const { version, runs, failures, difference } = result;
    const outcome =
      failures.length === 0 ? `as Node, worst difference ${difference}` : [...new Set(failures)].join("; ");
    console.log(`${runtime.name} (${version}), ${result.way}: ${runs - failures.length} of ${runs} runs, ${outcome}`);
  }
}
if (options["no-fetch"]) console.log(JSON.stringify(results));
process.exitCode = results.some(({ failures }) => failures.length > 0) ? 1 : 0;
