// Loads the built addon beside other native packages, each alone and all together, before and after ours, in a process each: everyone
// does real work, our vectors must stay the same to the bit, and the process must end with 0.
//
//   node scripts/check-neighbours.mjs [--folder F] [--only NAME]
//   GME_EMBED_PREBUILD=build-prebuild/linux-x64 node scripts/check-neighbours.mjs …      with the addon of a platform package
//
// The packages are installed into F (default: a temporary folder, removed at the end), pinned, without install scripts; where a package
// ships no binary it is compiled against the headers of the Node that runs. Prints a line per meeting, ends with 1 if one fails.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { meet, orders, root } from "../test/neighbours/meeting.cjs";

const versions = {
  "onnxruntime-node": "1.30.0",
  "better-sqlite3": "12.6.2",
  "node-llama-cpp": "3.22.1",
  "@napi-rs/canvas": "1.1.1",
  sharp: "0.35.5",
};

const { values } = parseArgs({ options: { folder: { type: "string" }, only: { type: "string" } } });
const folder = values.folder ?? mkdtempSync(join(tmpdir(), "gme-neighbours-"));
const npm = process.platform === "win32" ? "npm.cmd" : "npm";

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { encoding: "utf8", cwd: folder, maxBuffer: 1 << 27, ...options });
  if (done.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${done.stderr || done.error}`.slice(0, 2000));
  return done.stdout;
}

function install() {
  mkdirSync(folder, { recursive: true });
  const platform = `${process.platform}-${process.arch}${process.platform === "linux" ? "-gnu" : ""}`;
  const binaries = {
    "node-llama-cpp": `@node-llama-cpp/${process.platform}-${process.arch}`,
    "@napi-rs/canvas": `@napi-rs/canvas-${platform}`,
  };
  const packages = {};
  for (const name of values.only ? [values.only] : Object.keys(versions)) {
    packages[name] = versions[name];
    if (binaries[name]) packages[binaries[name]] = versions[name];
  }
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, dependencies: packages }));
  run(npm, ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]);
}

/** better-sqlite3's binary comes from elsewhere than the registry: compiled here instead. */
function compileSqlite() {
  const at = join(folder, "node_modules", "better-sqlite3");
  if (existsSync(join(at, "build", "Release", "better_sqlite3.node"))) return;
  const headers = dirname(dirname(realpathSync(process.execPath)));
  if (!existsSync(join(headers, "include", "node", "node.h"))) throw new Error(`no Node headers in ${headers}/include`);
  const gyp = join(run(npm, ["root", "-g"]).trim(), "npm", "node_modules", "node-gyp", "bin", "node-gyp.js");
  run(process.execPath, [gyp, "rebuild", "--release", `--nodedir=${headers}`], { cwd: at });
}

function check(names, order, setup, expected) {
  const { code, signal, vectors, did, stderr, milliseconds } = meet(names, order, setup);
  const same = vectors.length === 2 && vectors.every((vector) => vector === expected);
  const ended = code === 0 && Object.keys(did).length === names.length;
  const verdict = same && ended ? "ok" : "not ok";
  console.log(`${verdict} - ${names.join(", ")}; ${order}: ${Object.values(did).join("; ")} (${milliseconds} ms)`);
  if (verdict !== "ok")
    console.log(`  exit code ${code} ${signal ?? ""}, vectors ${same ? "equal" : "differ"}\n  ${stderr}`);
  return verdict === "ok";
}

if (values.only && !(values.only in versions))
  throw new Error(`${values.only} is none of ${Object.keys(versions).join(", ")}`);
install();
if (!values.only || values.only === "better-sqlite3") compileSqlite();
const addon = createRequire(import.meta.url)("node-gyp-build").resolve(root);
const setup = { addon, folder, temporary: folder };
const alone = meet([], "ours first", setup);
if (alone.code !== 0) throw new Error(`our addon alone: exit code ${alone.code}\n${alone.stderr}`);
const all = Object.keys(versions);
const groups = values.only ? [[values.only]] : [...all.map((name) => [name]), all, [...all].reverse()];
let [passed, failed] = [0, 0];
for (const names of groups) {
  for (const order of orders) {
    if (check(names, order, setup, alone.vectors[0])) passed++;
    else failed++;
  }
}
console.log(
  `# L25: ${passed + failed} meetings with ${(values.only ? [values.only] : all).map((name) => `${name} ${versions[name]}`).join(", ")}: ${passed} ok, ${failed} failed`,
);
if (!values.folder) rmSync(folder, { recursive: true, force: true });
process.exitCode = failed === 0 ? 0 : 1;
