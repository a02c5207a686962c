// The package that users install: what package.json lists as published, a manifest without what only a checkout needs, and the sums
// of the platform packages that belong to it.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { deviceTargets, targets } from "../prebuild/targets.mjs";

const sourceBuildScripts = ["build-from-source"];
/** Headers that a build from source needs and that cannot be fetched then. */
const sourceBuildPackages = ["node-addon-api", "node-api-headers"];
const publishedFields = [
  "name",
  "version",
  "description",
  "keywords",
  "license",
  "type",
  "main",
  "types",
  "exports",
  "bin",
  "engines",
  "gypfile",
  "binary",
];

const pick = (from, names) =>
  Object.fromEntries(names.filter((name) => name in from).map((name) => [name, from[name]]));

/** The manifest that is published, from that of the checkout. */
export function publishedManifest(manifest) {
  const native = (list) => Object.fromEntries(list.map(({ name }) => [`@gme-embed/${name}`, manifest.version]));
  return {
    ...pick(manifest, publishedFields),
    preferUnplugged: true, // the engine reads the demonstration model, which it cannot do in an archive of Yarn's
    scripts: pick(manifest.scripts, sourceBuildScripts),
    dependencies: { ...manifest.dependencies, ...pick(manifest.devDependencies, sourceBuildPackages) },
    optionalDependencies: { ...manifest.optionalDependencies, ...native(targets) },
    // Not installed by themselves: named so that strict package managers let this package see them once they are.
    peerDependencies: { ...manifest.peerDependencies, ...native(deviceTargets) },
    peerDependenciesMeta: {
      ...manifest.peerDependenciesMeta,
      ...Object.fromEntries(deviceTargets.map(({ name }) => [`@gme-embed/${name}`, { optional: true }])),
    },
  };
}

/** Files that npm would publish of the checkout. */
export function publishedFiles(root) {
  const listing = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "ignore"],
    shell: process.platform === "win32",
  });
  return JSON.parse(listing)[0].files.map(({ path }) => path);
}

/** Lays the package in `folder`; `sums`: of the native files, by the name of their target. */
export function stageMainPackage(root, folder, sums) {
  rmSync(folder, { recursive: true, force: true });
  for (const path of publishedFiles(root)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    cpSync(join(root, path), join(folder, path));
  }
  const manifest = publishedManifest(JSON.parse(readFileSync(join(root, "package.json"), "utf8")));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(join(folder, "checksums.json"), `${JSON.stringify(sums, null, 2)}\n`);
}
