// A compiler for old and other systems: zig's clang, from PyPI's package `ziglang`.
//
// wheel (pin: version, sha256) -> vendor/zig -> for each target four commands and a toolchain file for CMake.
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { layWheel } from "./wheel.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const folder = join(root, "vendor", "zig");
export const version = "0.17.1";
/** Of the C++ library that it links in: _LIBCPP_VERSION in lib/libcxx/include/__config. */
export const llvmVersion = "22.1.8";
const wheels = {
  x64: {
    platform: "manylinux_2_12_x86_64",
    sha256: "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
  },
  arm64: {
    platform: "manylinux_2_17_aarch64",
    sha256: "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e",
  },
};

/** Lays the compiler in vendor/zig when it is not there. */
export async function prepareZig() {
  const wheel = wheels[process.arch];
  if (process.platform !== "linux" || wheel === undefined)
    throw new Error(
      `zig is pinned for Linux on ${Object.keys(wheels).join(", ")}, not for ${process.platform}-${process.arch}`,
    );
  await layWheel({ ...wheel, folder, spec: `ziglang==${version}`, base: "ziglang", members: ["ziglang/"] });
  chmodSync(join(folder, "zig"), 0o755);
}

// zig has names of its own for processors: what others call -march=armv8.2-a+dotprod+fp16 is -mcpu=generic+v8_2a+dotprod+fullfp16.
const armNames = `for word do
  shift
  case "$word" in -march=armv*)
    word="-mcpu=generic+$(printf %s "\${word#-march=arm}" | sed 's/^v\\([89]\\)\\.\\([0-9]\\)-a/v\\1_\\2a/; s/^v\\([89]\\)-a/v\\1a/; s/+fp16/+fullfp16/')" ;;
  esac
  set -- "$@" "$word"
done
`;

/** Writes the commands and the toolchain file of a target into a folder, and returns the file's path. */
export function writeToolchain({ triple, processor }, into) {
  mkdirSync(into, { recursive: true });
  // CMake and ccache take a compiler for one file, without words of its own.
  const command = (name, words) =>
    writeOnce(
      join(into, name),
      `#!/bin/sh\n${processor === "aarch64" ? armNames : ""}exec "${join(folder, "zig")}" ${words} "$@"\n`,
    );
  const lines = [
    "set(CMAKE_SYSTEM_NAME Linux)",
    `set(CMAKE_SYSTEM_PROCESSOR ${processor})`,
    `set(CMAKE_C_COMPILER "${command("zig-cc", `cc -target ${triple}`)}")`,
    `set(CMAKE_CXX_COMPILER "${command("zig-c++", `c++ -target ${triple}`)}")`,
    `set(CMAKE_AR "${command("zig-ar", "ar")}")`,
    `set(CMAKE_RANLIB "${command("zig-ranlib", "ranlib")}")`,
  ];
  return writeOnce(join(into, "toolchain.cmake"), `${lines.join("\n")}\n`);
}

/** A file that says the same already keeps its date: what was compiled with it is still good. */
function writeOnce(file, text) {
  if (!existsSync(file) || readFileSync(file, "utf8") !== text) writeFileSync(file, text, { mode: 0o755 });
  return file;
}
