import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import t from "tap";
import { crawl, type CrawledFile } from "../../lib/crawl/crawl";
import { root, temporaryFolder } from "../helpers/fixtures";

const all = temporaryFolder();
const linux = { skip: process.platform === "linux" ? false : "needs Linux" };
/** 200,000 for the figures of docs/robustness.md (X15). */
const manyFiles = Number(process.env.GME_TEST_FILES ?? 20_000);

/** Runs TypeScript's `crawl` in a process of its own; `script` prints one value of JSON. */
function inChild<Result>(script: string): Result {
  const preamble = `const { crawl } = require(${JSON.stringify(join(root, "lib/crawl/crawl.ts"))});
    const { shownPath } = require(${JSON.stringify(join(root, "lib/crawl/path-bytes.ts"))});`;
  const settled = "await new Promise((resolve) => setImmediate(resolve));"; // tsx reads a file of its own a moment later
  const main = `(async () => { ${settled} ${script} })().catch((error) => { console.error(error); process.exit(1); });`;
  const node = ["--require", require.resolve("tsx/cjs"), "-e", preamble + main];
  const { NODE_OPTIONS, ...env } = process.env; // tap's own preloads
  const child = spawnSync(process.execPath, node, { encoding: "utf8", cwd: root, timeout: 250_000, env });
  if (child.status !== 0) throw new Error(`${child.status} ${child.signal}: ${child.stderr}`);
  return JSON.parse(child.stdout) as Result;
}

t.test(`a folder of ${manyFiles} files is walked in flat memory`, async (t) => {
  const folder = mkdtempSync(join(all, "many-"));
  for (let i = 0; i < manyFiles; i++) closeSync(openSync(join(folder, `${i}.${i % 10 === 0 ? "bin" : "jpg"}`), "w"));
  writeFileSync(join(folder, "7.txt"), "of 7");
  const walk = (rules: string) =>
    inChild<{ files: number; skipped: number; captions: number; mebibytes: number; growth: number; seconds: number }>(`
      const start = performance.now();
      let [files, skipped, captions] = [0, 0, 0];
      let before = 0;
      for await (const event of crawl([${JSON.stringify(folder)}], { exclude: ${rules} })) {
        if (event.type === "file") files++; else skipped++;
        if (event.caption) captions++;
        if (files === 2000) before = process.memoryUsage.rss();
      }
      const seconds = (performance.now() - start) / 1000;
      const [rss, peak] = [process.memoryUsage.rss(), process.resourceUsage().maxRSS / 1024];
      console.log(JSON.stringify({ files, skipped, captions, mebibytes: peak, growth: (rss - before) / 2 ** 20, seconds }));`);
  for (const [rules, title] of [
    ["[]", "without rules"],
    ['["*.zip", "x/**/y"]', "with rules"],
  ]) {
    const { files, skipped, captions, mebibytes, growth, seconds } = walk(rules);
    t.same([files, skipped, captions], [manyFiles * 0.9, manyFiles * 0.1, 1], title);
    const figures = `${Math.round(mebibytes)} MiB, ${Math.round(growth)} MiB of them after 2,000 files, ${seconds.toFixed(1)} s`;
    t.ok(mebibytes < 300, `${title}: ${figures}`);
    t.ok(seconds < 20 + manyFiles / 5_000, `${title}: ${figures}`);
    t.comment(`${title}: ${figures}`);
  }
  rmSync(folder, { recursive: true });
});

t.test("a folder of many folders is walked with few of them waiting", async (t) => {
  const folder = mkdtempSync(join(all, "folders-"));
  for (let i = 0; i < 3_000; i++) mkdirSync(join(folder, String(i)));
  writeFileSync(join(folder, "1", "a.txt"), "");
  const files: string[] = [];
  for await (const { path } of crawl([folder])) files.push(relative(folder, path));
  t.same(files, ["1/a.txt"]);
});

t.test("few files are open at once, however deep the folders and however low the limit", linux, (t) => {
  const folder = mkdtempSync(join(all, "open-"));
  const deep = join(folder, ...Array.from({ length: 150 }, () => "d"));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, "a.txt"), "");
  for (let i = 0; i < 300; i++) writeFileSync(join(folder, "d", "d", `${i}.jpg`), "");
  const found = inChild<{ files: number; failed: string[] }>(
    `require("node:child_process").execFileSync("prlimit", ["--pid", String(process.pid), "--nofile=40:40"]);
     const { closeSync, openSync } = require("node:fs");
     const hoard = [];
     try { for (;;) hoard.push(openSync("/dev/null")); } catch {}
     setTimeout(() => hoard.splice(4).forEach((fd) => closeSync(fd)), 300); // until then every open fails with EMFILE
     let files = 0; const failed = [];
     for await (const event of crawl([${JSON.stringify(folder)}])) {
       if (event.type === "file") files++; else failed.push(String(event.error ?? event.reason));
     }
     console.log(JSON.stringify({ files, failed }));`,
  );
  t.same(found, { files: 301, failed: [] });
  t.end();
});

t.test("pipes, sockets and devices are skipped without being opened; a file of 1 TB has its size", linux, async (t) => {
  const folder = mkdtempSync(join(all, "odd-"));
  t.equal(spawnSync("mkfifo", ["a.jpg", "a.txt", "pipe", ".gmeignore"], { cwd: folder }).status, 0);
  rmSync(join(folder, ".gmeignore"));
  const isDevice = spawnSync("mknod", [join(folder, "zero.txt"), "c", "1", "5"]).status === 0;
  const server = createServer().listen(join(folder, "s.txt"));
  t.teardown(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  writeFileSync(join(folder, "sparse.pdf"), "");
  truncateSync(join(folder, "sparse.pdf"), 2 ** 40);
  const events = new Map<string, string | number>();
  for await (const event of crawl([folder, join(folder, "pipe")])) {
    const name = relative(folder, event.path);
    events.set(
      name,
      event.type === "file" ? event.size : event.type === "skipped" ? event.reason : event.error.message,
    );
  }
  const expected: [string, string | number][] = [
    ["a.jpg", "a named pipe"],
    ["a.txt", "a named pipe"],
    ["pipe", "a named pipe"],
    ["s.txt", "a socket"],
    ["sparse.pdf", 2 ** 40],
  ];
  if (isDevice) expected.push(["zero.txt", "a device"]);
  t.same([...events].sort(), expected.sort());
});

t.test("a named pipe for a .gmeignore leaves its folder out and does not block", linux, async (t) => {
  const folder = mkdtempSync(join(all, "pipe-"));
  mkdirSync(join(folder, "a"));
  for (const name of ["1.txt", "a/2.txt"]) writeFileSync(join(folder, name), "");
  t.equal(spawnSync("mkfifo", [join(folder, "a/.gmeignore")]).status, 0);
  const events: string[] = [];
  for await (const event of crawl([folder])) {
    events.push(`${relative(folder, event.path)} ${event.type === "failed" ? event.error.message : event.type}`);
  }
  const message = `${folder}/a/.gmeignore: it is not a regular file, expected a text file; its folder is left out`;
  t.same(events.sort(), ["1.txt file", `a ${message}`]);
});

t.test("what may not be read fails with its errno, and the walk goes on", linux, (t) => {
  const folder = mkdtempSync(join(all, "denied-"));
  for (const name of ["closed", "listed", "rules", "open"]) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "1.txt"), "");
  }
  writeFileSync(join(folder, "rules/.gmeignore"), "");
  chmodSync(join(folder, "rules/.gmeignore"), 0);
  chmodSync(join(folder, "closed"), 0);
  chmodSync(join(folder, "listed"), 0o444);
  for (const path of [all, folder]) chmodSync(path, 0o755);
  const events = inChild<string[]>(
    `if (process.getuid() === 0) process.setuid(65534);
     const events = [];
     for await (const { type, path, error, explicit } of crawl(["closed", "."].map((name) => ${JSON.stringify(folder)} + "/" + name))) {
       events.push([type, path.slice(${folder.length}), error?.code, error?.errno, explicit].join(" ").trim());
     }
     console.log(JSON.stringify(events));`,
  );
  t.same(events.sort(), [
    "failed /closed GME_IO_ERROR EACCES true",
    "failed /listed GME_IO_ERROR EACCES false",
    "failed /rules GME_IO_ERROR EACCES false",
    "file /open/1.txt   false",
  ]);
  for (const name of ["closed", "listed"]) chmodSync(join(folder, name), 0o755);
  t.end();
});

t.test("files and folders that vanish during the walk are told, and new ones do no harm", async (t) => {
  const folder = mkdtempSync(join(all, "vanish-"));
  for (let i = 0; i < 40; i++) {
    mkdirSync(join(folder, `d${i}`));
    writeFileSync(join(folder, `d${i}`, "1.txt"), "");
  }
  writeFileSync(join(folder, "0.txt"), "");
  const events: string[] = [];
  for await (const event of crawl([folder])) {
    events.push(event.type === "skipped" ? event.reason : event.type);
    if (events.length > 1) continue;
    for (let i = 0; i < 40; i += 2) rmSync(join(folder, `d${i}`), { recursive: true });
    for (let i = 1; i < 40; i += 2) renameSync(join(folder, `d${i}`, "1.txt"), join(folder, `d${i}`, "2.txt"));
    writeFileSync(join(folder, "new.txt"), "");
  }
  t.equal(events.filter((event) => event === "vanished").length, 20);
  t.ok(events.filter((event) => event === "file").length >= 21);
  t.notOk(events.includes("failed"));
});

t.test("relative roots are found in a working folder whose name is not UTF-8", linux, (t) => {
  const folder = Buffer.concat([Buffer.from(mkdtempSync(join(all, "cwd-"))), Buffer.from("/w\xff", "latin1")]);
  mkdirSync(folder);
  writeFileSync(Buffer.concat([folder, Buffer.from("/a.txt")]), "");
  const events = inChild<string[]>(
    `const folder = Buffer.from(${JSON.stringify(folder.toString("base64"))}, "base64");
     process.chdir("/proc/self/fd/" + require("node:fs").openSync(folder));
     const events = [];
     for await (const { path } of crawl([".", "a.txt"])) events.push(shownPath(path));
     console.log(JSON.stringify(events));`,
  );
  t.same(events, [`${folder.subarray(0, -1)}\\xff/a.txt`]);
  t.end();
});

t.test("a consumer that stops early leaves no folder open", linux, (t) => {
  const folder = mkdtempSync(join(all, "early-"));
  mkdirSync(join(folder, "a/b/c"), { recursive: true });
  for (const name of ["1.txt", "a/2.txt", "a/b/3.txt", "a/b/c/4.txt"]) writeFileSync(join(folder, name), "");
  const [before, after] = inChild<[number, number]>(
    `const { readdirSync } = require("node:fs");
     const open = () => readdirSync("/proc/self/fd").length;
     const before = open();
     for (let i = 0; i < 50; i++) for await (const { path } of crawl([${JSON.stringify(folder)}])) if (path.endsWith("4.txt")) break;
     console.log(JSON.stringify([before, open()]));`,
  );
  t.equal(after, before);
  t.end();
});

t.test("times and sizes are of the file at the moment it is yielded or a little before", async (t) => {
  const folder = mkdtempSync(join(all, "times-"));
  writeFileSync(join(folder, "a.txt"), "12");
  const files: CrawledFile[] = [];
  for await (const event of crawl([folder])) if (event.type === "file") files.push(event);
  writeFileSync(join(folder, "a.txt"), "123");
  for await (const event of crawl([folder])) if (event.type === "file") files.push(event);
  t.same(
    files.map(({ size }) => size),
    [2, 3],
  );
  t.ok(files[1].mtimeMs >= files[0].mtimeMs && files[1].ctimeMs >= files[0].ctimeMs);
});
