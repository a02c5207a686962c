// An installed package whose native files are missing, of another system, or damaged: what was looked for, what was found, what to type.
import { appendFileSync, cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { version } from "../../lib";
import { platformName } from "../../lib/platform-package";
import { installedTree, layPackage, runNode } from "../helpers/installed-tree";
import { packedTarballs, skipWithoutPackages, type Tarball } from "../helpers/packages";

t.setTimeout(300_000);
const tarballs = packedTarballs();
const here = platformName();
const own = `@gme-embed/${here}`;
const program = `
const { bundledModelPath, load } = require("gme-embed");
load(bundledModelPath).then(() => console.log("{}"), ({ name, code, message, field, value, expected }) =>
  console.log(JSON.stringify({ name, code, message, field, value, expected })));`;

interface Case {
  title: string;
  change(tree: { modules: string; native: string; gme: string; folder: string }): void;
  /** What the message says, in whatever order. */
  says: RegExp[];
  /** What it does not say, because it would not help. */
  not?: RegExp;
}

const install = new RegExp(`npm install ${own}@${version.replaceAll(".", "\\.")}`);
const again = /remove node_modules and install again/;
const lockFile = /with a lock file made on another system: remove node_modules and package-lock\.json/;

function flip(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1] ^= 1;
  writeFileSync(file, bytes);
}

const nameIn = (folder: string, pattern: RegExp): string => {
  const found = readdirSync(folder).find((name) => pattern.test(name));
  if (found === undefined) throw new Error(`no ${pattern} in ${folder}`);
  return join(folder, found);
};
const sumsOf = (gme: string) => JSON.parse(readFileSync(join(gme, "checksums.json"), "utf8"));
const remove = (path: string) => rmSync(path, { recursive: true });

const cases: Case[] = [
  {
    title: "left out, as by --omit=optional",
    change: ({ modules }) => remove(join(modules, "@gme-embed")),
    says: [new RegExp(`${own}: not installed$`, "m"), install, /install without --omit=optional/, lockFile],
    not: again,
  },
  {
    title: "of another platform, as by a lock file from there",
    change: ({ modules }) => {
      const folder = join(modules, "@gme-embed");
      cpSync(join(folder, here), join(folder, "darwin-arm64"), { recursive: true });
      remove(join(folder, here));
    },
    says: [/not installed; found: @gme-embed\/darwin-arm64$/m, install, lockFile, /npm install --os=linux --cpu=x64/],
  },
  {
    title: "of another version",
    change: ({ modules }) => {
      const file = join(modules, own, "package.json");
      writeFileSync(file, readFileSync(file, "utf8").replace(`"${version}"`, '"9.9.9"'));
    },
    says: [new RegExp(`it is version 9\\.9\\.9, this package is version ${version}`), install],
    not: again,
  },
  {
    title: "one bit of the addon",
    change: ({ native }) => flip(nameIn(native, /\.node$/)),
    says: [/\.node has the sha256 [0-9a-f]{64}, published was [0-9a-f]{64}/, again],
    not: install,
  },
  {
    title: "one bit of the engine",
    change: ({ native }) => flip(nameIn(native, /gme-engine/)),
    says: [/gme-engine\.\w+ has the sha256/, again],
  },
  {
    title: "a library of kernels that is cut off",
    change: ({ native }) => truncateSync(nameIn(native, /gme-ggml-cpu/), 4096),
    says: [/gme-ggml-cpu-[\w.]+ has the sha256/, again],
  },
  {
    title: "an addon that is empty",
    change: ({ native }) => truncateSync(nameIn(native, /\.node$/), 0),
    says: [/\.node has the sha256 e3b0c44298/, again],
  },
  {
    title: "without the engine's library",
    change: ({ native }) => remove(nameIn(native, /gme-engine/)),
    says: [/gme-engine\.\w+ is missing; the package is damaged/, again],
    not: install,
  },
  {
    title: "with its manifest broken",
    change: ({ modules }) => writeFileSync(join(modules, own, "package.json"), "{"),
    says: [new RegExp(`${own}: its package\\.json is damaged`), again],
  },
  {
    title: "without the sums",
    change: ({ gme }) => remove(join(gme, "checksums.json")),
    says: [/checksums\.json of gme-embed is damaged: ENOENT/, again],
  },
  {
    title: "with broken sums",
    change: ({ gme }) => writeFileSync(join(gme, "checksums.json"), '{"linux'),
    says: [/checksums\.json of gme-embed is damaged: .*JSON/i, again],
  },
  {
    title: "with sums of another kind",
    change: ({ gme }) => writeFileSync(join(gme, "checksums.json"), "[1, null]"),
    says: [/checksums\.json of gme-embed has no sums for/, again],
  },
  {
    title: "with sums of other platforms alone",
    change: ({ gme }) => writeFileSync(join(gme, "checksums.json"), '{"other": {}}'),
    says: [/checksums\.json of gme-embed has no sums for/, again],
  },
];

/** A tree that works, which each case damages in its own way and puts back. */
function prepare() {
  const main = tarballs.find(({ manifest }) => manifest.name === "gme-embed") as Tarball;
  const tree = installedTree(main);
  const native = tarballs.find(({ manifest }) => manifest.name === own) as Tarball;
  const sums = readFileSync(join(tree.gme, "checksums.json"));
  const place = join(tree.modules, own, "prebuilds", `${process.platform}-${process.arch}`);
  const restore = () => {
    rmSync(join(tree.modules, "@gme-embed"), { recursive: true, force: true });
    layPackage(tree.modules, native);
    writeFileSync(join(tree.gme, "checksums.json"), sums);
  };
  restore();
  return { ...tree, native: place, restore };
}

t.test("native files that do not fit", { skip: skipWithoutPackages(tarballs) }, async (t) => {
  const tree = prepare();
  const command = join(tree.gme, "dist", "cli", "main.js");
  const load = async (t: Test) => {
    const { code, signal, stdout, stderr } = await runNode(tree.folder, ["-e", program]);
    t.same({ code, signal, stderr }, { code: 0, signal: null, stderr: "" }, "the process goes on");
    return JSON.parse(stdout || "null");
  };
  t.same(await load(t), {}, "as it was installed it works");

  for (const { title, change, says, not } of cases) {
    t.test(title, async (t) => {
      tree.restore();
      change(tree);
      const { name, code, message } = await load(t);
      t.match({ name, code }, { name: "GmeError", code: "GME_ADDON_MISSING" });
      t.match(message, new RegExp(`does not load on ${here} \\(Node ${process.version.replaceAll(".", "\\.")}\\)`));
      t.match(message, /Tried:\n {2}- a binary below .*gme-embed: No native build was found/, "a build of one's own");
      for (const pattern of says) t.match(message, pattern);
      if (not) t.notMatch(message, not);
      const doctor = await runNode(tree.folder, [command, "doctor", "--json"]);
      t.equal(doctor.code, 1, doctor.stderr);
      t.equal(JSON.parse(doctor.stdout).engine.error, message, "gme doctor says the same");
    });
  }

  const cpu =
    process.platform === "linux" && process.arch === "x64" ? readFileSync("/proc/cpuinfo", "utf8") : "amx_tile";
  const runsAll = cpu.includes("amx_tile") && "this processor may run every level";
  t.test("kernels for other processors alone", { skip: runsAll }, async (t) => {
    tree.restore();
    keepKernels(tree, /sapphirerapids/);
    const { code, message, field, expected } = await load(t);
    t.match({ code, field }, { code: "GME_DEVICE_UNAVAILABLE", field: "cpu" });
    t.match(message, /runs on this processor: libgme-ggml-cpu-sapphirerapids\.so: this processor lacks what it needs/);
    t.match(expected, /libgme-ggml-cpu/);
    const doctor = await runNode(tree.folder, [command, "doctor", "--json"]);
    t.equal(doctor.code, 1, "no model can be run here");
    t.match(JSON.parse(doctor.stdout).engine, { error: message, file: tree.native });
  });

  t.test("no kernels at all", async (t) => {
    tree.restore();
    keepKernels(tree, /none/);
    const { code, message } = await load(t);
    t.equal(code, "GME_DEVICE_UNAVAILABLE");
    t.match(message, /runs on this processor: there is none/);
  });

  t.test("a file that does not belong there is not loaded", async (t) => {
    tree.restore();
    const stranger = join(tree.native, process.platform === "win32" ? "gme-ggml-cpu-z.dll" : "libgme-ggml-cpu-z.so");
    writeFileSync(stranger, "no library");
    appendFileSync(join(tree.modules, own, "README.md"), "more");
    const said = await load(t);
    t.match(said, { code: "GME_ADDON_MISSING", message: /gme-ggml-cpu-z\.so/ }, "its sum was not published");
  });
});

/** Leaves the libraries of kernels that the pattern names, as if the package had been published so. */
function keepKernels({ gme, native }: { gme: string; native: string }, kept: RegExp): void {
  const sums = sumsOf(gme);
  for (const name of readdirSync(native).filter((name) => name.includes("gme-ggml-cpu-") && !kept.test(name))) {
    remove(join(native, name));
    delete sums[here][`prebuilds/${process.platform}-${process.arch}/${name}`];
  }
  writeFileSync(join(gme, "checksums.json"), JSON.stringify(sums));
}
