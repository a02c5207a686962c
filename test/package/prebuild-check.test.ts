// scripts/packages/prebuild-check.mjs finds what must not be published, and nothing in what scripts/prebuild.mjs makes.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root, temporaryFolder } from "../helpers/fixtures";
import { addonFile } from "../lifetime/native-model";

interface Target {
  name: string;
  platform: string;
  arch: string;
  libc?: string;
  glibc?: string;
}

type Check = (folder: string, target: Target) => Checked;

interface Checked {
  files: { name: string; bytes: number }[];
  problems: string[];
  floors: Record<string, string>;
  kernels: string[];
}

const isLinux = process.platform === "linux" && process.arch === "x64";
const linux = { skip: isLinux ? false : "files of Linux x64" };
const script = (...path: string[]) => import(join(root, "scripts", ...path));

/** Compiles a library with the given text and flags; the system's compiler, as a hasty release would. */
function library(folder: string, name: string, text: string, ...flags: string[]): void {
  const source = join(folder, "..", `${name}.cpp`);
  writeFileSync(source, text);
  execFileSync("c++", ["-shared", "-fPIC", "-o", join(folder, name), source, ...flags]);
}

t.test("files of a platform package", async (t) => {
  const { checkPrebuild } = (await script("packages", "prebuild-check.mjs")) as { checkPrebuild: Check };
  const { targets } = (await script("prebuild", "targets.mjs")) as { targets: Target[] };
  const x64 = targets.find(({ name }) => name === "linux-x64") as Target;
  t.test("a build for this machine is no package", linux, async (t) => {
    const folder = join(temporaryFolder(), "native");
    mkdirSync(folder);
    copyFileSync(addonFile(), join(folder, "gme-embed.glibc.node"));
    const { problems } = checkPrebuild(folder, x64);
    t.match(problems.join("\n"), /gme-embed\.glibc\.node: needs libstdc\+\+\.so\.6/);
    t.match(problems.join("\n"), /needs GLIBCXX [\d.]+ of a C\+\+ library/);
    t.match(problems.join("\n"), /takes C\+\+ names from elsewhere/);
    t.match(problems.join("\n"), /no kernels for haswell/);
    t.notMatch(problems.join("\n"), /more than Node-API|external buffers|late|executable stack/);
  });

  t.test("each kind of mistake is named", linux, async (t) => {
    const folder = join(temporaryFolder(), "native");
    mkdirSync(folder);
    const flags = ["-nostdlib", "-Wl,-z,lazy", "-Wl,-z,execstack", "-Wl,-rpath,/opt/lib"];
    library(
      folder,
      "libgme-engine.so",
      'extern "C" int uv_run(); extern "C" int other() { return uv_run(); }',
      ...flags,
    );
    library(
      folder,
      "a.node",
      'extern "C" int napi_create_external_arraybuffer(); extern "C" int v8_x(); extern "C" int f() { return napi_create_external_arraybuffer() + v8_x(); }',
      "-nostdlib",
      "-Wl,-z,now",
    );
    const found = checkPrebuild(folder, { ...x64, arch: "arm64" }).problems.join("\n");
    for (const expected of [
      /libgme-engine\.so: made for Advanced Micro Devices X86-64/,
      /libgme-engine\.so: looks for libraries in \/opt\/lib/,
      /libgme-engine\.so: resolves symbols late/,
      /libgme-engine\.so: asks for an executable stack/,
      /libgme-engine\.so: takes names from Node: uv_run/,
      /libgme-engine\.so: shows other/,
      /libgme-engine\.so: its soname is undefined/,
      /a\.node: takes more than Node-API from Node: v8_x/,
      /a\.node: makes external buffers/,
      /a\.node: shows f/,
    ]) {
      t.match(found, expected);
    }
    t.match(checkPrebuild(folder, { ...x64, glibc: "2.2" }).problems.join("\n"), /no kernels for sse42/);
  });

  for (const target of targets.filter(({ platform }) => platform === "linux")) {
    const folder = join(root, "build-prebuild", target.name, "prebuilds", `${target.platform}-${target.arch}`);
    const isBuilt = existsSync(folder) && readdirSync(folder).length > 0;
    const skip = isLinux
      ? !isBuilt && `node scripts/prebuild.mjs --target ${target.name} was not run`
      : "files of Linux";
    t.test(`what was built for ${target.name} can be published`, { skip }, async (t) => {
      const { problems, floors, files, kernels } = checkPrebuild(folder, target);
      t.same(problems, []);
      t.ok(kernels.length >= 5, `${kernels.length} levels of kernels`);
      for (const { name } of files) {
        const text = readFileSync(join(folder, name)).toString("latin1");
        t.notOk(text.includes(root), `${name} names no folder of the machine that built it`);
      }
      const bytes = files.reduce((sum, each) => sum + each.bytes, 0);
      t.comment(
        `${target.name}: ${files.length} files, ${(bytes / 1e6).toFixed(1)} MB, glibc ${floors.GLIBC ?? "none"}`,
      );
      if (target.glibc !== undefined)
        t.match(
          checkPrebuild(folder, { ...target, glibc: "2.17" }).problems.join("\n"),
          /needs glibc 2\.\d+/,
          "an older floor is seen",
        );
    });
  }
});
