// What binaries are published for, one row per platform package.
//
// On Linux the compiler is zig's clang, which brings the headers and start files of an old glibc and of musl, so that any Linux machine
// makes all four; on the others it is the system's own.

/**
 * @typedef {object} Target
 * @property {string} name            of the package: @gme-embed/<name>
 * @property {string} platform        as process.platform
 * @property {string} arch            as process.arch
 * @property {"glibc" | "musl"} [libc]
 * @property {string} [triple]        zig's name of the system
 * @property {string} [processor]     CMAKE_SYSTEM_PROCESSOR
 * @property {string} [glibc]         the newest glibc that a symbol may ask for
 */

/** @type {readonly Target[]} */
export const targets = [
  {
    name: "linux-x64",
    platform: "linux",
    arch: "x64",
    libc: "glibc",
    triple: "x86_64-linux-gnu.2.28",
    processor: "x86_64",
    glibc: "2.28",
  },
  {
    name: "linux-x64-musl",
    platform: "linux",
    arch: "x64",
    libc: "musl",
    triple: "x86_64-linux-musl",
    processor: "x86_64",
  },
  {
    name: "linux-arm64",
    platform: "linux",
    arch: "arm64",
    libc: "glibc",
    triple: "aarch64-linux-gnu.2.28",
    processor: "aarch64",
    glibc: "2.28",
  },
  { name: "darwin-arm64", platform: "darwin", arch: "arm64" },
  { name: "darwin-x64", platform: "darwin", arch: "x64" },
  { name: "win32-x64", platform: "win32", arch: "x64" },
];

/** Packages that drive graphics cards. Vulkan's library is not built by this project yet: GME_BACKEND_PATH takes one of the same ggml. */
export const deviceTargets = [{ name: "linux-x64-cuda", kind: "cuda", platform: "linux", arch: "x64", libc: "glibc" }];

/** @returns {Target} */
export function findTarget(name) {
  const found = targets.find((target) => target.name === name);
  if (found === undefined)
    throw new Error(`there is no target ${name}; expected one of ${targets.map((t) => t.name).join(", ")}`);
  return found;
}

/** The target that runs on this machine, undefined where none does. */
export function targetOfThisMachine() {
  const libc = process.platform === "linux" ? libcOfThisProcess() : undefined;
  return targets.find((t) => t.platform === process.platform && t.arch === process.arch && t.libc === libc);
}

function libcOfThisProcess() {
  return process.report.getReport().header.glibcVersionRuntime === undefined ? "musl" : "glibc";
}
