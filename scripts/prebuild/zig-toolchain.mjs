// A compiler for old and other systems: zig's clang, from PyPI's package `ziglang`.
//
// wheel (pin: version, sha256) -> vendor/zig -> for each target four commands and a toolchain file for CMake.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
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
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

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

function fetchZig() {
  const wheel = wheels[process.arch];
  if (process.platform !== "linux" || wheel === undefined)
    throw new Error(
      `zig is pinned for Linux on ${Object.keys(wheels).join(", ")}, not for ${process.platform}-${process.arch}`,
    );
  const work = mkdtempSync(join(tmpdir(), "gme-zig-"));
  try {
    const python = (args) => execFileSync("python3", args, { cwd: work, stdio: ["ignore", "ignore", "pipe"] });
    python(["-m", "venv", "tool"]);
    const from = ["--no-deps", "--only-binary=:all:", "--platform", wheel.platform, "-d", "wheel"];
    execFileSync(
      join(work, "tool", "bin", "pip"),
      ["download", "--quiet", "--disable-pip-version-check", ...from, `ziglang==${version}`],
      {
        cwd: work,
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    const file = join(work, "wheel", readdirSync(join(work, "wheel"))[0]);
    const found = createHash("sha256").update(readFileSync(file)).digest("hex");
    if (found !== wheel.sha256) throw new Error(`${file}: sha256 ${found}, expected ${wheel.sha256}`);
    python(["-m", "zipfile", "-e", file, "content"]);
    const zig = join(work, "content", "ziglang");
    execFileSync("chmod", ["+x", join(zig, "zig")]);
    writeFileSync(join(zig, ".version"), version);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(dirname(folder), { recursive: true });
    execFileSync("cp", ["-r", zig, `${folder}.new`]);
    renameSync(`${folder}.new`, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Lays the compiler in vendor/zig when it is not there. */
export function prepareZig() {
  const stamp = join(folder, ".version");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === version) return;
  console.log(`prebuild: fetching ziglang ${version}`);
  fetchZig();
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
