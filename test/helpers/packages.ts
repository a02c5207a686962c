// The tarballs that scripts/packages.mjs made, for the tests that look into them and install them.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { platformName } from "../../lib/platform-package";
import { root } from "./fixtures";

export interface TarEntry {
  /** Below `package/`. */
  path: string;
  /** `0` file, `5` folder, `2` link, … */
  type: string;
  mode: number;
  data: Buffer;
}

export interface Tarball {
  file: string;
  packed: Buffer;
  manifest: Record<string, unknown> & { name: string; version: string };
  entries: TarEntry[];
}

const folder = join(root, "dist", "packages");

/** Each tarball of dist/packages; empty where none was made. */
export function packedTarballs(): Tarball[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".tgz"))
    .sort()
    .map((name) => readTarball(join(folder, name)));
}

/** A reason to skip: the package of this machine and the main one are not both there. */
export function skipWithoutPackages(tarballs: readonly Tarball[], platform = platformName()): string | false {
  const names = tarballs.map(({ manifest }) => manifest.name);
  const isThere = names.includes("gme-embed") && names.includes(`@gme-embed/${platform}`);
  return isThere ? false : `npm run packages was not run for ${platform}`;
}

export function readTarball(file: string): Tarball {
  const packed = readFileSync(file);
  const entries = tarEntries(gunzipSync(packed));
  const manifest = entries.find(({ path }) => path === "package.json");
  return { file, packed, manifest: JSON.parse(String(manifest?.data)), entries };
}

// POSIX ustar, as npm writes it: a header of 512 bytes, then the data in blocks of 512; `x` holds a long path for the next entry.
function tarEntries(bytes: Buffer): TarEntry[] {
  const entries: TarEntry[] = [];
  let longPath: string | undefined;
  for (let at = 0; at + 512 <= bytes.length && bytes[at] !== 0; ) {
    const field = (from: number, length: number) =>
      bytes.toString("utf8", at + from, at + from + length).replace(/\0.*$/s, "");
    const size = Number.parseInt(field(124, 12), 8);
    const data = bytes.subarray(at + 512, at + 512 + size);
    const type = field(156, 1);
    if (type === "x") longPath = /\d+ path=(.*)\n/.exec(data.toString("utf8"))?.[1];
    else {
      const prefix = field(345, 155);
      const path = longPath ?? (prefix ? `${prefix}/${field(0, 100)}` : field(0, 100));
      longPath = undefined;
      if (type !== "g")
        entries.push({ path: path.replace(/^package\//, ""), type, mode: Number.parseInt(field(100, 8), 8), data });
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return entries;
}
