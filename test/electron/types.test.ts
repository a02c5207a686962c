// The example app against Electron's types of the version that it asks for.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { root } from "../helpers/fixtures";

const run = promisify(execFile);
const example = join(root, "examples", "electron");
const readJson = (...parts: string[]) => JSON.parse(readFileSync(join(...parts), "utf8"));

async function compile(project: string): Promise<string> {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  try {
    await run(process.execPath, [tsc, "--noEmit", "-p", project], { cwd: root });
    return "";
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

t.test("every file of the example app has the types of Electron, of gme-embed and of the browser", async (t) => {
  t.equal(await compile(join(root, "test", "electron", "tsconfig.example.json")), "");
  t.equal(await compile(join(example, "tsconfig.page.json")), "");
});

t.test("and a wrong use of Electron is found that way", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "gme-types-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "wrong.ts"), 'import { utilityProcess } from "electron";\nutilityProcess.forc("a.js");\n');
  const paths = { electron: [join(root, "node_modules", "electron")] };
  const compilerOptions = { noEmit: true, skipLibCheck: true, module: "node16", types: [], paths };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["wrong.ts"] }));
  t.match(await compile(folder), /wrong\.ts\(2,16\): error TS\d+: Property 'forc' does not exist/);
});

t.test("versions: the types are those of the Electron that the example runs in; the library is this one", async (t) => {
  const app = readJson(example, "package.json");
  const own = readJson(root, "package.json");
  t.equal(app.devDependencies.electron, own.devDependencies.electron);
  t.equal(readJson(root, "node_modules", "electron", "package.json").version, app.devDependencies.electron);
  t.equal(app.devDependencies.typescript, own.devDependencies.typescript);
  t.equal(app.dependencies["gme-embed"], own.version);
  for (const name of ["@lancedb/lancedb", "apache-arrow"])
    t.equal(app.dependencies[name], own.optionalDependencies[name]);
  t.ok(app.private);
});
