// `npm run build-from-source` in an installed package: CMake and a compiler alone, no network, no git, no cmake-js; then it is preferred.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { temporaryFolder } from "../helpers/fixtures";
import { installedTree, layPackage, runNode } from "../helpers/installed-tree";
import { packedTarballs, skipWithoutPackages, type Tarball } from "../helpers/packages";
import { npmScript } from "../helpers/user-project";

t.setTimeout(3_600_000);
const tarballs = packedTarballs();
const long = process.env.GME_TEST_LONG === "1" ? false : "compiles for minutes: GME_TEST_LONG=1";
const skip = long || skipWithoutPackages(tarballs) || (process.platform === "win32" && "needs cmake-js on Windows");

/** Commands that would go to the network, in front of the real ones: each fails and leaves a trace. */
function forbid(names: string[]): { path: string; trace: string } {
  const path = temporaryFolder();
  const trace = join(path, "trace");
  for (const name of names)
    writeFileSync(join(path, name), `#!/bin/sh\necho ${name} >> ${trace}\nexit 1\n`, { mode: 0o755 });
  return { path, trace };
}

t.test("a build of one's own", { skip }, async (t) => {
  const main = tarballs.find(({ manifest }) => manifest.name === "gme-embed") as Tarball;
  const { folder, modules, gme } = installedTree(main);
  for (const name of ["cmake-js", "node-gyp", "node-llama-cpp"]) rmSync(join(modules, name), { force: true });
  layPackage(modules, main);
  t.ok(existsSync(join(gme, "vendor", "ggml", ".pin")), "the pin of the sources lies in the package");
  mkdirSync(join(folder, "home"));
  const { path, trace } = forbid(["git", "npm", "curl", "wget", "python3", "node-gyp"]);
  const start = performance.now();
  const said = execFileSync(process.execPath, [npmScript("npm"), "run", "build-from-source"], {
    cwd: gme,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    env: {
      HOME: join(folder, "home"),
      PATH: `${path}:${process.env.PATH}`,
      http_proxy: "http://127.0.0.1:9",
      https_proxy: "http://127.0.0.1:9",
    },
  });
  t.comment(`built in ${((performance.now() - start) / 1000).toFixed(0)} s`);
  t.match(said, /vendor\/ggml matches the pin|up to date/);
  t.notOk(existsSync(trace), existsSync(trace) ? readFileSync(trace, "utf8") : "nothing went to the network");
  const { code, stdout, stderr } = await runNode(folder, [join(gme, "dist", "cli", "main.js"), "doctor", "--json"]);
  t.equal(code, 0, stderr);
  t.equal(JSON.parse(stdout).engine.file, join(gme, "build", "Release", "gme_embed.node"));
});
