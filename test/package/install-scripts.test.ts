// Installing runs no code: neither ours nor that of a package that a user gets with it.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../helpers/fixtures";

interface Entry {
  dev?: boolean;
  hasInstallScript?: boolean;
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
const entries = Object.entries<Entry>(lock.packages).filter(([path]) => path !== "");
const hooks = ["preinstall", "install", "postinstall"];

// They are for building and testing; .npmrc's ignore-scripts keeps them from running.
const developmentWithScripts = ["node_modules/esbuild", "node_modules/yarn"];

t.test("our package has no script that npm runs at installation", async (t) => {
  for (const hook of [...hooks, "prepare", "prepublish", "preprepare", "postprepare"])
    t.notOk(hook in manifest.scripts, hook);
  t.equal(manifest.gypfile, false, "npm would run node-gyp for a binding.gyp");
});

t.test("no package of a user's installation has one, as the lock file says", async (t) => {
  const found = entries.filter(([, entry]) => entry.hasInstallScript);
  t.strictSame(
    found.map(([path]) => path),
    developmentWithScripts,
  );
  for (const [path, { dev }] of found) t.ok(dev, `${path} is not installed for a user`);
});

t.test("nor as the installed packages themselves say", async (t) => {
  let checked = 0;
  for (const [path, { dev }] of entries) {
    const file = join(root, path, "package.json");
    if (dev || !existsSync(file)) continue;
    const { scripts = {}, gypfile } = JSON.parse(readFileSync(file, "utf8"));
    for (const hook of hooks) t.notOk(hook in scripts, `${path}: ${hook}`);
    t.notOk(gypfile === true || existsSync(join(root, path, "binding.gyp")), `${path} is not built at installation`);
    checked++;
  }
  t.ok(checked > 40, `${checked} packages`);
});

t.test("npm runs no script of a package in this checkout, and asks for no address from the lock file", async (t) => {
  const settings = readFileSync(join(root, ".npmrc"), "utf8").split("\n");
  t.ok(settings.includes("ignore-scripts=true"));
});
