// Lays ggml, unpatched, in vendor/ggml as vendor/ggml.json pins it.
//
// npm package (pin: name, version) -> its git bundle of llama.cpp (pin: sha256) -> ggml/ and the licence at one commit
// -> vendor/ggml (pin: sha256 over the sorted paths and contents).
//
//   node scripts/vendor-ggml.mjs                   fetch when vendor/ggml is missing or differs from the pin
//   node scripts/vendor-ggml.mjs --check           only hash the tree again and compare it with the pin
//   node scripts/vendor-ggml.mjs --update VERSION  move the pin to another version of the npm package
//
// Node's built-ins only: this runs before `npm ci`.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const pinFile = join(root, "vendor", "ggml.json");
const target = join(root, "vendor", "ggml");
const stampFile = join(target, ".pin");
const bundlePath = "llama/gitRelease.bundle";

class VendorError extends Error {}

function run(command, args, options = {}) {
  try {
    return execFileSync(command, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 1 << 28,
      shell: process.platform === "win32" && command === "npm",
      ...options,
    });
  } catch (error) {
    if (error.code === "ENOENT")
      throw new VendorError(`${command} is not on the PATH; vendoring ggml needs npm and git`);
    const reason = String(error.stderr ?? "")
      .trim()
      .split("\n")
      .slice(-5)
      .join("\n");
    throw new VendorError(`${command} ${args[0]} failed: ${reason || error.message}`);
  }
}

const sha256 = (data) => createHash("sha256").update(data).digest("hex");

function listFiles(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      relative(folder, join(entry.parentPath ?? entry.path, entry.name))
        .split(sep)
        .join("/"),
    )
    .filter((name) => name !== ".pin")
    .sort((a, b) => (a < b ? -1 : 1));
}

// One digest for the whole tree: "path NUL sha256 LF" of every file, in byte order of the paths.
function hashTree(folder) {
  const hash = createHash("sha256");
  for (const name of listFiles(folder)) hash.update(`${name}\0${sha256(readFileSync(join(folder, name)))}\n`);
  return hash.digest("hex");
}

function readPin() {
  const pin = JSON.parse(readFileSync(pinFile, "utf8"));
  for (const key of ["package", "version", "bundleSha256", "treeSha256", "commit"]) {
    if (typeof pin[key] !== "string") throw new VendorError(`vendor/ggml.json: "${key}" is missing`);
  }
  return pin;
}

function readStamp() {
  return existsSync(stampFile) ? readFileSync(stampFile, "utf8").trim() : "";
}

// The bundle out of the package's tarball, fetched with npm's own client, so that any configured registry serves.
function fetchBundle(work, spec) {
  const packed = JSON.parse(run("npm", ["pack", spec, "--json", "--silent", "--ignore-scripts"], { cwd: work }));
  run("tar", ["-xzf", packed[0].filename, `package/${bundlePath}`, "package/llama/llama.cpp.info.json"], { cwd: work });
  return join(work, "package", ...bundlePath.split("/"));
}

// ggml/ becomes the root of the tree, llama.cpp's licence and authors lie beside it.
function extractTree(work, bundle) {
  const clone = join(work, "clone");
  const tree = join(work, "tree");
  run("git", ["-c", "core.autocrlf=false", "clone", "--quiet", "--no-checkout", bundle, clone]);
  const git = (...args) => run("git", ["-C", clone, "-c", "core.autocrlf=false", ...args]);
  const commit = git("rev-parse", "HEAD").trim();
  const extras = git("ls-tree", "--name-only", "HEAD", "LICENSE", "AUTHORS").trim().split("\n");
  git("checkout", "--quiet", "HEAD", "--", "ggml", ...extras);
  renameSync(join(clone, "ggml"), tree);
  // npm leaves .gitignore out of a package; dropped here too, so that the published tree has the same checksum.
  for (const name of listFiles(tree)) if (basename(name) === ".gitignore") rmSync(join(tree, name));
  for (const name of extras) renameSync(join(clone, name), join(tree, name));
  return { tree, commit };
}

// Copied beside the target under another name, then renamed: an interrupted run leaves no half tree behind.
function install(tree, treeSha256) {
  for (const name of readdirSync(dirname(target))) {
    if (name.startsWith(".ggml-")) rmSync(join(dirname(target), name), { recursive: true, force: true });
  }
  const incoming = join(dirname(target), `.ggml-${process.pid}`);
  cpSync(tree, incoming, { recursive: true });
  writeFileSync(join(incoming, ".pin"), `${treeSha256}\n`);
  rmSync(target, { recursive: true, force: true });
  renameSync(incoming, target);
}

function withWorkFolder(body) {
  const work = mkdtempSync(join(tmpdir(), "gme-ggml-"));
  try {
    return body(work);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function ggmlVersion(tree) {
  const text = readFileSync(join(tree, "CMakeLists.txt"), "utf8");
  return ["MAJOR", "MINOR", "PATCH"].map((part) => text.match(`GGML_VERSION_${part} (\\d+)`)?.[1]).join(".");
}

function fetchPinned(pin) {
  console.log(`ggml ${pin.ggmlVersion}: fetching ${pin.package}@${pin.version}`);
  withWorkFolder((work) => {
    const bundle = fetchBundle(work, `${pin.package}@${pin.version}`);
    const bundleSha256 = sha256(readFileSync(bundle));
    if (bundleSha256 !== pin.bundleSha256) {
      throw new VendorError(`${bundlePath}: sha256 is ${bundleSha256}, the pin says ${pin.bundleSha256}`);
    }
    const { tree, commit } = extractTree(work, bundle);
    if (commit !== pin.commit) throw new VendorError(`the bundle's commit is ${commit}, the pin says ${pin.commit}`);
    const treeSha256 = hashTree(tree);
    if (treeSha256 !== pin.treeSha256) {
      throw new VendorError(`extracted ggml tree: sha256 is ${treeSha256}, the pin says ${pin.treeSha256}`);
    }
    install(tree, treeSha256);
  });
  console.log(`ggml ${pin.ggmlVersion}: laid in vendor/ggml, both checksums match the pin`);
}

function update(version) {
  const name = existsSync(pinFile) ? readPin().package : "node-llama-cpp";
  mkdirSync(dirname(target), { recursive: true });
  withWorkFolder((work) => {
    const bundle = fetchBundle(work, `${name}@${version}`);
    const { tag } = JSON.parse(readFileSync(join(work, "package", "llama", "llama.cpp.info.json"), "utf8"));
    const { tree, commit } = extractTree(work, bundle);
    const pin = {
      package: name,
      version,
      bundle: bundlePath,
      bundleSha256: sha256(readFileSync(bundle)),
      treeSha256: hashTree(tree),
      ggmlVersion: ggmlVersion(tree),
      llamaCppTag: tag,
      commit,
    };
    install(tree, pin.treeSha256);
    writeFileSync(pinFile, `${JSON.stringify(pin, null, 2)}\n`);
    console.log(
      `vendor/ggml.json: ggml ${pin.ggmlVersion} of llama.cpp ${tag} (${name}@${version}); run the tests before committing`,
    );
  });
}

function check(pin) {
  if (!existsSync(target)) throw new VendorError("vendor/ggml is missing; run: npm run setup");
  const treeSha256 = hashTree(target);
  if (treeSha256 !== pin.treeSha256) {
    throw new VendorError(`vendor/ggml: sha256 is ${treeSha256}, the pin says ${pin.treeSha256}`);
  }
  console.log(`ggml ${pin.ggmlVersion}: vendor/ggml matches the pin`);
}

function ensure(pin) {
  if (readStamp() === pin.treeSha256) {
    console.log(`ggml ${pin.ggmlVersion}: up to date`);
    return;
  }
  // A published source tarball carries the tree without the stamp: nothing to fetch.
  if (existsSync(target) && hashTree(target) === pin.treeSha256) {
    writeFileSync(stampFile, `${pin.treeSha256}\n`);
    console.log(`ggml ${pin.ggmlVersion}: vendor/ggml matches the pin`);
    return;
  }
  fetchPinned(pin);
}

function main(args) {
  if (args.length === 2 && args[0] === "--update") return update(args[1]);
  if (args.length === 1 && args[0] === "--check") return check(readPin());
  if (args.length === 0) return ensure(readPin());
  throw new VendorError("usage: vendor-ggml.mjs [--check | --update VERSION]");
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof VendorError)) throw error;
  console.error(`vendor-ggml: ${error.message}`);
  process.exitCode = 1;
}
