// Brings a checkout to the point where `gme` runs; the first command after `git clone`, so Node's built-ins only.
//
// npm ci -> vendor/ggml -> native build -> tsc and the ESM entry. Each step says what it does and is skipped when its
// inputs have not changed.
//
//   node scripts/setup.mjs          everything the demo needs
//   node scripts/setup.mjs --test   the engine's tests as well
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);
const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);

function run(title, command, args) {
  const start = performance.now();
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" });
  if (done.error?.code === "ENOENT") throw new Error(`${title}: ${command} is not on the PATH`);
  if (done.status !== 0) throw new Error(`${title}: ${command} ${args[0]} ended with ${done.signal ?? done.status}`);
  return seconds(start);
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 17)) {
    throw new Error(`Node ${process.versions.node} is too old to build from source: 20.17 or newer is needed`);
  }
}

// npm's record of what it installed against the lock file: every package that is not optional, in the same version.
function dependenciesAreInstalled() {
  const installedFile = at("node_modules", ".package-lock.json");
  if (!existsSync(installedFile)) return false;
  const installed = JSON.parse(readFileSync(installedFile, "utf8")).packages;
  const locked = Object.entries(JSON.parse(readFileSync(at("package-lock.json"), "utf8")).packages);
  return locked.every(([path, entry]) => {
    if (path === "" || (!installed[path] && (entry.optional || entry.devOptional))) return true;
    return installed[path]?.version === entry.version && existsSync(at(path));
  });
}

function installDependencies() {
  if (dependenciesAreInstalled()) return console.log("node_modules: up to date");
  console.log("node_modules: npm ci");
  console.log(`node_modules: installed in ${run("node_modules", "npm", ["ci"])} s`);
}

function filesBelow(path) {
  if (!existsSync(path)) return [];
  const entries = readdirSync(path, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

// One digest over names and contents of the inputs, and over the machine: kernels are compiled for this very CPU.
function hashInputs(paths) {
  const hash = createHash("sha256").update(JSON.stringify([root, process.arch, cpus()[0]?.model]));
  for (const file of paths.toSorted()) hash.update(`${relative(root, file)}\0`).update(readFileSync(file));
  return hash.digest("hex");
}

function isStamped(stampFile, digest, outputs) {
  return (
    outputs.every((path) => existsSync(path)) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === digest
  );
}

function buildNative(withTests) {
  const inputs = [at("CMakeLists.txt"), at("vendor", "ggml.json"), at("package.json"), at("scripts", "cmake-build.js")];
  inputs.push(...filesBelow(at("native")), ...(withTests ? filesBelow(at("test", "engine")) : []));
  const digest = hashInputs(inputs);
  const stampFile = at("build-cmake", withTests ? ".stamp-tests" : ".stamp");
  if (isStamped(stampFile, digest, [at("build", "Release", "gme_embed.node")])) {
    return console.log("native build: up to date");
  }
  if (!existsSync(at("build-cmake"))) console.log("native build: the first one takes a minute or two");
  const args = [at("scripts", "cmake-build.js"), ...(withTests ? ["--tests"] : [])];
  const time = run("native build", process.execPath, args);
  writeFileSync(stampFile, digest);
  console.log(`native build: done in ${time} s`);
}

// The entries of package.json's "exports", each a file of lib. Most ES modules re-export the CommonJS one by name, so that both kinds of user
// share one instance. Those of `ownModules` extend a class of a peer dependency, which comes in both kinds: they are compiled a second time, so
// that the class is the one that the user imports.
const sharedEntries = ["index", "index-store/index", "server/index", "adapters/ai-sdk"];
const ownModules = ["adapters/langchain", "adapters/llamaindex"];

function writeSharedEntry(entry) {
  const names = Object.keys(createRequire(import.meta.url)(at("dist", `${entry}.js`))).filter(
    (name) => name !== "default",
  );
  const lines = [
    `import entry from "./${basename(entry)}.js";`,
    "",
    ...names.sort().map((name) => `export const ${name} = entry.${name};`),
  ];
  writeFileSync(at("dist", `${entry}.mjs`), `${lines.join("\n")}\n`);
  writeFileSync(at("dist", `${entry}.d.mts`), `export * from "./${basename(entry)}.js";\n`);
}

function writeOwnModule(entry) {
  const typescript = createRequire(import.meta.url)("typescript");
  const compilerOptions = { module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022 };
  const source = readFileSync(at("lib", `${entry}.ts`), "utf8");
  writeFileSync(at("dist", `${entry}.mjs`), typescript.transpileModule(source, { compilerOptions }).outputText);
  copyFileSync(at("dist", `${entry}.d.ts`), at("dist", `${entry}.d.mts`));
}

function compileTypeScript() {
  const inputs = [
    at("tsconfig.json"),
    at("tsconfig.build.json"),
    at("tsconfig.page.json"),
    at("scripts", "bundle-page.mjs"),
    at("package-lock.json"),
    fileURLToPath(import.meta.url),
  ];
  const digest = hashInputs([...inputs, ...filesBelow(at("lib"))]);
  const stampFile = at("build-cmake", ".stamp-dist");
  if (isStamped(stampFile, digest, [at("dist", "index.mjs")])) return console.log("dist: up to date");
  console.log("dist: tsc");
  for (const name of existsSync(at("dist")) ? readdirSync(at("dist")) : []) {
    if (name !== "packages") rmSync(at("dist", name), { recursive: true, force: true }); // made of an earlier dist, by scripts/packages.mjs
  }
  const time = run("dist", process.execPath, [
    at("node_modules", "typescript", "bin", "tsc"),
    "-p",
    "tsconfig.build.json",
  ]);
  for (const entry of sharedEntries) writeSharedEntry(entry);
  for (const entry of ownModules) writeOwnModule(entry);
  run("search page", process.execPath, [at("scripts", "bundle-page.mjs")]);
  chmodSync(at("dist", "cli", "main.js"), 0o755);
  writeFileSync(stampFile, digest);
  console.log(`dist: compiled in ${time} s`);
}

try {
  checkNode();
  installDependencies();
  run("ggml", process.execPath, [at("scripts", "vendor-ggml.mjs")]);
  buildNative(process.argv.includes("--test"));
  compileTypeScript();
} catch (error) {
  console.error(`set-up failed at ${error.message}`);
  process.exitCode = 1;
}
