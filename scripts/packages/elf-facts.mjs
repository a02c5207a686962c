// What a Linux library asks of the system that loads it, as readelf of binutils tells it.
import { execFileSync } from "node:child_process";

const readelf = (file, ...flags) =>
  execFileSync("readelf", ["-W", ...flags, file], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    env: { ...process.env, LC_ALL: "C" },
  });

const compare = (a, b) => a.localeCompare(b, "en", { numeric: true });
const newest = (versions) => [...versions].sort(compare).at(-1);

/**
 * @typedef {object} ElfFacts
 * @property {string} machine
 * @property {string} [soname]
 * @property {string[]} needed     libraries that are loaded with it
 * @property {string[]} runPath    where they are looked for
 * @property {string[]} imports    names without versions
 * @property {string[]} exports
 * @property {Record<string, string>} floors  newest version asked for, by GLIBC, GLIBCXX, CXXABI, GCC
 * @property {boolean} bindsAtOnce  all symbols resolved when it is loaded, its table read-only afterwards
 * @property {boolean} executableStack
 */

/** @returns {ElfFacts} */
export function elfFacts(file) {
  const dynamic = readelf(file, "-d");
  const tagged = (tag) => [...dynamic.matchAll(new RegExp(`\\(${tag}\\).*\\[(.*)\\]`, "g"))].map((match) => match[1]);
  const segments = readelf(file, "-l");
  return {
    machine: /Machine:\s+(.*)/.exec(readelf(file, "-h"))?.[1].trim() ?? "",
    soname: tagged("SONAME")[0],
    needed: tagged("NEEDED").sort(),
    runPath: [...tagged("RPATH"), ...tagged("RUNPATH")],
    ...symbolsOf(readelf(file, "--dyn-syms")),
    bindsAtOnce: /\bNOW\b/.test(dynamic) && /GNU_RELRO/.test(segments),
    executableStack: !/GNU_STACK.*\sRW\s/.test(segments),
  };
}

function symbolsOf(table) {
  const imports = new Set();
  const exports = new Set();
  const versions = new Map();
  for (const line of table.split("\n")) {
    // "   12: 0000000000001234    56 FUNC    GLOBAL DEFAULT  UND malloc@GLIBC_2.2.5 (3)"
    const [, binding, , index, symbol] = /^\s*\d+:\s+\S+\s+\S+\s+\S+\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)/.exec(line) ?? [];
    if (symbol === undefined || binding === "LOCAL") continue;
    const [name, version] = symbol.split(/@+/);
    (index === "UND" ? imports : exports).add(name);
    const [, family, number] = /^([A-Z]+)_(\d[\d.]*)$/.exec(version ?? "") ?? [];
    if (index === "UND" && family !== undefined) versions.set(family, [...(versions.get(family) ?? []), number]);
  }
  const floors = Object.fromEntries([...versions].map(([family, numbers]) => [family, newest(numbers)]));
  return { imports: [...imports].sort(), exports: [...exports].sort(), floors };
}

/** Whether version `a` of a library is newer than `b`: "2.29", "2.3.4". */
export const isNewer = (a, b) => compare(a, b) > 0;
