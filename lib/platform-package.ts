import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { besideAsar } from "./asar-path";
import { version } from "./version";

type Sums = Record<string, Record<string, string>>;

/** One try to load the addon, and why it failed. */
export interface LoadAttempt {
  /** The file, or what was searched for. */
  what: string;
  reason: string;
  /** What was thrown, if anything was. */
  cause?: unknown;
}

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
  libc ??= findLibc();
  return libc;
}

let libc: string | undefined;

/** Node's report takes some 8 ms to write: once per process. */
function findLibc(): string {
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
  if (folder === undefined) return { what: name, reason: whyNotFound(root) };
  const reason = versionProblem(folder) ?? checksumProblem(root, folder);
  return reason === undefined ? folder : { what: folder, reason };
}

function versionProblem(folder: string): string | undefined {
  const found = (readJson(join(folder, "package.json"), "its package.json") as { version?: string }).version;
  return found === version ? undefined : `it is version ${found}, this package is version ${version}`;
}

/** A file that was damaged or replaced on the way must not be loaded: what a process loads can do all that the process can. */
function checksumProblem(root: string, folder: string): string | undefined {
  const sums = readJson(join(root, "checksums.json"), "checksums.json of gme-embed") as Sums | null;
  const files = Object.entries(sums?.[platformName()] ?? {});
  if (files.length === 0) return `checksums.json of gme-embed has no sums for ${platformName()}; it is damaged`;
  for (const [file, expected] of files) {
    if (!existsSync(join(folder, file))) return `${file} is missing; the package is damaged`;
    const found = createHash("sha256")
      .update(readFileSync(join(folder, file)))
      .digest("hex");
    if (found !== expected) return `${file} has the sha256 ${found}, published was ${expected}`;
  }
  return strangerBeside(files.map(([file]) => join(folder, file)));
}

/** The engine takes libraries by their names from the folder that it lies in. */
function strangerBeside(files: readonly string[]): string | undefined {
  const stranger = readdirSync(dirname(files[0])).find((name) => !files.includes(join(dirname(files[0]), name)));
  return stranger === undefined
    ? undefined
    : `${stranger} lies beside the addon and was not published with it; the package is damaged`;
}

function readJson(file: string, name: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new Error(`${name} is damaged: ${(cause as Error).message}`, { cause });
  }
}

/** Packages for other platforms tell of a lock file or a folder that came from another machine. */
function whyNotFound(root: string): string {
  const folders = require.resolve.paths("@gme-embed/x")?.map((folder) => join(folder, "@gme-embed")) ?? [];
  const here = [join(root, "node_modules", "@gme-embed"), join(dirname(root), "@gme-embed"), ...folders];
  const names = new Set(here.flatMap(namesIn).filter((name) => !/-(cuda|vulkan)$/.test(name)));
  if (names.has(platformName())) return "its package.json is damaged or missing";
  return names.size === 0
    ? "not installed"
    : `not installed; found: ${[...names].map((name) => `@gme-embed/${name}`).join(", ")}`;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
