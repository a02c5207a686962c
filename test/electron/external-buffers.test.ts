// V8's memory cage in Electron forbids ArrayBuffers over memory of ours, and Electron exports other symbols than Node: what the addon asks of
// its host, and the library in a process where such buffers are refused.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { binding } from "../../lib/binding";
import { root } from "../helpers/fixtures";
import { dynamicSymbols } from "./elf-imports";

const isLinux = process.platform === "linux";
const addon = () => {
  binding();
  return Object.keys(require.cache).find((path) => path.endsWith(".node") && path.startsWith(root)) as string;
};

t.test(
  "L24 the addon asks its host for functions of Node-API alone",
  { skip: !isLinux && "reads ELF files" },
  async (t) => {
    const symbols = dynamicSymbols(addon());
    const imports = symbols.filter(({ isDefined }) => !isDefined).map(({ name }) => name);
    const host = new Set(dynamicSymbols(process.execPath).filter(({ isDefined }) => isDefined).map(({ name }) => name)); // biome-ignore format: one line says it
    t.ok(host.has("uv_default_loop") && host.has("napi_create_buffer"), "Node's own symbols are seen");
    // libstdc++ is linked into Node too, and its names come from the system's library all the same.
    const standard =
      /^(_ZNSt|_ZNKSt|_ZSt|_ZTI|_ZTV|_ZTS|_Zna|_Znw|_Zdl|_Zda|__cxa|__gxx|_ZN9__gnu|_ZTH|_ZGTt|_Unwind|_ZN10__cxxabi|_ZNV?K?S[a-z])/;
    const fromLibc = ["stdin", "stdout", "stderr", "environ"]; // programs hold copies of these
    const fromHost = imports.filter((name) => host.has(name) && !standard.test(name));
    const other = fromHost.filter((name) => !/^(napi|node_api)_[a-z0-9_]+$/.test(name) && !fromLibc.includes(name));
    t.comment(`${fromHost.length} functions of Node-API`);
    t.ok(fromHost.length > 20);
    t.strictSame(other, []);
    t.strictSame(imports.filter((name) => /^uv_|v8|external_(array)?buffer/i.test(name)), []); // biome-ignore format: one line says it
  },
);

function build(t: { teardown(callback: () => void): void }) {
  const folder = mkdtempSync(join(tmpdir(), "gme-audit-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const headers = join(createRequire(__filename).resolve("node-api-headers/package.json"), "..", "include");
  const compile = (name: string, to: string) =>
    execFileSync("cc", [
      "-shared",
      "-fPIC",
      "-O1",
      `-I${headers}`,
      "-o",
      join(folder, to),
      join(__dirname, "children", name),
    ]);
  compile("audit.c", "audit.so");
  compile("external.c", "external.node");
  return { audit: join(folder, "audit.so"), control: join(folder, "external.node") };
}

function embed(env: NodeJS.ProcessEnv, ...args: string[]) {
  const script = join(__dirname, "children", "embed.cjs");
  const options = { encoding: "utf8", timeout: 120_000, env: { ...process.env, NODE_OPTIONS: "", ...env } } as const;
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, [script, ...args], options);
  if (status !== 0) throw new Error(`ended with ${signal ?? status}: ${stderr}`);
  return { report: JSON.parse(stdout), refused: Number(/refused (\d+)/.exec(stderr)?.[1] ?? -1) };
}

const isGlibc = isLinux && (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header.glibcVersionRuntime; // biome-ignore format: one line says it
const hasCompiler = spawnSync("cc", ["--version"]).status === 0;
const skip = (!isGlibc && "needs glibc's LD_AUDIT") || (!hasCompiler && "no C compiler (cc)");

t.test("L24 a process that refuses external buffers embeds texts and pictures all the same", { skip }, async (t) => {
  const { audit, control } = build(t);
  const env = { LD_AUDIT: audit, GME_AUDIT_REPORT: "1" };
  const free = embed({}, control);
  const caged = embed(env, control);
  t.equal(free.report.status, 0, "control: Node gives an external buffer");
  t.equal(caged.report.status, 22, "control: here it is refused, napi_no_external_buffers_allowed");
  t.strictSame(caged.report.vectors, free.report.vectors, "the same vectors");
  t.equal(caged.report.stages, free.report.stages);
  t.ok(caged.report.stages > 0);
  const { refused } = embed(env);
  t.comment(`${refused} external buffers were asked for by sharp, none by gme-embed`);
  t.ok(refused >= 0, "counted");
});
