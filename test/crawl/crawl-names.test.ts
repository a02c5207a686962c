import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { crawl, type CrawledFile, type CrawlOptions } from "../../lib/crawl/crawl";
import { fsPath, shownPath } from "../../lib/crawl/path-bytes";
import { temporaryFolder } from "../helpers/fixtures";

const all = temporaryFolder();
const posix = { skip: process.platform === "linux" ? false : "names are not free bytes here" };

async function filesOf(roots: readonly string[], options?: CrawlOptions): Promise<CrawledFile[]> {
  const files: CrawledFile[] = [];
  for await (const event of crawl(roots, options)) if (event.type === "file") files.push(event);
  return files;
}

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");

t.test("names of any bytes are found, and what is read through their form is that file", posix, async (t) => {
  const folder = mkdtempSync(join(all, "names-"));
  const names: Buffer[] = [
    latin1("\xff.txt"),
    latin1("a\xff\xfe\n.txt"),
    Buffer.from("\u{10ffff}.txt"),
    Buffer.from("new\nline.txt"),
    Buffer.from("-rf.txt"),
    Buffer.from("--.txt"),
    Buffer.from(" trailing .txt"),
    Buffer.from("back\\slash.txt"),
    Buffer.from('quote\'s "and" $(x) `y`.txt'),
    Buffer.from("caf\u00e9.txt"),
    Buffer.from("cafe\u0301.txt"),
    Buffer.from("Case.txt"),
    Buffer.from("case.txt"),
    Buffer.from("CASE.TXT"),
    Buffer.from("\u202etxt.gpj.txt"),
    Buffer.from("猫 🦁.txt"),
    Buffer.from(`${"x".repeat(251)}.txt`),
    Buffer.from(`${"é".repeat(125)}x.txt`),
    Buffer.from("*?[!{#.txt"),
    Buffer.from("\t\u0001.txt"),
  ];
  for (const name of names) writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), name]), name);
  const files = await filesOf([folder]);
  const read = files.map(({ path }) => readFileSync(fsPath(path)).toString("hex"));
  t.same(read.sort(), names.map((name) => name.toString("hex")).sort());
  t.equal(new Set(files.map(({ path }) => path)).size, names.length, "no two have the same path");
  for (const { path, size } of files) {
    t.equal(size, readFileSync(fsPath(path)).length);
    t.notMatch(shownPath(path), /[\p{Cc}\p{Cf}]/u);
    t.equal((await filesOf([path]))[0]?.path, path, `${shownPath(path)} as a root`);
  }
});

t.test("folders of any bytes are walked, and their rules and captions work", posix, async (t) => {
  const folder = mkdtempSync(join(all, "folders-"));
  const odd = Buffer.concat([Buffer.from(`${folder}/`), latin1("\xff [*]\n")]);
  const inOdd = (name: string) => Buffer.concat([odd, latin1(`/${name}`)]);
  mkdirSync(inOdd("b\xfe"), { recursive: true });
  writeFileSync(inOdd(".gmeignore"), latin1("n\xfc*.txt\nb\xfe/3.txt\n"));
  for (const name of ["n\xfc1.txt", "c\xe9.jpg", "c\xe9.txt", "b\xfe/2.txt", "b\xfe/3.txt", "b\xfe/n\xfc4.txt"]) {
    writeFileSync(inOdd(name), "");
  }
  const files = await filesOf([folder]);
  const shown = files.map(({ path, caption }) =>
    [path, ...(caption === undefined ? [] : [caption.path])].map(shownPath),
  );
  const at = `${folder}/\\xff [*]\\n/`;
  t.same(shown.sort(), [[`${at}b\\xfe/2.txt`], [`${at}c\\xe9.jpg`, `${at}c\\xe9.txt`]]);
  t.same((await filesOf([folder], { exclude: ["\u{10ffff}*/"] })).length, 0, "a pattern in the lossless form");
});

t.test("paths up to the system's limit are walked, and longer ones fail without ending the walk", posix, async (t) => {
  const folder = mkdtempSync(join(all, "deep-"));
  const name = "d".repeat(200);
  const before = process.cwd();
  t.teardown(() => {
    process.chdir(before);
    spawnSync("rm", ["-rf", folder]); // rmSync knows whole paths only, and these are too long
  });
  process.chdir(folder);
  let depth = 0;
  for (let length = folder.length; length < 4_700; length += name.length + 1, depth++) {
    mkdirSync(name);
    process.chdir(name);
    writeFileSync("f.txt", "");
  }
  process.chdir(before);
  writeFileSync(join(folder, "z.txt"), "");
  const reached: number[] = [];
  const failed: string[] = [];
  for await (const event of crawl([folder])) {
    if (event.type === "file") reached.push(event.path.length);
    else if (event.type === "failed") failed.push(`${event.error.code} ${event.error.errno}`);
  }
  const expected = Array.from({ length: depth }, (_, i) => folder.length + (i + 1) * 201 + "/f.txt".length);
  t.same(
    reached.sort((a, b) => a - b),
    [folder.length + 6, ...expected].filter((length) => length < 4_096),
  );
  t.ok(Math.max(...reached) > 3_800);
  t.same(failed, ["GME_IO_ERROR ENAMETOOLONG"]);
});
