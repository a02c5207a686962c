import { readdirSync, statSync } from "node:fs";
import { basename, delimiter, join, resolve } from "node:path";
import { packageFolder, platformName } from "./platform-package";

/** A library of ggml's that drives devices, and who named it. */
export interface DeviceLibrarySource {
  readonly path: string;
  /** `GME_BACKEND_PATH`, the package that holds it, or `engine`: it lies beside the engine. */
  readonly from: string;
}

/** Kinds of devices that a package of their own can bring. */
export const devicePackageKinds = ["cuda", "vulkan"] as const;

const libraryName = /^(lib)?(gme-)?ggml-(?!base\b|cpu\b)[a-z0-9-]+\.(so|dylib|dll)$/;

/** Name of the package that drives devices of a kind on this platform. */
export function devicePackage(kind: (typeof devicePackageKinds)[number]): string {
  return `@gme-embed/${platformName()}-${kind}`;
}

/** Metal needs nothing that is not part of macOS: what is passed on for Apple silicon brings it. */
const besideEngine = /^libgme-ggml-metal\.(so|dylib)$/;

/**
 * Libraries in the order in which they are loaded: those of GME_BACKEND_PATH (files and folders), those of installed packages, and that of
 * Metal in the folder of the engine.
 */
export function findDeviceLibraries(
  environment: NodeJS.ProcessEnv = process.env,
  engineFolder?: string,
): DeviceLibrarySource[] {
  const named = (environment.GME_BACKEND_PATH ?? "").split(delimiter).filter((path) => path !== "");
  const found = named.flatMap((path) =>
    librariesAt(resolve(path)).map((file) => ({ path: file, from: "GME_BACKEND_PATH" })),
  );
  for (const kind of devicePackageKinds) {
    const name = devicePackage(kind);
    const folder = packageFolder(name);
    if (folder !== undefined) found.push(...librariesAt(folder).map((path) => ({ path, from: name })));
  }
  if (engineFolder !== undefined)
    found.push(
      ...librariesAt(engineFolder)
        .filter((path) => besideEngine.test(basename(path)))
        .map((path) => ({ path, from: "engine" })),
    );
  return found;
}

/** A file as it is, whether it is there or not; of a folder the libraries of devices in it. */
function librariesAt(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path)
      .filter((name) => libraryName.test(name))
      .sort()
      .map((name) => join(path, name));
  } catch {
    return [path]; // not there or not readable: loading it tells why
  }
}
