import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { besideAsar } from "./asar-path";
import type { LoadAttempt } from "./load-help";
import { version } from "./version";

/** What the packages of native files are named by: `linux-x64`, `linux-x64-musl`, `darwin-arm64`, … */
export function platformName(libc = currentLibc()): string {
  return `${process.platform}-${process.arch}${libc === "musl" ? "-musl" : ""}`;
}

/** The package that holds the addon for this platform. */
export function platformPackage(): string {
  return `@gme-embed/${platformName()}`;
}

/** The C library of this process: `musl`, `glibc`, or empty where there is only one. */
export function currentLibc(): string {
  if (process.platform !== "linux") return "";
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return report?.header?.glibcVersionRuntime ? "glibc" : "musl";
}

/** Folder of an installed package as the package in `from` sees it, outside of an asar archive; undefined where it is not installed. */
export function packageFolder(name: string, from = __dirname): string | undefined {
  try {
    return besideAsar(dirname(require.resolve(`${name}/package.json`, { paths: [from] })));
  } catch {
    return undefined;
  }
}

/**
 * Folder of the platform package whose files are those that this version was published with; else why there is none.
 * `root`: folder of this package, with checksums.json in it.
 */
export function findPlatformPackage(root: string): string | LoadAttempt {
  const name = platformPackage();
  const folder = packageFolder(name, root);
  if (folder === undefined) return { what: name, reason: `not installed${otherPackages(root)}` };
  const reason = versionProblem(folder) ?? checksumProblem(root, folder);
  return reason === undefined ? folder : { what: folder, reason };
}

function versionProblem(folder: string): string | undefined {
  const found = (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version?: string }).version;
  return found === version ? undefined : `it is version ${found}, this package is version ${version}`;
}

/** A file that was damaged or replaced on the way must not be loaded: what a process loads can do all that the process can. */
function checksumProblem(root: string, folder: string): string | undefined {
  const sums = JSON.parse(readFileSync(join(root, "checksums.json"), "utf8")) as Record<string, Record<string, string>>;
  const files = Object.entries(sums[platformName()] ?? {});
  if (files.length === 0) return `checksums.json of gme-embed has no sums for ${platformName()}`;
  for (const [file, expected] of files) {
    const found = createHash("sha256")
      .update(readFileSync(join(folder, file)))
      .digest("hex");
    if (found !== expected) return `${file} has the sha256 ${found}, published was ${expected}`;
  }
  return undefined;
}

/** Packages for other platforms tell of a lock file or a folder that came from another machine. */
function otherPackages(root: string): string {
  const folders = require.resolve.paths("@gme-embed/x")?.map((folder) => join(folder, "@gme-embed")) ?? [];
  const here = [join(root, "node_modules", "@gme-embed"), join(dirname(root), "@gme-embed"), ...folders];
  const names = new Set(here.flatMap(namesIn).filter((name) => !/-(cuda|vulkan)$/.test(name)));
  return names.size === 0 ? "" : `; found: ${[...names].map((name) => `@gme-embed/${name}`).join(", ")}`;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
