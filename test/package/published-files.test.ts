// What `npm pack` would publish, file by file, with the real contents after a build.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../helpers/fixtures";
import { mainPatterns, patternProblems } from "./published-patterns";

interface Packed {
  size: number;
  unpackedSize: number;
  files: { path: string; size: number; mode: number }[];
}

const [packed]: Packed[] = JSON.parse(
  execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    stdio: ["ignore", "pipe", "ignore"],
    shell: process.platform === "win32",
  }),
);
const paths = packed.files.map(({ path }) => path);
const ours = packed.files.filter(({ path }) => !path.startsWith("vendor/ggml/"));
const read = (path: string) => readFileSync(join(root, path), "utf8");

t.test("every published file is one that is meant to be published", async (t) => {
  t.same(patternProblems(paths, mainPatterns), []);
  const others = patternProblems([...paths.filter((path) => path !== "NOTICE"), "dist/x.o"], mainPatterns);
  t.match(others, [/dist\/x\.o is not on the list/, /NOTICE.*3 files, 4 to 4 expected/], "the list is held to");
});

t.test("tests, fixtures, built binaries and private files stay out", async (t) => {
  const forbidden =
    /(^|\/)(test|fixtures|node_modules|build|build-[a-z]+|coverage|\.git|\.ci|\.tap|\.vscode|\.npmrc|\.env)(\/|$)|binding\.gyp$|\.(node|o|a|so|map|tgz|log|pem|key|p12)$/;
  for (const { path } of ours) t.notMatch(path, forbidden);
  t.notOk(
    paths.some((path) => /(^|\/)\.(npmrc|env|git)|\.(pem|p12|pfx)$/.test(path)),
    "the vendored tree neither",
  );
});

t.test("each module is compiled from a source that is there, and each source is compiled", async (t) => {
  const bundle = "dist/server/page/app.js"; // of the page's modules, for the browser: nobody imports it
  t.ok(paths.includes(bundle));
  const modules = paths.filter((path) => /^dist\/.*\.js$/.test(path) && path !== bundle);
  for (const path of modules) t.ok(existsSync(join(root, path.replace(/^dist/, "lib").replace(/js$/, "ts"))), path);
  const typed = paths.filter((path) => path.endsWith(".d.ts")).map((path) => path.replace(/d\.ts$/, "js"));
  t.strictSame(typed.sort(), modules.sort());
});

t.test("what package.json names is published, and the command can be executed", async (t) => {
  const { main, types, exports, bin } = JSON.parse(read("package.json"));
  const named = JSON.stringify({ main, types, exports, bin }).match(/dist\/[^"]+/g) ?? [];
  t.ok(named.length > 8);
  for (const path of named) t.ok(paths.includes(path), path);
  t.match(read(bin.gme), /^#!\/usr\/bin\/env node\n/);
  const command = packed.files.find(({ path }) => path === bin.gme);
  t.equal((command?.mode ?? 0) & 0o111, 0o111, "mode");
});

t.test("sizes are bounded", async (t) => {
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  t.comment(`${paths.length} files, ${mib(packed.size)} packed, ${mib(packed.unpackedSize)} unpacked`);
  t.ok(packed.size < 12 * 2 ** 20, mib(packed.size));
  t.ok(packed.unpackedSize < 36 * 2 ** 20, mib(packed.unpackedSize));
  for (const { path, size } of ours.filter(({ path }) => !path.endsWith(".gguf"))) {
    t.ok(size > 0 && size < 300 * 2 ** 10, `${path}: ${size} bytes`);
  }
});

t.test("no secret and no path of a machine stands in a published text", async (t) => {
  const secrets = [
    /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
    /\b(npm_[A-Za-z0-9]{36}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40}|hf_[A-Za-z]{30,}|AKIA[0-9A-Z]{16})\b/,
    /\b_authToken\b|\b(password|api[_-]?key|secret)\s*[:=]\s*["'][A-Za-z0-9+/_-]{12,}["']/i,
    /(^|["'\s(])\/(root|work|home\/[a-z]+|Users\/[a-z]+)\//m,
  ];
  for (const { path } of ours.filter(({ path }) => !/\.(gguf|png)$/.test(path))) {
    const text = read(path);
    for (const secret of secrets) t.notOk(secret.test(text), `${path}: ${secret}`);
  }
});
