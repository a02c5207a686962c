import { linkSync, mkdirSync, mkdtempSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import t from "tap";
import { crawl, type CrawlOptions } from "../../lib/crawl/crawl";
import { temporaryFolder } from "../helpers/fixtures";

const all = temporaryFolder();

/** One line per event, sorted. */
async function linesOf(folder: string, options?: CrawlOptions, roots: readonly string[] = [folder]): Promise<string[]> {
  const lines: string[] = [];
  for await (const event of crawl(roots, options)) {
    const path = relative(folder, event.path);
    if (event.type === "file")
      lines.push(event.caption === undefined ? path : `${path} + ${relative(folder, event.caption.path)}`);
    else lines.push(event.type === "skipped" ? `${path} - ${event.reason}` : `${path} ! ${event.error.errno}`);
  }
  return lines.sort();
}

/** A folder `in` with links of all sorts, and a folder `out` beside it. */
function tree(): string {
  const folder = mkdtempSync(join(all, "links-"));
  const inside = join(folder, "in");
  mkdirSync(join(inside, "a/b"), { recursive: true });
  mkdirSync(join(folder, "out/deep"), { recursive: true });
  for (const path of ["in/1.txt", "in/a/2.txt", "in/a/b/3.txt", "out/4.txt", "out/deep/5.txt"]) {
    writeFileSync(join(folder, path), path);
  }
  const links: [string, string][] = [
    [".", "self"],
    ["..", "a/parent"],
    ["../../..", "a/b/above"],
    ["a/b", "twice"],
    ["../out", "outside"],
    ["../out/4.txt", "file.txt"],
    ["1.txt", "same.txt"],
    ["nowhere", "dangling.txt"],
    ["loop-b", "loop-a"],
    ["loop-a", "loop-b"],
    ["1.txt/x", "under-a-file"],
    ["/proc/self", "proc"],
    ["/proc/self/environ", "environ.txt"],
    ["/sys", "sys"],
    ["/dev", "dev"],
    ["/dev/zero", "zero.txt"],
  ];
  for (const [target, name] of links) symlinkSync(target, join(inside, name));
  linkSync(join(inside, "1.txt"), join(inside, "hard.txt"));
  return folder;
}

const names = [
  "a/b/above",
  "a/parent",
  "dangling.txt",
  "dev",
  "environ.txt",
  "file.txt",
  "loop-a",
  "loop-b",
  "outside",
];
const moreNames = ["proc", "same.txt", "self", "sys", "twice", "under-a-file", "zero.txt"];

t.test("symbolic links are not followed by default, and each is told; hard links are files", async (t) => {
  const folder = tree();
  const links = [...names, ...moreNames].map((name) => `${name} - symbolic link`);
  t.same(await linesOf(join(folder, "in")), ["1.txt", "a/2.txt", "a/b/3.txt", "hard.txt", ...links].sort());
});

t.test(
  "when followed, loops end, what is reached twice has its own path, and the system's folders are left alone",
  async (t) => {
    const inside = join(tree(), "in");
    const again = "a folder that was walked already, by another path";
    const system = "in a folder of the operating system (/proc, /sys, /dev)";
    t.same(await linesOf(inside, { followSymlinks: true }), [
      "1.txt",
      "a/2.txt",
      "a/b/3.txt",
      `a/b/above/out - ${again}`,
      `a/parent - ${again}`,
      "dangling.txt - symbolic link to nothing",
      `dev - ${system}`,
      `environ.txt - ${system}`,
      "file.txt",
      "hard.txt",
      "loop-a - symbolic link that leads to itself",
      "loop-b - symbolic link that leads to itself",
      "outside/4.txt",
      "outside/deep/5.txt",
      `proc - ${system}`,
      "same.txt",
      `self - ${again}`,
      `sys - ${system}`,
      `twice - ${again}`,
      "under-a-file - symbolic link to nothing",
      `zero.txt - ${system}`,
    ]);
  },
);

t.test("each file outside is reached once, though links lead there from many places", async (t) => {
  const inside = join(tree(), "in");
  for (let i = 0; i < 50; i++) symlinkSync("../../out", join(inside, "a", `out-${i}`));
  const lines = await linesOf(inside, { followSymlinks: true, exclude: ["above", "outside"] });
  t.equal(lines.filter((line) => line.endsWith("/4.txt")).length, 1);
  t.equal(lines.filter((line) => line.endsWith("/5.txt")).length, 1);
});

t.test("a root that is a link is followed, and one into the system's folders is not", async (t) => {
  const folder = tree();
  const roots = ["outside", "file.txt", "zero.txt", "proc"].map((name) => join(folder, "in", name));
  t.same(await linesOf(join(folder, "in"), {}, roots), [
    "file.txt",
    "outside/4.txt",
    "outside/deep/5.txt",
    "proc - in a folder of the operating system (/proc, /sys, /dev)",
    "zero.txt - in a folder of the operating system (/proc, /sys, /dev)",
  ]);
  t.same(await linesOf("/", {}, ["/dev", "/proc/self", "/sys/kernel"]), [
    "dev - in a folder of the operating system (/proc, /sys, /dev)",
    "proc/self - in a folder of the operating system (/proc, /sys, /dev)",
    "sys/kernel - in a folder of the operating system (/proc, /sys, /dev)",
  ]);
});

t.test("rules and captions hold for links as for files", async (t) => {
  const folder = mkdtempSync(join(all, "rules-"));
  mkdirSync(join(folder, "out/build"), { recursive: true });
  mkdirSync(join(folder, "in"));
  for (const path of ["out/cat.jpg", "out/text.txt", "out/build/1.txt"]) writeFileSync(join(folder, path), "");
  writeFileSync(join(folder, "in/.gmeignore"), "build/\n");
  symlinkSync("../out/cat.jpg", join(folder, "in/cat.jpg"));
  symlinkSync("../out/text.txt", join(folder, "in/cat.txt"));
  symlinkSync("../out/build", join(folder, "in/build"));
  t.same(await linesOf(join(folder, "in"), { followSymlinks: true }), [
    "build - ignored by .gmeignore",
    "cat.jpg + cat.txt",
  ]);
  t.same((await linesOf(join(folder, "in"))).length, 3, "not followed, each is told");
});

t.test("a folder that a link takes the place of during the walk is not entered", async (t) => {
  const folder = mkdtempSync(join(all, "swap-"));
  mkdirSync(join(folder, "in/z"), { recursive: true });
  mkdirSync(join(folder, "out"));
  for (const path of ["in/1.txt", "in/z/2.txt", "out/3.txt"]) writeFileSync(join(folder, path), "");
  const found: string[] = [];
  for await (const event of crawl([join(folder, "in")])) {
    found.push(relative(folder, event.path));
    if (found.length > 1) continue;
    renameSync(join(folder, "in/z"), join(folder, "moved"));
    symlinkSync("../out", join(folder, "in/z"));
  }
  t.same(found, ["in/1.txt", "in/z"]);
});
