// Writes the bill of materials, CycloneDX 1.5 as JSON: what npm installs for a user, and what npm cannot see.
//
//   package-lock.json -> `npm sbom` -> npm's components and their dependencies
//   vendor/ggml.json, generated headers, versions that the binary packages carry -> native parts (THIRD_PARTY_NOTICES.md)
//   -> sorted; no clock, no random number: the same sources give the same bytes. SOURCE_DATE_EPOCH adds a time stamp.
//
//   node scripts/sbom.mjs [--out FILE]       default: sbom.cdx.json in the folder of package.json; `-` is stdout
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { llvmVersion, version as zigVersion } from "./prebuild/zig-toolchain.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (...parts) => readFileSync(join(root, ...parts), "utf8");
const readJson = (...parts) => JSON.parse(read(...parts));
const byRef = (a, b) => (a["bom-ref"] < b["bom-ref"] ? -1 : a["bom-ref"] > b["bom-ref"] ? 1 : 0);

/**
 * The dependencies of a user, on whatever platform: the lock file alone is read. Everything is asked for and then chosen,
 * because `npm sbom --omit dev` also leaves out what a user and a development tool need alike (undici, chokidar).
 */
function npmDependencies() {
  const args = ["sbom", "--sbom-format", "cyclonedx", "--sbom-type", "library", "--package-lock-only"];
  const shell = process.platform === "win32";
  const { metadata, components, dependencies } = JSON.parse(
    execFileSync("npm", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26, shell }),
  );
  const lock = Object.entries(readJson("package-lock.json").packages).filter(([path, { dev }]) => path !== "" && !dev);
  const wanted = new Set(
    lock.map(([path, { name, version }]) => `${name ?? path.replace(/^.*node_modules\//, "")}@${version}`),
  );
  const manifest = readJson("package.json");
  const direct = { ...manifest.dependencies, ...manifest.optionalDependencies };
  const self = metadata.component["bom-ref"];
  const edges = dependencies.filter(({ ref }) => ref === self || wanted.has(ref));
  return {
    metadata,
    components: components.filter((component) => wanted.has(component["bom-ref"])),
    dependencies: edges.map(({ ref, dependsOn }) => ({
      ref,
      dependsOn:
        ref === self
          ? Object.keys(direct).map((name) => `${name}@${direct[name]}`)
          : dependsOn.filter((one) => wanted.has(one)),
    })),
  };
}

// npm lists a replaced package once per name that it replaces; they are one package.
function withoutTwins(components) {
  const seen = new Map();
  for (const { properties, externalReferences, ...component } of components) {
    const name = decodeURIComponent(component.purl.slice("pkg:npm/".length, component.purl.lastIndexOf("@")));
    seen.set(component["bom-ref"], { ...component, name });
  }
  return [...seen.values()];
}

/** A build-time package whose code is compiled in: npm leaves it out with the other development dependencies. */
function compiledIn(name) {
  const { version, integrity, license } = readJson("package-lock.json").packages[`node_modules/${name}`];
  return {
    "bom-ref": `${name}@${version}`,
    type: "library",
    name,
    version,
    scope: "required",
    purl: `pkg:npm/${name}@${version}`,
    hashes: [{ alg: "SHA-512", content: Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex") }],
    licenses: [{ license: { id: license } }],
  };
}

function ggmlParts() {
  const pin = readJson("vendor", "ggml.json");
  const purl = `pkg:github/ggml-org/llama.cpp@${pin.commit}`;
  const ggml = {
    "bom-ref": `ggml@${pin.ggmlVersion}`,
    type: "library",
    name: "ggml",
    version: pin.ggmlVersion,
    scope: "required",
    purl: `${purl}#ggml`,
    licenses: [{ license: { id: "MIT" } }],
    externalReferences: [
      {
        type: "distribution",
        url: `pkg:npm/${pin.package}@${pin.version}#${pin.bundle}`,
        hashes: [{ alg: "SHA-256", content: pin.bundleSha256 }],
      },
    ],
    properties: [
      { name: "gme-embed:commit", value: pin.commit },
      { name: "gme-embed:tag", value: pin.llamaCppTag },
      { name: "gme-embed:treeSha256", value: pin.treeSha256 },
    ],
  };
  const llamafile = {
    "bom-ref": `llamafile@ggml-${pin.ggmlVersion}`,
    type: "library",
    name: "llamafile",
    version: `as in ggml ${pin.ggmlVersion}`,
    scope: "required",
    description: "matrix products, compiled in with ggml",
    purl: `${purl}#ggml/src/ggml-cpu/llamafile`,
    licenses: [{ license: { id: "MIT" } }],
  };
  return [ggml, llamafile];
}

function unicodeTables() {
  const [, tokenizers, classes, normalization] =
    /tokenizers ([\d.]+);[\s\S]*?spaces: Unicode ([\d.]+)\.[\s\S]*?compositions: Unicode ([\d.]+)\.\n/.exec(
      read("native", "engine", "unicode-tables.cpp"),
    );
  return {
    "bom-ref": `unicode-data@${classes}`,
    type: "data",
    name: "Unicode character data",
    version: `${classes}, normalisation ${normalization}`,
    scope: "required",
    description: `native/engine/unicode-tables.cpp, generated, as measured on tokenizers ${tokenizers}`,
    licenses: [{ license: { name: "Unicode-3.0" } }],
  };
}

/** What zig's clang links into the binaries for Linux (scripts/prebuild). */
function compilerParts() {
  const part = (name, version, licenses) => ({
    "bom-ref": `${name.replaceAll(" ", "-")}@${version}`,
    type: "library",
    name,
    version,
    scope: "required",
    description: `linked into the binaries for Linux by zig ${zigVersion}`,
    licenses,
  });
  const startFiles = [
    { license: { name: "LGPL-2.1-or-later with the permission to link" } },
    { license: { id: "MIT" } },
  ];
  return [
    part("LLVM libc++", llvmVersion, [{ expression: "Apache-2.0 WITH LLVM-exception" }]),
    part("zig compiler-rt", zigVersion, [{ license: { id: "MIT" } }]),
    part("C start files", `as in zig ${zigVersion}`, startFiles),
  ];
}

/** PDFium names no version of itself: the sum of the file that the package carries stands for it. */
function pdfium() {
  const { version } = readJson("package-lock.json").packages["node_modules/@hyzyla/pdfium"];
  const wasm = readFileSync(join(root, "node_modules", "@hyzyla", "pdfium", "dist", "pdfium.wasm"));
  return {
    "bom-ref": `pdfium@hyzyla-${version}`,
    type: "library",
    name: "PDFium",
    version: `as in @hyzyla/pdfium ${version}`,
    scope: "required",
    description: "WebAssembly inside @hyzyla/pdfium, with the fonts and codecs in it",
    hashes: [{ alg: "SHA-256", content: createHash("sha256").update(wasm).digest("hex") }],
    licenses: [{ license: { id: "Apache-2.0" } }, { license: { id: "BSD-3-Clause" } }],
  };
}

/** `| aom | BSD 2-Clause + [patent licence](…) |` -> aom: BSD 2-Clause + patent licence */
function licencesOf(readme) {
  const rows = readme.matchAll(/^\| ([a-z0-9-]+) +\| (.+?) +\|$/gm);
  return new Map(Array.from(rows, ([, name, terms]) => [name, terms.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")]));
}

/** libvips and the codecs beside it, in the versions that sharp's binary package says it carries. */
function libvipsParts() {
  const folder = join(root, "node_modules", "@img");
  const carriers = existsSync(folder) ? readdirSync(folder).sort() : [];
  const carrier = carriers.find((name) => existsSync(join(folder, name, "versions.json")));
  if (carrier === undefined) throw new Error("no package of sharp with a versions.json is installed: run npm ci");
  const versions = readJson("node_modules", "@img", carrier, "versions.json");
  const terms = licencesOf(read("node_modules", "@img", carrier, "README.md"));
  const otherNames = { uhdr: "libultrahdr" };
  const termsOf = (part) => terms.get(part) ?? terms.get(otherNames[part] ?? `lib${part}`);
  return Object.entries(versions).map(([part, version]) => ({
    "bom-ref": `libvips-part-${part}@${version}`,
    type: "library",
    name: part === "vips" ? "libvips" : part,
    version,
    scope: "required",
    description: "in the shared library that sharp loads",
    licenses: [{ license: part === "vips" ? { id: "LGPL-3.0-or-later" } : { name: termsOf(part) } }],
  }));
}

/** Everything that npm cannot see; test/package/sbom.test.ts holds it against THIRD_PARTY_NOTICES.md. */
function nativeParts() {
  const compiled = [compiledIn("node-addon-api"), compiledIn("node-api-headers")];
  return [...ggmlParts(), ...compiled, unicodeTables(), ...compilerParts(), pdfium(), ...libvipsParts()];
}

// Numbered by its contents, so that the same bill has the same number.
function serialNumber(contents) {
  const hex = createHash("sha256").update(JSON.stringify(contents)).digest("hex");
  const variant = "89ab"[Number.parseInt(hex[16], 16) & 3];
  return `urn:uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function dependenciesOf(npm, self, native) {
  const compiled = native.filter((part) => !/^(pdfium|libvips-part)/.test(part["bom-ref"]));
  const inside = (prefix) => native.map((part) => part["bom-ref"]).filter((ref) => ref.startsWith(prefix));
  const edges = new Map(npm.dependencies.map(({ ref, dependsOn }) => [ref, new Set(dependsOn)]));
  for (const part of compiled) edges.get(self)?.add(part["bom-ref"]);
  for (const ref of [...edges.keys()]) {
    if (ref.startsWith("@hyzyla/pdfium@")) for (const part of inside("pdfium@")) edges.get(ref).add(part);
    if (ref.startsWith("sharp@")) for (const part of inside("libvips-part-")) edges.get(ref).add(part);
  }
  for (const part of native) if (!edges.has(part["bom-ref"])) edges.set(part["bom-ref"], new Set());
  const list = [...edges].map(([ref, dependsOn]) => ({ ref, dependsOn: [...dependsOn].sort() }));
  return list.sort((a, b) => (a.ref < b.ref ? -1 : 1));
}

function makeBill() {
  const npm = npmDependencies();
  const { properties, externalReferences, ...component } = npm.metadata.component;
  const native = nativeParts();
  const components = [...withoutTwins(npm.components), ...native].sort(byRef);
  const seconds = process.env.SOURCE_DATE_EPOCH;
  const metadata = {
    ...(seconds !== undefined && { timestamp: new Date(Number(seconds) * 1000).toISOString() }),
    lifecycles: [{ phase: "pre-build" }],
    component: { ...component, name: readJson("package.json").name },
  };
  const dependencies = dependenciesOf(npm, component["bom-ref"], native);
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: serialNumber({ component, components, dependencies }),
    version: 1,
    metadata,
    components,
    dependencies,
  };
}

const { values: options } = parseArgs({
  options: { out: { type: "string", default: join(root, "sbom.cdx.json") } },
});
const bill = makeBill();
const text = `${JSON.stringify(bill, undefined, 2)}\n`;
if (options.out === "-") process.stdout.write(text);
else writeFileSync(options.out, text);
if (options.out !== "-") console.log(`${options.out}: ${bill.components.length} components`);
