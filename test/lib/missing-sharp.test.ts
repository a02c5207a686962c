import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { imageFixture, root, temporaryFolder } from "../helpers/fixtures";
import { pairPath } from "../helpers/parity";

const program = `
import { load } from "./lib/model";
(async () => {
  const gme = await load(process.argv[2], { threads: 1 });
  console.log((await gme.embed("a text")).length);
  await gme.embed({ image: process.argv[3] }).catch((error) => console.log(error.code, error.message));
  await gme.close();
})();
`;

t.test("I40: without sharp texts embed and pictures say what to install GME_IMAGE_BACKEND_MISSING", async (t) => {
  const folder = temporaryFolder();
  cpSync(join(root, "lib"), join(folder, "lib"), { recursive: true });
  copyFileSync(join(root, "package.json"), join(folder, "package.json"));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(join(root, "build"), join(folder, "build"), "junction");
  const loader = dirname(require.resolve("node-gyp-build/package.json"));
  symlinkSync(loader, join(folder, "node_modules", "node-gyp-build"), "junction");
  const script = join(folder, "script.ts");
  writeFileSync(script, program);
  const args = [
    "--import",
    pathToFileURL(require.resolve("tsx")).href,
    script,
    pairPath("tiny-a"),
    imageFixture("one-pixel.png"),
  ];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  t.match(stdout, /^64\nGME_IMAGE_BACKEND_MISSING .*npm install sharp/, stderr);
});
