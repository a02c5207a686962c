// Which process runs a script of this package: forked Node, a utility process, or none. lib/electron-host.ts
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { bundledModelPath } from "../../lib";
import { besideAsar } from "../../lib/asar-path";
import { runsAsNode } from "../../lib/electron-host";
import { root } from "../helpers/fixtures";

const folder = mkdtempSync(join(tmpdir(), "gme-host-"));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
const sentinel = "dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX";
const library = join(root, "dist", "index.js");
const notALibrary = join(folder, "libggml-vulkan.so");
writeFileSync(notALibrary, "not a library");

/** A file that holds an Electron's fuses among other bytes. */
function program(name: string, before: number, wire: string): string {
  const file = join(folder, name);
  writeFileSync(file, Buffer.concat([Buffer.alloc(before, 7), Buffer.from(wire, "latin1"), Buffer.alloc(100, 7)]));
  return file;
}

t.test("the fuse runAsNode is read from Electron's program", async (t) => {
  const chunk = 1 << 22;
  for (const before of [0, 5, chunk - 1, chunk - 20, chunk - 34, chunk, 2 * chunk + 3]) {
    t.equal(runsAsNode(program("off", before, `${sentinel}\x01\x0801111111`)), false, `off, at ${before}`);
    t.equal(runsAsNode(program("on", before, `${sentinel}\x01\x0811111111`)), true, `on, at ${before}`);
  }
  t.equal(runsAsNode(program("removed", 9, `${sentinel}\x01\x08r1111111`)), false);
  t.equal(
    runsAsNode(program("later", 9, `${sentinel}\x02\x0801111111`)),
    true,
    "a list of another version is not guessed at",
  );
  t.equal(runsAsNode(program("none", 9, "nothing")), true);
  t.equal(runsAsNode(join(folder, "missing")), true);
  t.equal(runsAsNode(process.execPath), true, "Node has none");
});

/** What a program prints that runs with `prelude` before anything of this package is loaded. */
function runIn(prelude: string, program: string, env: NodeJS.ProcessEnv = {}): string {
  const script = join(folder, "program.cjs");
  writeFileSync(
    script,
    `${prelude}\nconst gme = require(${JSON.stringify(library)});\n(async () => { ${program} })();`,
  );
  const options = { encoding: "utf8", timeout: 60_000, env: { ...process.env, NODE_OPTIONS: "", ...env } } as const;
  return execFileSync(process.execPath, [script], options);
}

const electron = (type: string | undefined, more = "") =>
  `Object.defineProperty(process, "versions", { value: { ...process.versions, electron: "45.5.0" } });
   ${type === undefined ? "" : `process.type = ${JSON.stringify(type)};`} ${more}`;
const fused = (type: string | undefined) => {
  const off = program("fused", 9, `${sentinel}\x01\x0801111111`);
  return electron(type, `process.execPath = ${JSON.stringify(off)};`);
};
const isolated = `const model = await gme.load(gme.bundledModelPath, { isolate: true, threads: 1 });
  console.log((await model.embed("a cat")).length); await model.close();`;

t.test(
  "run as Node, in a utility process, in a main process of old: a forked process, as Electron's default allows",
  async (t) => {
    for (const type of [undefined, "utility", "browser"])
      t.equal(runIn(electron(type, type === "browser" ? noUtility : ""), isolated).trim(), "192", String(type));
  },
);

const replaceElectron = (value: string) => `const Module = require("node:module"); const load = Module._load;
  Module._load = (name, ...rest) => (name === "electron" ? ${value} : load(name, ...rest));`;
const noUtility = replaceElectron("{}");

t.test("an app whose fuse is off is not opened a second time: an isolated model says what to do instead", async (t) => {
  for (const type of [undefined, "utility"]) {
    const output = runIn(fused(type), `await gme.load(gme.bundledModelPath, { isolate: true }).catch((error) => console.log(error.code, error.message));
      const model = await gme.load(gme.bundledModelPath, { threads: 1 }); console.log((await model.embed("a cat")).length); await model.close();`); // biome-ignore format: one line says it
    t.match(output, /^GME_ENGINE_CRASHED .*could not be started: .*fuse runAsNode.*load it without isolate\)/);
    t.match(output, /\n192\n$/, "without isolate it computes");
  }
});

const devices = `const { libraries } = await gme.listDevices();
  console.log(libraries.length, libraries[0].error); process.exit(0);`;

t.test("a library of devices is tried in a utility process by the main process", async (t) => {
  const utility = replaceElectron(`{ utilityProcess: { fork(script, args, { stdio, serviceName }) {
    console.log(serviceName);
    return require("node:child_process").spawn(${JSON.stringify(process.execPath)}, [script, ...args], { stdio });
  } } }`);
  const env = { GME_BACKEND_PATH: notALibrary };
  const plain = runIn("", devices, env);
  t.match(plain, /^1 .*(invalid ELF|too short|not a mach-o|valid Win32)/i);
  t.equal(runIn(electron("browser", utility), devices, env), `gme-embed devices\n${plain}`);
  const crash = utility.replace("[script, ...args]", '["-e", "process.kill(process.pid, 9)"]');
  t.match(runIn(electron("browser", crash), devices, env), /1 its driver ended the process that tried it/);
});

t.test("where no process can be started for the trial, the library is loaded without", async (t) => {
  const output = runIn(fused("utility"), devices, { GME_BACKEND_PATH: notALibrary });
  t.match(output, /^1 .*(invalid ELF|too short|not a mach-o|valid Win32)/i);
});

t.test("paths in an asar archive become those beside it", async (t) => {
  const cases: [string, string][] = [
    ["/a/resources/app.asar/node_modules/x", "/a/resources/app.asar.unpacked/node_modules/x"],
    ["C:\\a\\resources\\app.asar\\x", "C:\\a\\resources\\app.asar.unpacked\\x"],
    ["/a/app.asar", "/a/app.asar.unpacked"],
    ["/a/app.asar.unpacked/x", "/a/app.asar.unpacked/x"],
    ["/a/myapp.asar/x", "/a/myapp.asar/x"],
  ];
  for (const [path, expected] of cases) t.equal(besideAsar(path), expected);
  t.equal(bundledModelPath, join(root, "models", "emoji-tiny-f16.gguf"));
});
