// Packs what is published: a tarball per platform package whose files were built, and the main package with their sums.
//
//   node scripts/packages.mjs [--out dist/packages] [--complete]
//
// build-prebuild/<target>/prebuilds -> checked, staged, packed; dist and the sources -> the main package -> packed; then the table of
// sizes and floors of docs/packages.md. --complete fails when a target is missing: a release is all of them or nothing.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { stageDevicePackage } from "./packages/device-package.mjs";
import { stageMainPackage } from "./packages/main-package.mjs";
import { stagePlatformPackage } from "./packages/platform-package.mjs";
import { packageRow, packageTable } from "./packages/package-table.mjs";
import { deviceTargets, targets } from "./prebuild/targets.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const builds = join(root, "build-prebuild");
/** npm refuses uploads a little above 200 MB. */
const greatestPacked = 150e6;

function pack(folder, out) {
  const told = execFileSync("npm", ["pack", folder, "--json", "--ignore-scripts", "--pack-destination", out], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "inherit"],
    shell: process.platform === "win32",
  });
  const [{ filename, unpackedSize }] = JSON.parse(told);
  const file = join(out, filename.replace(/^@/, "").replace("/", "-"));
  const packed = statSync(file).size;
  if (packed > greatestPacked)
    throw new Error(`${filename}: ${packed} bytes packed, at most ${greatestPacked} are published`);
  return { file, packed, unpackedSize };
}

function main() {
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: join(root, "dist", "packages") },
      complete: { type: "boolean", default: false },
    },
  });
  if (!existsSync(join(root, "dist", "index.mjs"))) throw new Error("dist is not compiled: npm run setup");
  rmSync(values.out, { recursive: true, force: true });
  mkdirSync(values.out, { recursive: true });
  const sums = {};
  const rows = [];
  const missing = [];
  for (const target of targets) {
    const staged = stagePlatformPackage(root, target, join(builds, target.name));
    if (staged === undefined) missing.push(target.name);
    else {
      sums[target.name] = staged.sums;
      rows.push(packageRow(`@gme-embed/${target.name}`, pack(staged.folder, values.out), staged));
    }
  }
  for (const target of deviceTargets) {
    const folder = stageDevicePackage(root, target, join(builds, target.name));
    if (folder === undefined) missing.push(target.name);
    else rows.push(packageRow(`@gme-embed/${target.name}`, pack(folder, values.out)));
  }
  if (values.complete && missing.length > 0) throw new Error(`nothing was built for ${missing.join(", ")}`);
  stageMainPackage(root, join(builds, "main"), sums);
  rows.unshift(packageRow("gme-embed", pack(join(builds, "main"), values.out)));
  console.log(packageTable(rows));
  if (missing.length > 0) console.log(`\nnot built here: ${missing.join(", ")}`);
  console.log(`packages: ${relative(root, values.out)}`);
}

try {
  main();
} catch (error) {
  console.error(`packages: ${error.message}`);
  process.exitCode = 1;
}
