// What must hold of the native files of a platform package before they are packed; each failure is a sentence.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { elfFacts, isNewer } from "./elf-facts.mjs";

const machines = { x64: "Advanced Micro Devices X86-64", arm64: "AArch64" };

/** Libraries of the system that a file may ask for. */
const systemLibraries = {
  glibc: /^(libc\.so\.6|libm\.so\.6|libdl\.so\.2|libpthread\.so\.0|librt\.so\.1|ld-linux-(x86-64|aarch64)\.so\.[12])$/,
  musl: /^(libc\.so|libc\.musl-(x86_64|aarch64)\.so\.1)$/,
};
const own = /^libgme-engine\.so$/;
const addonExports = ["napi_register_module_v1", "node_api_module_get_api_version_v1"];
/** Names that only a host of Node's kind has: everything else must be found in the system or in our own libraries. */
const hostNames = /^(_ZN?K?2v8|_ZN?K?4node|uv_|node_|v8_|napi_)/;
const engineExports = /^(gme|ggml|gguf|quantize|dequantize|iq2xs|iq3xs)_/;
/** At least these levels of kernels, so that no processor of the architecture is left out. */
const leastKernels = { x64: ["x64", "sse42", "haswell", "skylakex", "zen4"], arm64: ["armv8.0_1"] };

/** Folder of native files of a target -> { files, problems }. Linux only: the others' files are checked where they are made. */
export function checkPrebuild(folder, target) {
  const problems = [];
  const files = readdirSync(folder)
    .sort()
    .map((name) => ({ name, bytes: statSync(join(folder, name)).size }));
  const addon = files.filter(({ name }) => name.endsWith(".node"));
  if (addon.length !== 1) problems.push(`${addon.length} addons, expected one`);
  const kernels = files
    .map(({ name }) => /^(?:lib)?gme-ggml-cpu-(.*)\.(?:so|dylib|dll)$/.exec(name)?.[1])
    .filter(Boolean);
  for (const level of leastKernels[target.arch]) {
    if (target.platform === "linux" && !kernels.includes(level)) problems.push(`no kernels for ${level}`);
  }
  const facts = target.platform === "linux" ? files.map(({ name }) => checkElf(folder, name, target, problems)) : [];
  return { files, problems, floors: floorsOf(facts), kernels };
}

function checkElf(folder, name, target, problems) {
  const facts = elfFacts(join(folder, name));
  const complain = (text) => problems.push(`${name}: ${text}`);
  if (facts.machine !== machines[target.arch]) complain(`made for ${facts.machine}`);
  for (const needed of facts.needed) {
    if (!systemLibraries[target.libc].test(needed) && !own.test(needed)) complain(`needs ${needed}`);
  }
  for (const path of facts.runPath) if (path !== "$ORIGIN") complain(`looks for libraries in ${path}`);
  const { GLIBC: floor, ...others } = facts.floors;
  if (floor !== undefined && (target.glibc === undefined || isNewer(floor, target.glibc)))
    complain(`needs glibc ${floor}`);
  for (const [family, version] of Object.entries(others)) complain(`needs ${family} ${version} of a C++ library`);
  if (!facts.bindsAtOnce) complain("resolves symbols late, or its table stays writable");
  if (facts.executableStack) complain("asks for an executable stack");
  checkNames(name, facts, complain);
  return facts;
}

function checkNames(name, { imports, exports, soname }, complain) {
  const cpp = imports.filter((symbol) => symbol.startsWith("_Z"));
  if (cpp.length > 0) complain(`takes C++ names from elsewhere: ${cpp.slice(0, 5).join(", ")}`);
  const host = imports.filter((symbol) => hostNames.test(symbol));
  if (!name.endsWith(".node")) {
    if (host.length > 0) complain(`takes names from Node: ${host.slice(0, 5).join(", ")}`);
    const foreign = exports.filter((symbol) => !engineExports.test(symbol));
    if (foreign.length > 0) complain(`shows ${foreign.slice(0, 5).join(", ")}`);
    if (name === "libgme-engine.so" && soname !== name) complain(`its soname is ${soname}`);
    return;
  }
  const foreign = host.filter((symbol) => !/^(napi|node_api)_/.test(symbol));
  if (foreign.length > 0) complain(`takes more than Node-API from Node: ${foreign.join(", ")}`);
  if (host.includes("napi_create_external_arraybuffer") || host.includes("napi_create_external_buffer"))
    complain("makes external buffers, which Electron forbids");
  if (exports.join() !== addonExports.join()) complain(`shows ${exports.slice(0, 5).join(", ")}`);
}

function floorsOf(facts) {
  const floors = {};
  for (const each of facts) {
    for (const [family, version] of Object.entries(each.floors)) {
      if (floors[family] === undefined || isNewer(version, floors[family])) floors[family] = version;
    }
  }
  return floors;
}
