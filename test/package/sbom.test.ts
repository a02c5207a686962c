// scripts/sbom.mjs: the bill's structure, and its native parts against THIRD_PARTY_NOTICES.md and the pins.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../helpers/fixtures";

interface Component {
  "bom-ref": string;
  type: string;
  name: string;
  version: string;
  purl?: string;
  scope: string;
  hashes?: { alg: string; content: string }[];
  licenses?: { license?: { id?: string; name?: string }; expression?: string }[];
  properties?: { name: string; value: string }[];
  externalReferences?: { hashes?: { alg: string; content: string }[] }[];
}

const run = (env = {}) =>
  execFileSync(process.execPath, [join(root, "scripts", "sbom.mjs"), "--out", "-"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    env: { ...process.env, ...env },
  });
const text = run();
const bill = JSON.parse(text);
const components: Component[] = bill.components;
const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
const pin = JSON.parse(readFileSync(join(root, "vendor", "ggml.json"), "utf8"));
const notices = readFileSync(join(root, "THIRD_PARTY_NOTICES.md"), "utf8");
const named = (name: string) => components.find((component) => component.name === name);

t.test("the bill has the structure of CycloneDX 1.5", async (t) => {
  t.match(bill, { bomFormat: "CycloneDX", specVersion: "1.5", version: 1 });
  t.match(bill.serialNumber, /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  t.strictSame(Object.keys(bill.metadata), ["lifecycles", "component"], "no time, no tool's version");
  const refs = components.map((component) => component["bom-ref"]);
  t.equal(new Set(refs).size, refs.length, "every reference is unique");
  t.strictSame(refs, [...refs].sort());
  for (const { name, version, type, scope, hashes = [], licenses = [] } of components) {
    t.ok(name !== "" && version !== "" && /^(library|data)$/.test(type) && /^(required|optional)$/.test(scope), name);
    for (const { alg, content } of hashes)
      t.match(content, alg === "SHA-512" ? /^[0-9a-f]{128}$/ : /^[0-9a-f]{64}$/, name);
    for (const { license, expression } of licenses) t.ok(license?.id ?? license?.name ?? expression, name);
  }
  const known = new Set([...refs, bill.metadata.component["bom-ref"]]);
  for (const { ref, dependsOn } of bill.dependencies) {
    for (const one of [ref, ...dependsOn]) t.ok(known.has(one), `${ref} depends on ${one}`);
  }
});

t.test("the same sources give the same bytes; SOURCE_DATE_EPOCH adds the time alone", async (t) => {
  const later = JSON.parse(run({ TZ: "Asia/Tokyo", LC_ALL: "C", SOURCE_DATE_EPOCH: "86400" }));
  t.equal(later.metadata.timestamp, "1970-01-02T00:00:00.000Z");
  later.metadata.timestamp = undefined;
  t.equal(`${JSON.stringify(later, undefined, 2)}\n`, text);
});

t.test("every package that a user gets from npm is in it with its sum", async (t) => {
  const wanted = Object.entries<{ version: string; name?: string; dev?: boolean; integrity?: string }>(lock);
  let checked = 0;
  for (const [path, { version, name, dev, integrity }] of wanted) {
    if (path === "" || dev) continue;
    const found = components.find(
      (one) => one["bom-ref"] === `${name ?? path.replace(/^.*node_modules\//, "")}@${version}`,
    );
    t.ok(found, `${path}@${version}`);
    const sum = integrity && Buffer.from(integrity.slice("sha512-".length), "base64").toString("hex");
    t.equal(found?.hashes?.[0].content, sum || undefined, path);
    checked++;
  }
  t.ok(checked > 60, `${checked} packages`);
});

t.test("ggml stands in it as it is pinned", async (t) => {
  const ggml = named("ggml");
  t.equal(ggml?.version, pin.ggmlVersion);
  t.match(ggml?.purl, pin.commit);
  t.match(ggml?.properties, [{ value: pin.commit }, { value: pin.llamaCppTag }, { value: pin.treeSha256 }]);
  t.equal(ggml?.externalReferences?.[0].hashes?.[0].content, pin.bundleSha256);
});

// Native part -> what its line in THIRD_PARTY_NOTICES.md holds.
const natives: Record<string, RegExp[]> = {
  ggml: [/ggml\]/, new RegExp(`ggml-org/ggml\\) ${pin.ggmlVersion.replaceAll(".", "\\.")}`), /\bMIT\b/],
  llamafile: [/`llamafile` matrix products/, /\bMIT\b/],
  "node-addon-api": [/node-addon-api\]/, /\bMIT\b/],
  "node-api-headers": [/node-api-headers\]/, /\bMIT\b/],
  "Unicode character data": [/Unicode character data/, /unicode-tables\.cpp/, /Unicode-3\.0/],
  "LLVM libc++": [/libc\+\+, libc\+\+abi and libunwind/, /Apache-2\.0 WITH LLVM-exception/],
  "zig compiler-rt": [/zig\].*compiler-rt/, /\bMIT\b/],
  "C start files": [
    /start files of glibc [\d.]+ and musl/,
    /LGPL-2\.1-or-later with the permission to link/,
    /\bMIT\b/,
  ],
  PDFium: [/\[PDFium\]/, /Apache-2\.0/, /BSD-3-Clause/],
  libvips: [/\[libvips\]/, /LGPL-3\.0-or-later/],
};

t.test("every native part stands in the bill and in THIRD_PARTY_NOTICES.md, with the same licence", async (t) => {
  const lines = notices.split("\n").filter((line) => line.startsWith("|"));
  const inBill = components.filter(
    (one) => !one.purl?.startsWith("pkg:npm/") && !one["bom-ref"].startsWith("libvips-part-"),
  );
  const compiled = ["node-addon-api", "node-api-headers", "libvips"];
  t.strictSame([...inBill.map(({ name }) => name), ...compiled].sort(), Object.keys(natives).sort());
  for (const [name, patterns] of Object.entries(natives)) {
    t.ok(
      lines.some((line) => patterns.every((pattern) => pattern.test(line))),
      `THIRD_PARTY_NOTICES.md: ${name}`,
    );
    for (const { license, expression } of named(name)?.licenses ?? []) {
      const id = expression ?? license?.id ?? license?.name ?? "";
      t.ok(
        patterns.some((pattern) => pattern.test(id)),
        `${name}: ${id}`,
      );
    }
    t.ok((named(name)?.licenses ?? []).length > 0, name);
  }
});

t.test("the notices name the versions of what the compiler links in", async (t) => {
  const { llvmVersion, version } = await import(join(root, "scripts", "prebuild", "zig-toolchain.mjs"));
  t.ok(notices.includes(`libunwind ${llvmVersion}`));
  t.ok(notices.includes(`compiler-rt ${version}`));
  const config = join(root, "vendor", "zig", "lib", "libcxx", "include", "__config");
  if (!existsSync(config)) return t.comment("zig is not laid here: its own number is not compared");
  const [major, minor, patch] = llvmVersion.split(".").map(Number);
  t.match(readFileSync(config, "utf8"), `_LIBCPP_VERSION ${major * 10_000 + minor * 100 + patch}\n`);
});

t.test("every direct dependency has its line in THIRD_PARTY_NOTICES.md, with its licence", async (t) => {
  const { dependencies, optionalDependencies } = lock[""];
  const lines = notices.split("\n").filter((line) => line.startsWith("|"));
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const { license } = lock[`node_modules/${name}`];
    t.ok(
      lines.some((line) => line.includes(name) && line.includes(license)),
      `${name}, ${license}`,
    );
  }
});

t.test("libvips brings the versions of its codecs", async (t) => {
  for (const part of ["png", "mozjpeg", "webp", "tiff", "heif", "aom"])
    t.match(named(part)?.version, /^[\da-f][\w.]+$/, part);
  const edges: { ref: string; dependsOn: string[] }[] = bill.dependencies;
  const sharp = edges.find(({ ref }) => ref.startsWith("sharp@"));
  t.ok(sharp?.dependsOn.some((ref) => ref.startsWith("libvips-part-vips@")));
});
