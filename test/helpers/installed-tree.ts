// node_modules of a user, laid from the tarballs without a package manager; what gme-embed depends on is linked from the checkout.
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root, temporaryFolder } from "./fixtures";
import type { Tarball } from "./packages";

/** Lays a package; `only` leaves files out. */
export function layPackage(modules: string, tarball: Tarball, only = (_path: string) => true): string {
  const folder = join(modules, tarball.manifest.name);
  for (const { path, mode, data } of tarball.entries.filter(({ path }) => only(path))) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), data, { mode });
  }
  return folder;
}

/** The sources for a build of one's own are not needed to run. */
export const withoutSources = (path: string): boolean => !/^(vendor|native|docs)\//.test(path);

/** A folder with node_modules: gme-embed of `main`, and links to everything else that the checkout has. */
export function installedTree(main: Tarball): { folder: string; modules: string; gme: string } {
  const folder = temporaryFolder();
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  for (const name of readdirSync(join(root, "node_modules")))
    if (!name.startsWith(".") && name !== "@gme-embed")
      symlinkSync(join(root, "node_modules", name), join(modules, name));
  return { folder, modules, gme: layPackage(modules, main, withoutSources) };
}

export interface Ended {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

/** Runs node in a folder, without the variables that would lead it to other files. */
export function runNode(folder: string, words: string[], more: Record<string, string> = {}): Promise<Ended> {
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, NO_COLOR: "1", ...more };
  return new Promise((resolve) => {
    execFile(process.execPath, words, { cwd: folder, env, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      const { code = 0, signal = null } = (error ?? {}) as { code?: number; signal?: string | null };
      resolve({ code: signal ? null : code, signal, stdout, stderr });
    });
  });
}
