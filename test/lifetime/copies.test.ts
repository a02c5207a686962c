// Several copies of the package in one process: of different folders, of different module systems, and after the cache was emptied.
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { temporaryFolder } from "../helpers/fixtures";
import { runChild } from "./child";
import { addonFile, childSetup, root } from "./native-model";

/** An installed package as far as loading goes: its own files, its own addon, the dependencies shared. */
function copyPackage(folder: string, name: string): string {
  const at = join(folder, name, "node_modules", "gme-embed");
  mkdirSync(join(at, "build", "Release"), { recursive: true });
  for (const part of ["package.json", "dist", "models"]) cpSync(join(root, part), join(at, part), { recursive: true });
  cpSync(addonFile(), join(at, "build", "Release", "gme_embed.node"));
  symlinkSync(join(root, "node_modules"), join(at, "node_modules"));
  return at;
}

t.test(
  "L26 two copies of the package, both module systems and an emptied require.cache work side by side",
  async (t) => {
    const folder = temporaryFolder();
    const copies = ["one", "two"].map((name) => copyPackage(folder, name));
    writeFileSync(join(folder, "package.json"), "{}");
    const end = await runChild("copies.mjs", [], {
      setup: childSetup(0, { copies, rounds: 20 }),
      env: { GME_EMBED_PREBUILD: "" },
      patience: 120_000,
    });
    t.match(end, { code: 0, signal: null }, end.output);
    const report = JSON.parse(end.output.split("\n").find((line) => line.startsWith("{")) ?? "{}") as {
      vectors: Record<string, string>;
      addons: number;
      again: number;
      warnings: string[];
      refused: string;
    };
    const vectors = Object.values(report.vectors);
    t.ok(vectors.length >= 4 && new Set(vectors).size === 1, `equal vectors: ${JSON.stringify(report.vectors)}`);
    t.equal(report.addons, 2, "two addons are mapped");
    t.equal(report.again, 20, "loaded anew twenty times, the models of before go on");
    t.same(report.warnings, [], "Node warns of nothing");
    t.match(report.refused, /TypeError: Illegal invocation/, "a method of one copy refuses the other copy's model");
    t.comment(
      `L26: 2 copies, CommonJS and ES modules, ${report.again} × emptied require.cache: ${vectors.length} bit-equal vectors, exit code 0`,
    );
  },
);
