// The packages as a user installs them: npm, pnpm and Yarn, no scripts, no compiler and no Python; CommonJS, ES modules, TypeScript.
//
// tarballs of dist/packages -> a registry on this machine for @gme-embed, the file itself for gme-embed, the configured registry for the
// rest -> an empty project -> programs whose vectors are compared with those of the checkout's own build.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { bundledModelPath, cosine, listDevices, load, version } from "../../lib";
import { platformName } from "../../lib/platform-package";
import { root } from "../helpers/fixtures";
import { type LocalRegistry, startRegistry } from "../helpers/local-registry";
import { packedTarballs, skipWithoutPackages, type Tarball } from "../helpers/packages";
import {
  barePath,
  configuredRegistry,
  forgetOurPackages,
  type Manager,
  managers,
  skipWithoutRegistry,
  UserProject,
} from "../helpers/user-project";

t.setTimeout(600_000);
const tarballs = packedTarballs();
const here = platformName();
const checkout = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
/** LanceDB asks for two packages that it never loads here and that weigh hundreds of megabytes. */
const unused = { "@huggingface/transformers": "npm:empty-npm-package@1.0.0", openai: "npm:empty-npm-package@1.0.0" };
/** Its own binary is 73 MB packed: installed with npm, left out with the others. */
const empty = { "@lancedb/lancedb": "npm:empty-npm-package@1.0.0" };

async function ownVectors(): Promise<Float32Array[]> {
  const model = await load(bundledModelPath, { threads: 2 });
  const picture = join(root, "models", "emoji-tiny", "samples", "bicycle.png");
  const vectors = [await model.embed("a red bicycle"), await model.embed({ image: picture })];
  await model.close();
  return vectors;
}

const fromBase64 = (text: string): Float32Array =>
  new Float32Array(Uint8Array.from(Buffer.from(text, "base64")).buffer);

async function platformManifests(): Promise<{ name: string; version: string }[]> {
  const { targets } = await import(join(root, "scripts", "prebuild", "targets.mjs"));
  const { nativeManifest } = await import(join(root, "scripts", "packages", "platform-package.mjs"));
  return targets.map((target: object) => nativeManifest(checkout, target, "for another platform"));
}

/** Which folders of @gme-embed lie in the project, however the manager lays them. */
function nativeFolders(project: UserProject): string[] {
  const found = readdirSync(project.folder, { recursive: true, encoding: "utf8" });
  return found
    .filter((path) => /(^|[\\/])@gme-embed[\\/][a-z0-9-]+$/.test(path))
    .map((path) => path.replace(/.*[\\/]/, ""));
}

/** Packages of other platforms whose contents were fetched. */
const foreign = ({ downloads }: LocalRegistry) => downloads.filter((name) => name !== `@gme-embed/${here}`);

async function start(t: Test): Promise<{ registry: LocalRegistry; upstream: string }> {
  forgetOurPackages();
  const registry = await startRegistry(tarballs, await platformManifests());
  t.teardown(() => registry.close());
  return { registry, upstream: await configuredRegistry() };
}

function newProject(t: Test, manager: Manager, at: { registry: LocalRegistry; upstream: string }, replaced: object) {
  const main = tarballs.find(({ manifest }) => manifest.name === "gme-embed") as Tarball;
  const dependencies = { "gme-embed": `file:${main.file}`, "@types/node": checkout.devDependencies["@types/node"] };
  const project = new UserProject(manager, barePath(), at.upstream, at.registry.url, {
    dependencies,
    replaced: { ...replaced },
  });
  t.notOk(project.folder.startsWith(realpathSync(root)), "outside the checkout");
  for (const tool of ["c++", "g++", "cc", "gcc", "clang", "python3", "python", "cmake", "make", "ninja"])
    t.notOk(existsSync(join(project.path, tool)), `${tool} is not on the PATH`);
  return project;
}

/** Installs, and runs what a user would run. */
async function useProject(t: Test, project: UserProject, registry: LocalRegistry, expected: Float32Array[]) {
  const before = performance.now();
  const installed = await project.install();
  if (!t.equal(installed.code, 0, `${installed.stdout}\n${installed.stderr}`)) return;
  const seconds = ((performance.now() - before) / 1000).toFixed(1);
  t.comment(
    `${project.manager.name}: installed in ${seconds} s, fetched ${registry.downloads.join(", ") || "nothing new"}`,
  );
  const described = registry.asked.filter((path) => !path.includes("/-/"));
  t.ok(described.includes(`/@gme-embed/${here}`), "the registry was asked for the package of this platform");
  for (const file of ["use.cjs", "use.mjs"]) {
    const { code, stdout, stderr } = await project.node(file);
    if (!t.equal(code, 0, `${file}: ${stderr}`)) continue;
    const said = JSON.parse(stdout.trim().split("\n").at(-1) ?? "{}");
    t.match(said.engine, `${join("@gme-embed", here, "prebuilds")}`, `${file}: the addon of the platform package`);
    t.match(said, { same: true, index: "function" }, "ES module and CommonJS are one instance");
    const cosines = said.vectors.map((text: string, i: number) => cosine(fromBase64(text), expected[i]));
    t.ok(Math.min(...cosines) >= 0.999999 && cosines.length === 2, `${file}: cosines ${cosines.join(", ")}`);
  }
  const told = await project.exec("gme", "--version");
  t.match(told.stdout, version, told.stderr);
  const doctor = await project.exec("gme", "doctor", "--json");
  const { kernels } = await listDevices(); // our own, which the compiler of the package must not leave out
  t.match(
    JSON.parse(doctor.stdout || "{}"),
    { version, engine: { file: here, error: undefined }, devices: { kernels } },
    doctor.stderr,
  );
  const embedded = await project.exec("gme", "embed", "--text", "a red bicycle");
  const { embedding } = JSON.parse(embedded.stdout || "{}");
  t.ok(embedding && cosine(Float32Array.from(embedding), expected[0]) >= 0.999999, `gme embed: ${embedded.stderr}`);
}

function compileTypes(t: Test, project: UserProject): void {
  const kinds: Record<string, [string, string]> = {
    "use-types.cts": ["node16", "node16"],
    "use-types.mts": ["node16", "node16"],
    "use-types.ts": ["esnext", "bundler"],
  };
  for (const [file, [module, moduleResolution]] of Object.entries(kinds)) {
    cpSync(join(root, "test", "package", "consumers", "use.ts.txt"), join(project.folder, file));
    const compilerOptions = { module, moduleResolution, target: "es2022", lib: ["es2022", "esnext.disposable"] };
    const options = { ...compilerOptions, strict: true, noEmit: true, skipLibCheck: false, types: ["node"] };
    project.write("tsconfig.json", JSON.stringify({ compilerOptions: options, files: [file] }));
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    let said = "";
    try {
      execFileSync(process.execPath, [tsc, "-p", project.folder], { cwd: project.folder, encoding: "utf8" });
    } catch (error) {
      said = String((error as { stdout?: unknown }).stdout);
    }
    t.equal(said, "", `${file}: ${moduleResolution}`);
  }
}

/** A lock file and a node_modules that were made for another system, and what the message says to type. */
async function moveBetweenSystems(t: Test, project: UserProject) {
  const lock = JSON.parse(readFileSync(join(project.folder, "package-lock.json"), "utf8"));
  const native = Object.keys(lock.packages).filter((path) => path.startsWith("node_modules/@gme-embed/"));
  t.ok(native.length > 3, "npm writes the packages of every platform into the lock file");
  const other = here === "linux-arm64" ? "darwin-x64" : "linux-arm64";
  const [os, cpu] = other.split("-");
  const crossed = await project.install(`--os=${os}`, `--cpu=${cpu}`);
  t.equal(crossed.code, 0, crossed.stderr);
  t.same(nativeFolders(project), [other], "npm install --os --cpu lays the package of that system");
  const doctor = await project.exec("gme", "doctor", "--json");
  const { engine } = JSON.parse(doctor.stdout || "{}");
  t.equal(doctor.code, 1, doctor.stderr);
  t.match(engine.error, `@gme-embed/${here}: not installed; found: @gme-embed/${other}`);
  const typed = /- npm install (@gme-embed\S+)/.exec(engine.error)?.[1] ?? "";
  t.equal(typed, `@gme-embed/${here}@${version}`);

  // As npm wrote it before it knew of every platform: the other system's package alone.
  for (const path of native.filter((path) => !path.endsWith(`/${other}`))) delete lock.packages[path];
  project.write("package-lock.json", JSON.stringify(lock));
  const repaired = await project.install(typed);
  t.equal(repaired.code, 0, repaired.stderr);
  t.ok(nativeFolders(project).includes(here), "what the message says to type brings the package");
  t.equal((await project.exec("gme", "doctor", "--json")).code, 0, "and then it works");
}

t.test("installed as a user would", { skip: skipWithoutPackages(tarballs) }, async (t) => {
  const offline = await skipWithoutRegistry();
  const expected = await ownVectors();

  t.test("npm", { skip: offline }, async (t) => {
    const at = await start(t);
    const project = newProject(t, managers.npm(), at, unused);
    await useProject(t, project, at.registry, expected);
    t.same(nativeFolders(project), [here], "no other platform's package");
    t.same(foreign(at.registry), [], "nor was one fetched");
    compileTypes(t, project);
    await moveBetweenSystems(t, project);
  });

  for (const [key, title] of [
    ["pnpm", "pnpm"],
    ["yarn1", "Yarn 1"],
    ["yarn4", "Yarn 4 with node_modules"],
    ["pnp", "Yarn 4 with Plug'n'Play"],
  ] as const) {
    t.test(title, { skip: offline }, async (t) => {
      const at = await start(t);
      const project = newProject(t, managers[key](), at, empty);
      await useProject(t, project, at.registry, expected);
      // Yarn 1 fetches every optional package and then lays those that fit; it does not know the field libc.
      const laid = nativeFolders(project).filter((name) => key !== "yarn1" || name !== `${here}-musl`);
      t.same([...new Set(laid)], [here], "no other platform's package");
      if (key !== "yarn1") t.same(foreign(at.registry), [], "nor was one fetched");
    });
  }
});
