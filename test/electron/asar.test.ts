// A packed app: which files the documented globs leave outside the archive, and that the library finds them there.
import { createPackageWithOptions, getRawHeader } from "@electron/asar";
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import t, { type Test } from "tap";
import { root } from "../helpers/fixtures";

function scratch(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), "gme-asar-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function filesBelow(folder: string): string[] {
  const found = readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  return found.map((entry) =>
    relative(folder, join(entry.parentPath ?? entry.path, entry.name))
      .split(sep)
      .join("/"),
  );
}

/** The list of examples/electron/electron-builder.yml. */
const config = readFileSync(join(root, "examples", "electron", "electron-builder.yml"), "utf8");
const globs = [...(/asarUnpack:\n((?: {2}- ".*"\n)+)/.exec(config)?.[1].matchAll(/"(.*)"/g) ?? [])].map(
  ([, glob]) => glob,
);

/** Loaded by the system, or mapped: cannot be read from an archive. */
const needsFile = /\.(node|so(\.[0-9.]+)?|dylib|dll|gguf)$/;

/** An app's node_modules with the real names and empty files: of the packages that are here, and what ours will hold. */
function layNames(app: string): string[] {
  const packages = readdirSync(join(root, "node_modules", "@img")).map((name) => `@img/${name}`);
  packages.push(...readdirSync(join(root, "node_modules", "@lancedb")).map((name) => `@lancedb/${name}`));
  packages.push("sharp", "apache-arrow", "@hyzyla/pdfium", "node-gyp-build");
  const names = packages.flatMap((name) =>
    filesBelow(join(root, "node_modules", name)).map((file) => `${name}/${file}`),
  );
  names.push("gme-embed/package.json", "gme-embed/dist/index.js", "gme-embed/models/emoji-tiny-f16.gguf");
  names.push("gme-embed/build/Release/gme.node", "gme-embed/prebuilds/linux-x64/gme-embed.node");
  for (const platform of ["linux-x64", "linux-x64-musl", "darwin-arm64", "win32-x64", "linux-x64-cuda", "linux-x64-vulkan"])
    for (const file of ["package.json", "gme.node", "libgme-engine.so", "libgme-ggml-cpu-haswell.so", "libgme-ggml-cuda.so", "gme-ggml-cpu.dll", "libgme-engine.dylib"])
      names.push(`@gme-embed/${platform}/${file}`); // biome-ignore format: a table
  for (const name of names) {
    mkdirSync(dirname(join(app, "node_modules", name)), { recursive: true });
    writeFileSync(join(app, "node_modules", name), "");
  }
  return names;
}

type Header = { readonly files?: { readonly [name: string]: Header }; readonly unpacked?: boolean };

/** Files of an archive's list, and whether each lies outside. */
function listed(node: Header, at = ""): { file: string; isOutside: boolean }[] {
  return Object.entries(node.files ?? {}).flatMap(([name, child]) =>
    child.files ? listed(child, `${at}${name}/`) : [{ file: `${at}${name}`, isOutside: child.unpacked === true }],
  );
}

t.test("every library, addon and model is left outside the archive by the documented globs", async (t) => {
  const folder = scratch(t);
  const app = join(folder, "app");
  const names = layNames(app);
  const archive = join(folder, "app.asar");
  t.equal(globs.length, 4, globs.join(" "));
  // electron-builder matches each glob with paths from the app's folder, asar with whole ones: both begin with **.
  await createPackageWithOptions(app, archive, { unpack: `{${globs.join(",")}}` });
  const found = listed(getRawHeader(archive).header as Header);
  t.equal(found.length, names.length);
  const native = found.filter(({ file }) => needsFile.test(file));
  for (const { file, isOutside } of native) {
    t.ok(isOutside, file);
    t.ok(existsSync(join(`${archive}.unpacked`, file)), `${file} is there`);
  }
  for (const part of ["@img/sharp-", "@lancedb/lancedb-", "@gme-embed/linux-x64-cuda", "gme-embed/build", "libvips"])
    t.ok(
      native.some(({ file }) => file.includes(part)),
      `${part} has some`,
    );
  for (const file of ["gme-embed/dist/index.js", "apache-arrow/package.json", "@hyzyla/pdfium/package.json"])
    t.notOk(found.find((entry) => entry.file === `node_modules/${file}`)?.isOutside, `${file} is inside`);
  t.comment(
    `${native.length} files that need to be outside, ${found.filter(({ isOutside }) => isOutside).length} outside`,
  );
});

t.test("L24 scripts inside, binary and model outside: the library finds both", async (t) => {
  const resources = join(scratch(t), "resources");
  const inside = join(resources, "app.asar", "node_modules", "gme-embed");
  const outside = join(resources, "app.asar.unpacked", "node_modules", "gme-embed");
  mkdirSync(inside, { recursive: true });
  mkdirSync(join(outside, "models"), { recursive: true });
  for (const name of ["dist", "package.json"]) cpSync(join(root, name), join(inside, name), { recursive: true });
  cpSync(join(root, "build"), join(outside, "build"), { recursive: true });
  cpSync(join(root, "models", "emoji-tiny-f16.gguf"), join(outside, "models", "emoji-tiny-f16.gguf"));
  symlinkSync(join(root, "node_modules"), join(resources, "node_modules"), "junction");
  const program = `const gme = require(${JSON.stringify(inside)});
    (async () => {
      console.log(gme.bundledModelPath);
      for (const isolate of [false, true]) {
        const model = await gme.load(gme.bundledModelPath, { isolate, threads: 1 });
        console.log((await model.embed("a cat")).length);
        await model.close();
      }
      console.log(Object.keys(require.cache).filter((path) => path.endsWith(".node")).join());
    })();`;
  const lines = execFileSync(process.execPath, ["-e", program], { encoding: "utf8", timeout: 60_000 })
    .trim()
    .split("\n");
  t.strictSame(lines.slice(0, 3), [join(outside, "models", "emoji-tiny-f16.gguf"), "192", "192"]);
  t.ok(lines[3].startsWith(join(outside, "build")), lines[3]);
});
