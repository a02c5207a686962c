// The packages that we ourselves depend on, beside our addon; scripts/check-neighbours.mjs does the same with those that we do not.
import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { loadFrom } from "../../lib/binding";
import { root, temporaryFolder } from "../helpers/fixtures";
import { addonFile } from "../lifetime/native-model";
import { meet, orders } from "./meeting.cjs";

const addon = addonFile();
const setup = { addon, folder: root, temporary: temporaryFolder() };
const names = ["sharp", "@lancedb/lancedb"];

t.test("L25 the addon works beside sharp and LanceDB, loaded before and after it, with the same vectors", async (t) => {
  const alone = meet([], "ours first", setup);
  t.match(alone, { code: 0, signal: null }, alone.stderr);
  for (const order of orders) {
    const { code, signal, vectors, did, stderr } = meet(names, order, setup);
    t.match({ code, signal }, { code: 0, signal: null }, stderr);
    t.same(vectors, [alone.vectors[0], alone.vectors[0]], `${order}: bit for bit`);
    t.same(Object.keys(did), names);
  }
  t.comment(`L25: ${names.join(" and ")} in both orders: both work, 4 embeds bit-equal, exit code 0`);
});

t.test(
  "L24 the addon exports nothing but its registration",
  { skip: process.platform !== "linux" && "ELF" },
  async (t) => {
    const done = spawnSync("nm", ["-D", "--defined-only", addon], {
      encoding: "utf8",
      env: { ...process.env, LD_PRELOAD: "" },
    });
    t.equal(done.status, 0, done.stderr);
    const symbols = done.stdout.split("\n").flatMap((line) => line.split(" ")[2] ?? []);
    t.same(symbols.sort(), ["napi_register_module_v1", "node_api_module_get_api_version_v1"]);
    t.comment(`L24: nm -D: ${symbols.join(", ")}`);
  },
);

t.test("L24 a package inside an asar archive loads the addon that is unpacked beside it", async (t) => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "app.asar.unpacked"));
  symlinkSync(root, join(folder, "app.asar.unpacked", "gme-embed"));
  const { version } = loadFrom(join(folder, "app.asar", "gme-embed"));
  t.type(version.engine, "string");
  t.comment("L24: of app.asar the addon in app.asar.unpacked is taken; Electron itself is not run");
});
