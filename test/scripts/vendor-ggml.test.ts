import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import t from "tap";

const script = join(__dirname, "..", "..", "scripts", "vendor-ggml.mjs");
const hash = (data: Buffer | string) => createHash("sha256").update(data).digest("hex");
const files: Record<string, string> = {
  AUTHORS: "the authors\n",
  "CMakeLists.txt": "set(GGML_VERSION_MAJOR 9)\nset(GGML_VERSION_MINOR 8)\nset(GGML_VERSION_PATCH 7)\n",
  LICENSE: "the licence\n",
  "src/ggml.c": "int ggml;\n",
};
const treeSha256 = hash(
  Object.entries(files)
    .map(([name, text]) => `${name}\0${hash(text)}\n`)
    .join(""),
);

// A project folder with a small stand-in for the npm package, and an `npm` on the PATH that packs it.
function makeProject(t: Tap): Project {
  const root = t.testdir({ scripts: {}, vendor: {}, upstream: { ggml: { src: {} } }, package: { llama: {} }, bin: {} });
  copyFileSync(script, join(root, "scripts", "vendor-ggml.mjs"));
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(root, "upstream", /^[A-Z]+$/.test(name) ? name : `ggml/${name}`), text);
  }
  writeFileSync(join(root, "upstream", "ggml", ".gitignore"), "src/*.o\n");
  writeFileSync(join(root, "upstream", "other.txt"), "not wanted\n");
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.autocrlf=false", ...args], {
      cwd: join(root, "upstream"),
      encoding: "utf8",
    });
  git("init", "--quiet");
  git("add", ".");
  git("commit", "--quiet", "-m", "one");
  git("bundle", "create", "--quiet", join(root, "package", "llama", "gitRelease.bundle"), "HEAD");
  writeFileSync(join(root, "package", "llama", "llama.cpp.info.json"), '{ "tag": "v9" }\n');
  writeFileSync(
    join(root, "bin", "npm"),
    `#!/bin/sh\ntar -czf made.tgz -C "${root}" package && echo '[{"filename":"made.tgz"}]'\n`,
  );
  chmodSync(join(root, "bin", "npm"), 0o755);
  const pin = {
    package: "stand-in",
    version: "1.0.0",
    bundleSha256: hash(readFileSync(join(root, "package", "llama", "gitRelease.bundle"))),
    treeSha256,
    ggmlVersion: "9.8.7",
    llamaCppTag: "v9",
    commit: git("rev-parse", "HEAD").trim(),
  };
  const writePin = (change: object) =>
    writeFileSync(join(root, "vendor", "ggml.json"), JSON.stringify({ ...pin, ...change }));
  writePin({});
  const run = (args: string[] = [], path = `${join(root, "bin")}${delimiter}${process.env.PATH}`) => {
    const env = { ...process.env, PATH: path };
    const done = spawnSync(process.execPath, [join(root, "scripts", "vendor-ggml.mjs"), ...args], {
      encoding: "utf8",
      env,
    });
    return { status: done.status, output: done.stdout + done.stderr };
  };
  return { tree: join(root, "vendor", "ggml"), pin, root, writePin, run };
}

type Tap = Pick<typeof t, "testdir">;
interface Project {
  root: string;
  tree: string;
  pin: Record<string, string>;
  writePin(change: object): void;
  run(args?: string[], path?: string): { status: number | null; output: string };
}

const skip = process.platform === "win32" ? "the stand-in npm is a shell script" : false;

t.test("vendor-ggml lays ggml and the licence in vendor/ggml, and nothing else", { skip }, async (t) => {
  const { run, tree } = makeProject(t);
  const first = run();
  t.equal(first.status, 0, first.output);
  for (const [name, text] of Object.entries(files)) t.equal(readFileSync(join(tree, name), "utf8"), text, name);
  t.notOk(existsSync(join(tree, "other.txt")));
  t.notOk(existsSync(join(tree, ".gitignore")));
  t.match(run([], "/nowhere").output, "up to date", "a second run needs neither npm nor git");
});

t.test("vendor-ggml takes a tree that already matches the pin without fetching", { skip }, async (t) => {
  const { run, tree } = makeProject(t);
  run();
  rmSync(join(tree, ".pin"));
  const { status, output } = run([], "/nowhere");
  t.equal(status, 0, output);
  t.match(output, "matches the pin");
});

t.test("vendor-ggml refuses a bundle, a commit and a tree that differ from the pin", { skip }, async (t) => {
  const { run, tree, writePin } = makeProject(t);
  const other = "0".repeat(64);
  for (const [change, message] of [
    [{ bundleSha256: other }, /gitRelease\.bundle: sha256 is [0-9a-f]{64}, the pin says 0{64}/],
    [{ commit: other }, /the bundle's commit is [0-9a-f]{40}, the pin says 0{64}/],
    [{ treeSha256: other }, /extracted ggml tree: sha256 is [0-9a-f]{64}, the pin says 0{64}/],
  ] as const) {
    writePin(change);
    const { status, output } = run();
    t.equal(status, 1);
    t.match(output, message);
    t.notOk(existsSync(tree), "nothing is laid down");
  }
});

t.test("vendor-ggml --check sees one changed byte", { skip }, async (t) => {
  const { run, tree } = makeProject(t);
  run();
  t.equal(run(["--check"]).status, 0);
  writeFileSync(join(tree, "src", "ggml.c"), "int ggmL;\n");
  const { status, output } = run(["--check"]);
  t.equal(status, 1);
  t.match(output, /vendor\/ggml: sha256 is/);
});

t.test("vendor-ggml --update moves the pin", { skip }, async (t) => {
  const { run, root, pin } = makeProject(t);
  const { status, output } = run(["--update", "1.0.1"]);
  t.equal(status, 0, output);
  const moved = JSON.parse(readFileSync(join(root, "vendor", "ggml.json"), "utf8"));
  t.match(moved, { ...pin, version: "1.0.1" });
});

t.test("vendor-ggml names a missing program", { skip }, async (t) => {
  const { status, output } = makeProject(t).run([], "/nowhere");
  t.equal(status, 1);
  t.match(output, "npm is not on the PATH; vendoring ggml needs npm and git");
});

t.test("vendor-ggml leaves no half tree of an interrupted run", { skip }, async (t) => {
  const { run, root, tree } = makeProject(t);
  mkdirSync(join(root, "vendor", ".ggml-1", "src"), { recursive: true });
  t.equal(run().status, 0);
  t.notOk(existsSync(join(root, "vendor", ".ggml-1")));
  t.ok(existsSync(join(tree, "LICENSE")));
});
