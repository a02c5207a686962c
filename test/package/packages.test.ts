// What `npm run packages` made, byte by byte out of the tarballs: what a user would get.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../helpers/fixtures";
import { packedTarballs, skipWithoutPackages, type Tarball } from "../helpers/packages";
import { mainPatterns, type Pattern, patternProblems } from "./published-patterns";

interface Target {
  name: string;
  platform: string;
  arch: string;
  libc?: string;
  kind?: string;
}

const tarballs = packedTarballs();
const skip = skipWithoutPackages(tarballs);
const main = tarballs.find(({ manifest }) => manifest.name === "gme-embed") as Tarball;
const natives = tarballs.filter(({ manifest }) => manifest.name !== "gme-embed");
const checkout = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const legal = ["LICENSE", "NOTICE", "THIRD_PARTY_NOTICES.md"];
const pathsOf = (tarball: Tarball) => tarball.entries.map(({ path }) => path);
const textOf = (tarball: Tarball, path: string) => String(tarball.entries.find((entry) => entry.path === path)?.data);
const targetsModule = () => import(join(root, "scripts", "prebuild", "targets.mjs"));

function nativePatterns({ platform, arch, libc, kind }: Target): Pattern[] {
  const folder = `^prebuilds/${platform}-${arch}/`;
  const end = { linux: "so", darwin: "dylib", win32: "dll" }[platform] ?? "so";
  const texts = { pattern: /^(LICENSE|NOTICE|THIRD_PARTY_NOTICES\.md|README\.md|package\.json)$/, least: 5, most: 5 };
  const library = (name: string) => new RegExp(`(${folder}|^)(lib)?gme-${name}\\.${end}$`);
  if (kind !== undefined) return [texts, { pattern: library(`ggml-${kind}`), least: 1, most: 1 }];
  const addon = new RegExp(`${folder}gme-embed${libc ? `\\.${libc}` : ""}\\.node$`);
  return [
    texts,
    { pattern: addon, least: 1, most: 1 },
    { pattern: library("engine"), least: 1, most: 1 },
    { pattern: library("ggml-cpu-[a-z0-9._]+"), least: arch === "x64" ? 5 : 1, most: 20 },
  ];
}

t.test("the tarballs", { skip }, async (t) => {
  const { targets, deviceTargets } = await targetsModule();
  const known: Target[] = [...targets, ...deviceTargets];
  const targetOf = ({ manifest }: Tarball) => known.find(({ name }) => manifest.name === `@gme-embed/${name}`);

  t.test("each belongs to a known package, of one version, and holds what is listed", async (t) => {
    t.same(patternProblems(pathsOf(main), [...mainPatterns, { pattern: /^checksums\.json$/, least: 1, most: 1 }]), []);
    for (const tarball of natives) {
      const target = targetOf(tarball);
      t.ok(target, tarball.manifest.name);
      t.equal(tarball.manifest.version, checkout.version);
      t.same(patternProblems(pathsOf(tarball), target ? nativePatterns(target) : []), [], tarball.manifest.name);
    }
  });

  t.test("licences, notices and the text of each lie in it; the notices name what is linked in", async (t) => {
    for (const tarball of tarballs) {
      for (const name of legal)
        t.equal(textOf(tarball, name), readFileSync(join(root, name), "utf8"), `${tarball.manifest.name}: ${name}`);
      t.equal(tarball.manifest.license, "Apache-2.0");
      t.match(textOf(tarball, "README.md"), /Built with GME/);
    }
    for (const part of [/ggml authors/, /libc\+\+abi/, /libunwind/, /compiler-rt/, /Apache-2\.0 WITH LLVM-exception/])
      t.match(textOf(main, "THIRD_PARTY_NOTICES.md"), part);
    t.ok(pathsOf(main).includes("vendor/ggml/LICENSE"));
  });

  t.test("a platform package is for its platform alone and runs nothing", async (t) => {
    for (const tarball of natives) {
      const { manifest } = tarball;
      const target = targetOf(tarball);
      t.same(manifest.os, [target?.platform], `${manifest.name}: os`);
      t.same(manifest.cpu, [target?.arch], "cpu");
      t.same(manifest.libc, target?.libc && [target.libc], "libc");
      for (const field of ["scripts", "dependencies", "devDependencies", "main", "exports", "bin"])
        t.notOk(field in manifest, field);
    }
  });

  t.test("the main package asks for exactly its own platform packages, and for nothing of a checkout", async (t) => {
    const { manifest } = main;
    const optional = manifest.optionalDependencies as Record<string, string>;
    for (const { name } of targets as Target[]) t.equal(optional[`@gme-embed/${name}`], checkout.version, name);
    const wanted = [
      ...Object.keys(checkout.optionalDependencies),
      ...targets.map((x: Target) => `@gme-embed/${x.name}`),
    ];
    t.same(Object.keys(optional).sort(), wanted.sort());
    for (const { name } of deviceTargets as Target[]) {
      t.match(manifest, { peerDependencies: { [`@gme-embed/${name}`]: checkout.version } });
      t.match(manifest, { peerDependenciesMeta: { [`@gme-embed/${name}`]: { optional: true } } });
    }
    for (const [name, range] of Object.entries(checkout.peerDependencies)) {
      t.match(manifest, { peerDependencies: { [name]: range } }, `${name}, which an adapter extends`);
      t.match(manifest, { peerDependenciesMeta: { [name]: { optional: true } } });
    }
    for (const version of Object.values({ ...(manifest.dependencies as object), ...optional }))
      t.match(version, /^\d+\.\d+\.\d+$/);
    for (const field of ["devDependencies", "overrides", "files"]) t.notOk(field in manifest, field);
    t.same(Object.keys(manifest.scripts as object), ["build-from-source"], "no script that npm runs by itself");
    t.match(manifest, { gypfile: false, preferUnplugged: true });
    for (const field of ["main", "types", "exports", "bin", "engines"]) t.same(manifest[field], checkout[field], field);
  });

  t.test("no leftover of a build, no binding.gyp, no link, nothing outside; the command can be executed", async (t) => {
    const leftover =
      /(^|\/)(binding\.gyp|CMakeCache\.txt|CMakeFiles|node_modules|\.git)(\/|$)|\.(o|a|obj|lib|pdb|d|map|tgz)$/;
    for (const tarball of tarballs) {
      for (const { path, type, mode } of tarball.entries) {
        const where = `${tarball.manifest.name}: ${path}`;
        t.equal(type, "0", where);
        t.notMatch(path, /^\/|(^|\/)\.\.(\/|$)/, where);
        t.equal(mode & 0o022, 0, `${where}: only its owner may write`);
        if (!path.startsWith("vendor/ggml/")) t.notMatch(path, leftover, where);
      }
    }
    t.equal((main.entries.find(({ path }) => path === "dist/cli/main.js")?.mode ?? 0) & 0o111, 0o111);
  });

  t.test("no file names the folder that it was made in", async (t) => {
    for (const tarball of tarballs)
      for (const { path, data } of tarball.entries)
        if (data.includes(root) || (path.startsWith("prebuilds/") && data.includes("build-prebuild/")))
          t.fail(`${tarball.manifest.name}: ${path}`);
    t.ok(
      main.entries.some(({ data }) => data.includes("gme-embed")),
      "the search finds what is there",
    );
  });

  t.test("checksums.json holds the sum of each native file, as it lies in the tarball", async (t) => {
    const sums = JSON.parse(textOf(main, "checksums.json"));
    const withSums = natives.filter((tarball) => targetOf(tarball)?.kind === undefined);
    t.same(Object.keys(sums).sort(), withSums.map((tarball) => targetOf(tarball)?.name).sort());
    for (const tarball of withSums) {
      const files = tarball.entries.filter(({ path }) => path.startsWith("prebuilds/"));
      const found = files.map(({ path, data }) => [path, createHash("sha256").update(data).digest("hex")]);
      t.same(sums[targetOf(tarball)?.name ?? ""], Object.fromEntries(found), tarball.manifest.name);
      t.ok(found.length > 2);
    }
  });

  t.test("sizes are bounded", async (t) => {
    for (const { manifest, packed, entries } of tarballs) {
      const unpacked = entries.reduce((sum, { data }) => sum + data.length, 0);
      t.comment(
        `${manifest.name}: ${(packed.length / 1e6).toFixed(1)} MB packed, ${(unpacked / 1e6).toFixed(1)} MB installed`,
      );
      t.ok(packed.length <= 150e6, `${manifest.name}: ${packed.length} bytes`);
      if (manifest.name === "gme-embed") t.ok(packed.length < 12 * 2 ** 20 && unpacked < 36 * 2 ** 20);
    }
  });
});
