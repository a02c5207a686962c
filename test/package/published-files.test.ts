// What `npm pack` would publish, file by file, with the real contents after a build.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../helpers/fixtures";

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

/** Every published file is one of these, and each pattern has as many files as it says. */
const allowed: { pattern: RegExp; least: number; most: number }[] = [
  { pattern: /^(CMakeLists\.txt|package\.json|README\.md|vendor\/ggml\.json)$/, least: 4, most: 4 },
  { pattern: /^(LICENSE|NOTICE|THIRD_PARTY_NOTICES\.md|SECURITY\.md)$/, least: 4, most: 4 },
  { pattern: /^dist\/([a-z-]+\/)?[a-z-]+\.(js|d\.ts)$/, least: 200, most: 600 },
  { pattern: /^dist\/(index-store\/)?index\.(mjs|d\.mts)$/, least: 4, most: 4 },
  { pattern: /^native\/(addon|engine|ggml-guard|tools)\/[a-z0-9-]+\.(cpp|h)$/, least: 100, most: 250 },
  { pattern: /^native\/ggml-cuda\/build\.cmake$/, least: 1, most: 1 },
  { pattern: /^docs\/[a-z-]+\.md$/, least: 14, most: 30 },
  { pattern: /^models\/emoji-tiny-f16\.gguf$/, least: 1, most: 1 },
  { pattern: /^models\/emoji-tiny\/samples\/([a-z-]+\.png|captions\.json)$/, least: 51, most: 52 },
  { pattern: /^models\/emoji-tiny\/([a-z_]+\.(md|json)|LICENSES\.md|recipe\/[a-z_]+\.(py|json))$/, least: 6, most: 8 },
  { pattern: /^scripts\/(cmake-build\.js|vendor-ggml\.mjs)$/, least: 2, most: 2 },
  { pattern: /^vendor\/ggml\/.*$/, least: 1000, most: 1600 },
];

t.test("every published file is one that is meant to be published", async (t) => {
  const counts = allowed.map(() => 0);
  for (const path of paths) {
    const found = allowed.findIndex(({ pattern }) => pattern.test(path));
    if (found < 0) t.fail(`${path} is not on the list`);
    else counts[found]++;
  }
  for (const [i, { pattern, least, most }] of allowed.entries()) {
    t.ok(counts[i] >= least && counts[i] <= most, `${pattern}: ${counts[i]} files, ${least} to ${most} expected`);
  }
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
  const modules = paths.filter((path) => /^dist\/.*\.js$/.test(path));
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
