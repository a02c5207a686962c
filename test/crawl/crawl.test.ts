import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import t from "tap";
import { countFiles, crawl, type CrawledFile, type CrawlEvent, type CrawlOptions } from "../../lib/crawl/crawl";
import { temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";

const all = temporaryFolder();

/** A new folder with files of these contents. */
function folderOf(files: { readonly [path: string]: string | Buffer }): string {
  const folder = mkdtempSync(join(all, "crawl-"));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

async function eventsOf(roots: string | readonly string[], options?: CrawlOptions): Promise<CrawlEvent[]> {
  const events: CrawlEvent[] = [];
  for await (const event of crawl(typeof roots === "string" ? [roots] : roots, options)) events.push(event);
  return events;
}

/** One line per event, sorted: the path in the folder, and why it is not taken. */
async function linesOf(folder: string, options?: CrawlOptions, roots: readonly string[] = [folder]): Promise<string[]> {
  const events = await eventsOf(roots, options);
  return events.map((event) => line(folder, event)).sort();
}

function line(folder: string, event: CrawlEvent): string {
  const path = relative(folder, event.path) || ".";
  if (event.type === "skipped") return `${path} - ${event.reason}`;
  if (event.type === "failed") return `${path} ! ${event.error.code}`;
  return event.caption === undefined ? path : `${path} + ${relative(folder, event.caption.path)}`;
}

t.test("all files of the kinds that are indexed are found at any depth, with kind, size and times", async (t) => {
  const folder = folderOf({
    "cat.jpg": "12345",
    "a/b/c/note.md": "hello",
    "a/page.HTML": "<p>",
    "a/doc.pdf": "",
    "rows.jsonl": "{}",
    "rows.csv": "a",
    "sparse/empty.txt": "",
    "video.mp4": "x",
    Makefile: "x",
    "odd.n&me": "x",
  });
  const events = await eventsOf(folder);
  const files = new Map(
    events.filter(({ type }) => type === "file").map((event) => [relative(folder, event.path), event]),
  );
  const kinds = [...files].map(([path, event]) => [path, (event as CrawledFile).kind]).sort();
  t.same(kinds, [
    ["a/b/c/note.md", "text"],
    ["a/doc.pdf", "pdf"],
    ["a/page.HTML", "html"],
    ["cat.jpg", "image"],
    ["rows.csv", "csv"],
    ["rows.jsonl", "jsonl"],
    ["sparse/empty.txt", "text"],
  ]);
  const cat = files.get("cat.jpg") as CrawledFile;
  t.same([cat.size, cat.root, cat.explicit, cat.caption], [5, folder, false, undefined]);
  t.ok(Math.abs(cat.mtimeMs - Date.now()) < 60_000 && Math.abs(cat.ctimeMs - Date.now()) < 60_000);
  t.same(
    (await linesOf(folder)).filter((text) => text.includes(" - ")),
    [
      "Makefile - not a kind that is indexed (no extension)",
      "odd.n&me - not a kind that is indexed (another extension)",
      "video.mp4 - not a kind that is indexed (.mp4)",
    ],
  );
});

t.test("a file named itself is taken even when it is hidden or ignored, and only once", async (t) => {
  const folder = folderOf({ ".gmeignore": "*.md", ".h.txt": "1", "a.md": "1", "b.txt": "1", "x.bin": "1" });
  const named = [".h.txt", "a.md", "x.bin", "a.md", "./b.txt"].map((name) => `${folder}/${name}`);
  const events = await eventsOf([...named, folder, `${folder}/`], { exclude: ["b.txt"] });
  t.same(
    events.map((event) => [line(folder, event), event.explicit]),
    [
      [".h.txt", true],
      ["a.md", true],
      ["x.bin - not a kind that is indexed (.bin)", true],
      ["b.txt", true],
    ],
  );
});

t.test("roots that overlap yield each file once, and a root inside another is taken by its own rules", async (t) => {
  const folder = folderOf({ "a/b/1.txt": "1", "a/2.txt": "2", "3.txt": "3", "a/.h/4.txt": "4", ".gmeignore": "*.txt" });
  symlinkSync(join(folder, "a"), join(folder, "link"));
  const once = ["3.txt - ignored by .gmeignore", "a/.h/4.txt", "a/2.txt", "a/b/1.txt", "link - symbolic link"];
  const roots = [folder, join(folder, "a"), join(folder, "a", ".h"), folder, `${folder}/a/b/../b`];
  t.same(await linesOf(folder, {}, roots), once);
  t.same(await linesOf(folder, {}, [...roots].reverse()), once);
  const twice = await linesOf(folder, {}, [join(folder, "link"), join(folder, "a")]);
  t.same(twice, ["link/.h - hidden", "link/2.txt", "link/b/1.txt"], "the same folder by two names");
});

t.test("roots are relative to the working folder", async (t) => {
  const folder = folderOf({ "a/1.txt": "1" });
  const before = process.cwd();
  process.chdir(folder);
  t.teardown(() => process.chdir(before));
  t.same(await linesOf(folder, {}, ["a"]), ["a/1.txt"]);
  t.same(await linesOf(folder, {}, ["a/1.txt", "."]), ["a/1.txt"]);
});

t.test("a root that does not exist fails, named and marked, and the others are walked", async (t) => {
  const folder = folderOf({ "a/1.txt": "1" });
  const events = await eventsOf([join(folder, "gone"), join(folder, "a/1.txt/x.txt"), join(folder, "a")]);
  t.same(
    events.map((event) => line(folder, event)),
    ["gone ! GME_IO_ERROR", "a/1.txt/x.txt ! GME_IO_ERROR", "a/1.txt"],
  );
  const [gone] = events;
  t.ok(gone.type === "failed" && gone.explicit);
  if (gone.type === "failed") {
    t.equal(gone.error.errno, "ENOENT");
    t.equal(gone.error.message, `${folder}/gone: no such file or directory (ENOENT)`);
  }
  for (const root of ["", "a\0b", 7]) await rejectsWith(t, () => eventsOf([root as string]), "GME_INPUT_INVALID");
});

t.test("hidden files and folders are skipped, once per folder, unless they are asked for", async (t) => {
  const folder = folderOf({
    ".a.txt": "",
    ".git/1.txt": "",
    ".git/x/2.txt": "",
    "b/.c/3.txt": "",
    "b/4.txt": "",
    "..5.txt": "",
  });
  const visible = ["..5.txt - hidden", ".a.txt - hidden", ".git - hidden", "b/.c - hidden", "b/4.txt"];
  t.same(await linesOf(folder), visible);
  const every = ["..5.txt", ".a.txt", ".git/1.txt", ".git/x/2.txt", "b/.c/3.txt", "b/4.txt"];
  t.same(await linesOf(folder, { hidden: true }), every);
});

t.test(".gmeignore files rule their folder and below, deeper ones override, as in Git", async (t) => {
  const folder = folderOf({
    ".gmeignore": "\ufeff# a comment\r\n*.md\r\n/top.txt\nbuild/\nnode_modules\n!keep.md\nsub/exact.txt\n",
    "a.md": "",
    "keep.md": "",
    "top.txt": "",
    "build/1.txt": "",
    "other/top.txt": "",
    "other/node_modules/2.txt": "",
    "other/sub/exact.txt": "",
    "sub/.gmeignore": "!build/\n!b.md\n/top.txt\ndeep/*.txt\n\\!odd.txt\nlast.txt ",
    "sub/b.md": "",
    "sub/c.md": "",
    "sub/build/3.txt": "",
    "sub/exact.txt": "",
    "sub/top.txt": "",
    "sub/x/top.txt": "",
    "sub/deep/4.txt": "",
    "sub/x/deep/5.txt": "",
    "sub/!odd.txt": "",
    "sub/last.txt": "",
    "s [x]*/.gmeignore": "6.txt\n/",
    "s [x]*/6.txt": "",
    "s [x]*/7.txt": "",
    "s y/6.txt": "",
  });
  const lines = await linesOf(folder);
  t.same(
    lines.filter((text) => !text.includes(" - ")),
    [
      "keep.md",
      "other/sub/exact.txt",
      "other/top.txt",
      "s [x]*/7.txt",
      "s y/6.txt",
      "sub/b.md",
      "sub/build/3.txt",
    ].concat(["sub/x/deep/5.txt", "sub/x/top.txt"]),
  );
  t.same(
    lines.filter((text) => text.includes(" - ")).map((text) => text.replace(" - ignored by .gmeignore", "")),
    ["a.md", "build", "other/node_modules", "s [x]*/6.txt", "sub/!odd.txt", "sub/c.md", "sub/deep/4.txt"].concat([
      "sub/exact.txt",
      "sub/last.txt",
      "sub/top.txt",
      "top.txt",
    ]),
  );
});

t.test("node_modules is not special, and exclude overrides .gmeignore, relative to each root", async (t) => {
  const folder = folderOf({
    "node_modules/1.txt": "",
    "r/.gmeignore": "*.md\n!b.txt",
    "r/a.md": "",
    "r/b.txt": "",
    "r/x/b.txt": "",
    "s/x/c.txt": "",
    "s/y/x/c.txt": "",
  });
  t.same(await linesOf(folder, {}, [join(folder, "node_modules")]), ["node_modules/1.txt"]);
  const options = { exclude: ["/x/", "b.txt", "!a.md"] };
  t.same(await linesOf(folder, options, [join(folder, "r"), join(folder, "s")]), [
    "r/a.md",
    "r/b.txt - excluded",
    "r/x - excluded",
    "s/x - excluded",
    "s/y/x/c.txt",
  ]);
});

t.test("rules that cannot be used leave their folder out and say so", async (t) => {
  const long = `${"a".repeat(1_025)}`;
  const folder = folderOf({
    "long/.gmeignore": long,
    "long/1.txt": "",
    "stars/.gmeignore": "x\n**/a/**/b/**/c/**/d/**",
    "stars/2.txt": "",
    "folder/.gmeignore/3.txt": "",
    "folder/4.txt": "",
    "huge/.gmeignore": `${"#".repeat(1024 * 1024)}\n`,
    "fine/5.txt": "",
  });
  const events = await eventsOf(folder);
  t.same(events.map((event) => line(folder, event)).sort(), [
    "fine/5.txt",
    "folder ! GME_OPTION_INVALID",
    "huge ! GME_OPTION_INVALID",
    "long ! GME_OPTION_INVALID",
    "stars ! GME_OPTION_INVALID",
  ]);
  const stars = events.find(({ path }) => path.includes("stars"));
  t.match(
    stars?.type === "failed" && stars.error.message,
    /stars\/\.gmeignore: line 2 has more .*its folder is left out$/,
  );
  for (const exclude of [[long], ["**/".repeat(9)], [7 as unknown as string]]) {
    await rejectsWith(t, () => eventsOf(folder, { exclude }), "GME_OPTION_INVALID");
  }
});

t.test("hostile rules do not hold up the walk", async (t) => {
  const deep = Array.from({ length: 100 }, () => "a").join("/");
  const folder = folderOf({
    ".gmeignore": ["*a".repeat(400), "**/a/**/a/**/a/**/b", "[".repeat(900), "a*".repeat(300), "!".repeat(900)].join(
      "\n",
    ),
    [`${deep}/${"a".repeat(250)}.txt`]: "",
  });
  const start = performance.now();
  t.equal((await eventsOf(folder)).filter(({ type }) => type === "file").length, 1);
  t.ok(performance.now() - start < 5_000, `${Math.round(performance.now() - start)} ms`);
});

t.test("a caption beside a picture comes with it and is no text of its own", async (t) => {
  const folder = folderOf({
    "a.jpg": "",
    "a.txt": "of a",
    "b.PNG": "",
    "b.PNG.txt": "of b",
    "b.txt": "not of b: the longer name counts",
    "c.Jpeg": "",
    "c.TXT": "of c",
    "d.jpg": "",
    "d.webp": "",
    "d.txt": "of both",
    "e.txt": "of none",
    "f.pdf": "",
    "f.txt": "of no picture",
    "g.jpg": "",
    "g.txt": Buffer.alloc(1024 * 1024 + 1),
    "h.jpg": "",
    "h.txt/x.txt": "a folder",
    "i.jpg/x.txt": "a folder",
    "i.txt": "",
  });
  t.same(await linesOf(folder), [
    "a.jpg + a.txt",
    "b.PNG + b.PNG.txt",
    "b.txt",
    "c.Jpeg + c.TXT",
    "d.jpg + d.txt",
    "d.webp + d.txt",
    "e.txt",
    "f.pdf",
    "f.txt",
    "g.jpg",
    "g.txt",
    "h.jpg",
    "h.txt/x.txt",
    "i.jpg/x.txt",
    "i.txt",
  ]);
  const [cat] = await eventsOf(join(folder, "a.jpg"));
  t.match(cat, { explicit: true, caption: { path: join(folder, "a.txt"), size: 4 } });
  const alone = (await linesOf(folder, { captions: false })).filter((text) => /^[ab]\./.test(text));
  t.same(alone, ["a.jpg", "a.txt", "b.PNG", "b.PNG.txt", "b.txt"]);
});

t.test("a text whose picture is not taken is a text of its own, and an ignored one is no caption", async (t) => {
  const folder = folderOf({ "a.jpg": "", "a.txt": "", "b.png": "", "b.txt": "" });
  const lines = await linesOf(folder, { exclude: ["*.jpg", "b.txt"] });
  t.same(lines, ["a.jpg - excluded", "a.txt", "b.png", "b.txt - excluded"]);
});

t.test("of files named themselves a caption is one when its picture is named too", async (t) => {
  const folder = folderOf({ "a.jpg": "", "a.txt": "" });
  const [picture, text] = [join(folder, "a.jpg"), join(folder, "a.txt")];
  t.same(await linesOf(folder, {}, [text]), ["a.txt"]);
  t.same(await linesOf(folder, {}, [text, picture]), ["a.jpg + a.txt"]);
  t.same(await linesOf(folder, {}, [text, folder]), ["a.jpg + a.txt", "a.txt"]);
});

t.test("an index is not indexed", async (t) => {
  const folder = folderOf({ "db/entries.lance/data/x.txt": "", "db/1.txt": "", "old.lance/2.txt": "", "3.txt": "" });
  t.same(await linesOf(folder), ["3.txt", "db - an index", "old.lance - an index"]);
  t.same(await linesOf(folder, {}, [join(folder, "db")]), ["db - an index"]);
});

t.test("counting tells the number with each file", async (t) => {
  const folder = folderOf({ "1.txt": "", "2.txt": "", "a/3.jpg": "", "a/3.txt": "", ".4.txt": "" });
  const counts: number[] = [];
  t.equal(await countFiles([folder], {}, (files) => counts.push(files)), 3);
  t.same(counts, [1, 2, 3]);
});

t.test("a walk that is aborted ends with GME_ABORTED", async (t) => {
  const folder = folderOf(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`${i % 9}/${i}.txt`, ""])));
  await rejectsWith(t, () => eventsOf(folder, { signal: AbortSignal.abort() }), "GME_ABORTED");
  const abort = new AbortController();
  let files = 0;
  const walk = async () => {
    for await (const _ of crawl([folder], { signal: abort.signal })) if (++files === 5) abort.abort();
  };
  await rejectsWith(t, walk, "GME_ABORTED");
  t.ok(files < 300, `${files} files`);
});
