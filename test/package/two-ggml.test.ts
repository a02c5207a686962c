// The addon of the platform package beside node-llama-cpp, which brings a ggml of its own: both orders, the same vectors, and each library
// bound to the ggml that it was built with, as the system's loader itself reports.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import t from "tap";
import { platformName } from "../../lib/platform-package";
import { root, temporaryFolder } from "../helpers/fixtures";
import { layPackage } from "../helpers/installed-tree";
import { packedTarballs, skipWithoutPackages, type Tarball } from "../helpers/packages";
import { skipWithoutRegistry } from "../helpers/user-project";
import { meet, orders } from "../neighbours/meeting.cjs";

t.setTimeout(600_000);
const tarballs = packedTarballs();
const isElf = process.platform === "linux" && platformName() === `linux-${process.arch}`;
const skip = skipWithoutPackages(tarballs) || (!isElf && "the loader's report is glibc's");
const neighbour = "node-llama-cpp";

/** `binding file A [0] to B [0]: normal symbol `ggml_init'` of each ggml symbol -> [A, B, symbol]. */
function bindings(prefix: string): [string, string, string][] {
  const folder = dirname(prefix);
  const reports = readdirSync(folder).filter((name) => name.startsWith(basename(prefix)));
  return reports.flatMap((name) => {
    const lines = readFileSync(join(folder, name), "utf8").matchAll(
      /binding file (\S+) \[0\] to (\S+) \[0\]: \w+ symbol `((?:ggml|gguf)_\w+)'/g,
    );
    return Array.from(lines, ([, from, to, symbol]): [string, string, string] => [from, to, symbol]);
  });
}

const sonameOf = (file: string): string | undefined =>
  /\(SONAME\).*\[(.*)\]/.exec(execFileSync("readelf", ["-dW", file], { encoding: "utf8" }))?.[1];

t.test("two builds of ggml in one process", { skip }, async (t) => {
  const offline = await skipWithoutRegistry();
  t.test(neighbour, { skip: offline }, async (t) => {
    const folder = join(root, "node_modules", ".cache", "gme-embed-install", "neighbours");
    const modules = join(temporaryFolder(), "node_modules");
    const own = layPackage(
      modules,
      tarballs.find(({ manifest }) => manifest.name === `@gme-embed/${platformName()}`) as Tarball,
    );
    const ours = join(own, "prebuilds", `${process.platform}-${process.arch}`);
    const script = join(root, "scripts", "check-neighbours.mjs");
    const said = execFileSync(process.execPath, [script, "--only", neighbour, "--folder", folder], {
      encoding: "utf8",
      env: { ...process.env, GME_EMBED_PREBUILD: own },
    });
    for (const order of orders) t.match(said, new RegExp(`^ok - ${neighbour}; ${order}:`, "m"), said);
    t.match(said, /2 ok, 0 failed/);

    const theirs = join(folder, "node_modules", "@node-llama-cpp");
    const addon = join(ours, readdirSync(ours).find((name) => name.endsWith(".node")) ?? "");
    const setup = { addon, folder, temporary: temporaryFolder() };
    const alone = meet([], "ours first", setup);
    t.equal(alone.code, 0, alone.stderr);
    for (const order of orders) {
      const report = join(temporaryFolder(), "bindings");
      const met = meet([neighbour], order, setup, { LD_DEBUG: "bindings", LD_DEBUG_OUTPUT: report });
      t.equal(met.code, 0, met.stderr.slice(0, 2000));
      t.same(met.vectors, [alone.vectors[0], alone.vectors[0]], `${order}: bit for bit as without the neighbour`);
      const inProcess = (name: string) => met.libraries.filter((path) => basename(path).startsWith(name));
      t.equal(inProcess("libgme-engine.so").length, 1, "our ggml is in the process");
      t.equal(inProcess("libggml-base.so").length, 1, "and so is theirs");
      const found = bindings(report);
      const from = (place: string) => found.filter(([file]) => file.startsWith(place));
      t.ok(
        from(ours).length > 100 && from(theirs).length > 20,
        `${from(ours).length} and ${from(theirs).length} names`,
      );
      t.same(
        from(ours).filter(([, to]) => !to.startsWith(ours)),
        [],
        `${order}: ours to ours`,
      );
      t.same(
        from(theirs).filter(([, to]) => !to.startsWith(theirs)),
        [],
        `${order}: theirs to theirs`,
      );
      t.comment(
        `${order}: ${from(ours).length} names of ggml bound in ours, ${from(theirs).length} in theirs, none across`,
      );
    }
    checkSonames(t, ours, theirs);
  });
});

/** The loader takes a library that is asked for by a name that is already there: no name may be used by both. */
function checkSonames(t: Tap, ours: string, theirs: string): void {
  const names = (folder: string) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((path) => /\.(so[\d.]*|node)$/.test(path))
      .flatMap((path) => [basename(path), sonameOf(join(folder, path)) ?? basename(path)]);
  const [own, other] = [new Set(names(ours)), new Set(names(theirs))];
  t.ok(own.size > 5 && other.size > 3 && existsSync(join(ours, "libgme-engine.so")));
  t.same(
    [...own].filter((name) => other.has(name)),
    [],
    "no soname and no file name is theirs",
  );
  for (const name of own) t.match(name, /^(libgme-|gme-embed\.)/);
}

type Tap = Pick<typeof t, "ok" | "same" | "match">;
