// The command as a new user meets it: a folder with all that folders hold, on the demonstration model.
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs"; // biome-ignore format: one line says it
import { basename, join } from "node:path";
import sharp from "sharp";
import t, { type Test } from "tap";
import { load } from "../../lib/index";
import { openIndex, type SearchOptions } from "../../lib/index-store/index";
import { pathOf } from "../../lib/crawl/path-bytes";
import { type CliResult, command, gme, jsonLines } from "../helpers/cli";
import { imageFixture, root } from "../helpers/fixtures";
import { encryptedPdf, pdfWithPages } from "../helpers/pdf-writer";
import { checkOf, failuresOf, freshPlace } from "./fault-setup";

const model = join(root, "models", "emoji-tiny-f16.gguf");
const isLinux = process.platform === "linux";
const { folder, db } = freshPlace();

const sample = (name: string) => join(root, "models", "emoji-tiny", "samples", `${name}.png`);
const index = (...args: string[]) => gme(["index", ...args, "--db", db, "--model", model]);
const at = (...parts: string[]) => join(folder, ...parts);

/** No stack, no file of our own or of a package, nothing that only its makers understand. */
function isPlain(t: Test, { stderr, stdout }: CliResult): void {
  for (const output of [stderr, stdout.toString()]) {
    t.notMatch(output, /\n\s+at .*[:(]/, "no stack trace");
    t.notMatch(output, /node_modules|\.rs:\d|lib\/(index-store|cli)|panicked/, "no place in a source");
  }
}

async function pdfOfSamples(...names: string[]): Promise<Buffer> {
  const pages = names.map(async (name) => {
    const jpeg = await sharp(sample(name)).flatten({ background: "#fff" }).resize(448, 448).jpeg().toBuffer();
    return { image: { jpeg, width: 448, height: 448 }, width: 400, height: 400 };
  });
  return pdfWithPages(await Promise.all(pages));
}

/** Names as they come: each is a copy of another picture. */
const oddNames: readonly [string | Buffer, string][] = [
  ["a name with spaces.png", "bicycle"],
  [`quotes ' " and \`.png`, "castle"],
  ["two\nlines.png", "elephant"],
  ["-leading-dash.png", "hammer"],
  ["日本語 Ελληνικά русский.png", "lion"],
  ["100% *?[x]{y}$(z).png", "octopus"],
  ...(isLinux ? [[Buffer.from("byte \xff.png", "latin1"), "penguin"] as [Buffer, string]] : []),
];
const rawPath = (name: string | Buffer) => Buffer.concat([Buffer.from(`${folder}/odd names/`), Buffer.from(name)]);

t.before(async () => {
  for (const name of ["odd names", "sub/deeper", "documents", "tables", "empty", "bad", "left out", ".hidden"])
    mkdirSync(at(name), { recursive: true });
  for (const name of ["banana", "guitar", "red-apple", "strawberry"]) copyFileSync(sample(name), at(`${name}.png`));
  copyFileSync(sample("rocket"), at("sub", "deeper", "rocket.png"));
  copyFileSync(sample("rocket"), at("sub", "the same rocket.png"));
  for (const [name, picture] of oddNames) copyFileSync(sample(picture), rawPath(name));
  copyFileSync(imageFixture("photo-640x480.png"), at("sub", "captioned.png"));
  writeFileSync(at("sub", "captioned.txt"), "an umbrella in the rain\n");
  writeFileSync(at("documents", "notes.md"), "# Notes\n\nThe snowman melts in the sun.\n");
  writeFileSync(at("documents", "page.html"), "<h1>Title</h1><p>A turtle is slow.</p><script>no()</script>");
  writeFileSync(at("documents", "pages.pdf"), await pdfOfSamples("owl", "pizza", "umbrella"));
  writeFileSync(at("tables", "list.jsonl"), '{"text":"a violin","image":"../guitar.png"}\n{"text":"hot beverage"}\n');
  writeFileSync(at("tables", "list.csv"), 'text,image\n"key, of a door",\n,../banana.png\n');
  for (const kind of ["png", "jpg", "txt", "md", "html", "pdf", "jsonl", "csv"])
    writeFileSync(at("empty", `${kind} file.${kind}`), "");
  copyFileSync(imageFixture("exif6-480x360.jpg"), at("bad", "broken.jpg"));
  truncateSync(at("bad", "broken.jpg"), 3_000);
  writeFileSync(at("bad", "no picture.png"), "this is text");
  writeFileSync(at("bad", "secret.pdf"), encryptedPdf("a password"));
  writeFileSync(at("bad", "half.pdf"), (await pdfOfSamples("owl")).subarray(0, 900));
  writeFileSync(at("bad", "rows.jsonl"), '{"text":"a good row of a bad file"}\n{ broken\n');
  writeFileSync(at("left out", "note.txt"), "left out");
  writeFileSync(at(".hidden", "note.txt"), "hidden");
  writeFileSync(at(".gmeignore"), "left out/\n");
  writeFileSync(at("program.exe"), "no kind that is indexed");
  symlinkSync("..", at("sub", "loop"));
  symlinkSync(folder, at("sub", "to the root"));
  if (isLinux) execFileSync("mkfifo", [at("pipe.png")]);
});

const failing: { [path: string]: string[] } = {
  "bad/broken.jpg": ["GME_IMAGE_TRUNCATED"],
  "bad/no picture.png": ["GME_IMAGE_FORMAT"],
  "bad/secret.pdf": ["GME_PDF_ENCRYPTED"],
  "bad/half.pdf": ["GME_PDF_CORRUPT", "GME_PDF_TRUNCATED"],
  "bad/rows.jsonl": ["GME_DOCUMENT_UNREADABLE"],
  "empty/png file.png": ["GME_IMAGE_TRUNCATED", "GME_IMAGE_FORMAT"],
  "empty/jpg file.jpg": ["GME_IMAGE_TRUNCATED", "GME_IMAGE_FORMAT"],
  "empty/pdf file.pdf": ["GME_PDF_TRUNCATED"],
};
const failures = Object.keys(failing).length;
/** Pictures, the captioned one, documents, pages, rows of tables. */
const rows = 5 + oddNames.length + 1 + 2 + 3 + 4 - 1 + 1;

t.test("the first run indexes what is good, tells what is bad, and exits 3", async (t) => {
  const result = await index(folder);
  isPlain(t, result);
  t.equal(result.code, 3, result.stderr);
  const lines = result.stderr.trimEnd().split("\n");
  t.equal(lines.length, failures, result.stderr);
  for (const [path, codes] of Object.entries(failing)) {
    const line = lines.find((text) => text.startsWith(`failed: ${at(path)}`)) ?? "";
    t.ok(
      codes.some((code) => line.endsWith(`[${code}]`)),
      `${path}: ${line}`,
    );
  }
  t.match(result.stdout.toString(), new RegExp(`the index has ${rows} rows`));
  const logged = failuresOf(db);
  t.equal(logged.length, failures);
  for (const { path, code, message, part } of logged) {
    const name = String(path).slice(folder.length + 1);
    t.ok(failing[name]?.includes(String(code)), `${name}: ${code}`);
    t.ok(String(message).length > 20);
    t.equal(part, name === "bad/rows.jsonl" ? 2 : undefined);
  }
  t.match(await checkOf(db), { rows, missing: 0, duplicates: 0, bad: 0, stale: 0 });
});

t.test("the second run embeds nothing, counts what failed before, and --retry-failed tries that again", async (t) => {
  const again = await index(folder, "--json");
  t.equal(again.code, 3);
  const events = jsonLines(again.stdout);
  t.match(events.at(-1), { type: "summary", embedded: 0, failed: 0, failedBefore: failures, rows });
  t.strictSame([again.stderr, events.filter(({ type }) => type === "failed")], ["", []]);
  const retried = await index(folder, "--retry-failed", "--json");
  t.equal(retried.code, 3);
  const lines = jsonLines(retried.stdout);
  t.match(lines.at(-1), { type: "summary", embedded: 0, failed: failures, failedBefore: 0, rows });
  const failed = lines.filter(({ type }) => type === "failed") as { path: string; error: { code: string } }[];
  t.equal(failed.length, failures);
  for (const { path, error } of failed) t.ok(failing[path.slice(folder.length + 1)].includes(error.code), path);
  t.equal(failuresOf(db).length, failures);
});

t.test("what is left out is left out with a reason", async (t) => {
  const { stdout, code } = await index(folder, "--json", "--allow-failures");
  t.equal(code, 0);
  const skipped = jsonLines(stdout).filter(({ type }) => type === "skipped") as { path: string; reason: string }[];
  const reasons = Object.fromEntries(skipped.map(({ path, reason }) => [path.slice(folder.length + 1), reason]));
  t.match(reasons, {
    "sub/loop": "symbolic link",
    "sub/to the root": "symbolic link",
    ".hidden": "hidden",
    "left out": /gmeignore/,
    "program.exe": /not a kind that is indexed/,
    "empty/txt file.txt": "empty",
    "empty/md file.md": "empty",
    "empty/html file.html": "empty",
    ...(isLinux && { "pipe.png": /FIFO|pipe/i }),
  });
});

async function best(query: string[], ...flags: string[]): Promise<{ path: string; page?: number; paths: string[] }> {
  const { stdout, stderr, code } = await gme(["search", ...query, "--db", db, "--model", model, "--json", "--limit", "1", ...flags]); // biome-ignore format: one line says it
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout.toString()).results[0];
}

t.test("right answers: text to picture, picture to picture, text to page, picture and text to picture", async (t) => {
  const pictures = ["--path", "*.png"];
  t.equal(basename((await best(["guitar"], ...pictures)).path), "guitar.png");
  t.equal(basename((await best(["--image", sample("strawberry")], ...pictures)).path), "strawberry.png");
  t.match(await best(["a slice of pizza"], "--path", "*.pdf"), { path: at("documents", "pages.pdf"), page: 2 });
  const red = await gme(["search", "red fruit", "--image", sample("banana"), "--db", db, "--model", model, ...pictures, "-f"]); // biome-ignore format: one line says it
  const names = red.stdout.toString().split("\n").map((path) => basename(path)); // biome-ignore format: short
  t.equal(names.filter((name) => name !== "banana.png")[0], "red-apple.png", names.join());
});

t.test("everything good is found, every odd name by its picture, escaped in words and whole with -0", async (t) => {
  const loaded = await load(model, { threads: 1 });
  const opened = await openIndex(db, { model: loaded, readOnly: true });
  const first = async (text: string | undefined, options: SearchOptions) => (await opened.search(text, { ...options, limit: 1 }))[0]; // biome-ignore format: one line says it
  for (const [name, picture] of oddNames)
    t.equal((await first(undefined, { image: sample(picture), path: "*.png" })).path, pathOf(rawPath(name)));
  t.equal((await first("a rocket", { path: "*.png" })).paths.length, 2, "both names of the same picture");
  for (const [i, text] of ["owl", "a slice of pizza", "umbrella"].entries())
    t.match(await first(text, { path: "*.pdf" }), { kind: "page", page: i + 1 });
  t.match(await first("a snowman in the sun", { path: "*.md" }), { path: at("documents", "notes.md"), passage: 1 });
  t.match(await first("a turtle", { path: "*.html" }), { snippet: /A turtle is slow/ });
  t.match(await first("hot beverage", { path: "*.jsonl" }), { path: at("tables", "list.jsonl"), row: 2 });
  t.match(await first("a key", { path: "*.csv" }), { snippet: "key, of a door", row: 1 });
  t.match(await first("an umbrella", { path: "captioned.png" }), { kind: "image", snippet: "an umbrella in the rain" });
  await opened.close();
  await loaded.close();
  const listed = await gme(["search", "x", "--db", db, "--model", model, "--limit", "1000", "-0", "--path", "*.png"]);
  const paths = listed.stdout.toString("latin1").split("\0");
  for (const [name] of oddNames) t.ok(paths.includes(rawPath(name).toString("latin1")), String(name));
});

t.test("a file whose name begins with a dash is taken behind --", async (t) => {
  const result = await gme(["index", "--db", db, "--model", model, "--", "-leading-dash.png"], {
    cwd: at("odd names"),
  });
  t.equal(result.code, 0, result.stderr);
  t.match(result.stdout.toString(), new RegExp(`the index has ${rows} rows`));
});

t.test("a folder that may not be read is told, and the rest is indexed", async (t) => {
  if (process.getuid?.() !== 0) return void t.pass("as another user", { skip: "needs root, to be another user" });
  const place = freshPlace();
  chmodSync(join(place.folder, "..", ".."), 0o755);
  chmodSync(join(place.folder, ".."), 0o777);
  mkdirSync(join(place.folder, "locked"));
  copyFileSync(sample("banana"), join(place.folder, "locked", "a.png"));
  copyFileSync(sample("banana"), join(place.folder, "locked.png"));
  copyFileSync(sample("guitar"), join(place.folder, "b.png"));
  for (const name of ["locked", "locked.png"]) chmodSync(join(place.folder, name), 0);
  const user = { uid: 65534, gid: 65534 };
  chownSync(place.folder, user.uid, user.gid);
  const args = [...command, "index", place.folder, "--db", place.db, "--model", model];
  // Without tap's own preload, which writes into a folder that only root may write.
  const child = spawn("env", ["-u", "NODE_OPTIONS", process.execPath, ...args], {
    ...user,
    cwd: root,
    env: { PATH: process.env.PATH, HOME: place.folder, GME_THREADS: "1" },
  });
  let stderr = "";
  child.stderr.on("data", (data) => {
    stderr += data;
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  t.equal(code, 3, stderr);
  const lines = stderr.trimEnd().split("\n").sort();
  t.equal(lines.length, 2, stderr);
  for (const line of lines) t.match(line, /^failed: .*locked.*(permission denied|EACCES).*\[GME_IO_ERROR\]$/);
  t.match(await checkOf(place.db), { rows: 1 });
});

t.test("an empty folder, one where all fails, and a single file", async (t) => {
  const place = freshPlace();
  const run = (path: string) => gme(["index", path, "--db", place.db, "--model", model]);
  const empty = await run(place.folder);
  t.equal(empty.code, 0, empty.stderr);
  t.match(empty.stdout.toString(), /the index has 0 rows/);
  t.match(await checkOf(place.db), { rows: 0, missing: 0 });
  const nothing = await gme(["search", "x", "--db", place.db, "--model", model]);
  t.strictSame([nothing.code, nothing.stderr], [0, "nothing found\n"]);
  for (const name of ["a.png", "b.pdf"]) writeFileSync(join(place.folder, name), "");
  const failed = await run(place.folder);
  t.equal(failed.code, 3);
  t.match(failed.stdout.toString(), /the index has 0 rows/);
  isPlain(t, failed);
  const single = await run(sample("banana"));
  t.equal(single.code, 0, single.stderr);
  t.match(single.stdout.toString(), /the index has 1 row/);
});

t.test("a path that does not exist is told, and the others are indexed", async (t) => {
  const place = freshPlace();
  const missing = join(place.folder, "missing");
  const result = await gme(["index", missing, sample("banana"), "--db", place.db, "--model", model]);
  isPlain(t, result);
  t.equal(result.code, 3);
  t.match(result.stderr, /^failed: .*missing: no such file.*\[GME_IO_ERROR\]\n$/);
  t.match(await checkOf(place.db), { rows: 1 });
});

t.test("a place where no index can be is told before the model is loaded", async (t) => {
  const place = freshPlace();
  const file = join(place.folder, "a file");
  writeFileSync(file, "");
  const places: [string, RegExp][] = [
    [file, /is not a folder/],
    [join(file, "index"), /is not a folder|not a directory/],
    [join(place.folder, "missing", "index"), /missing does not exist/],
  ];
  if (isLinux) places.push(["/proc/index", /./]);
  for (const [to, words] of places) {
    const result = await gme(["index", folder, "--db", to, "--model", model]);
    isPlain(t, result);
    t.equal(result.code, 1, to);
    t.match(result.stderr, words);
    t.match(result.stderr, /^error: .*\[GME_IO_ERROR\]\n$/);
    t.notOk(result.addons.some((addon) => /gme|lancedb/i.test(basename(addon))), "neither engine nor store is loaded"); // biome-ignore format: one line says it
  }
  t.strictSame(readdirSync(place.folder), ["a file"]);
});

t.test("an index on a read-only disk is searched, and not written", async (t) => {
  const place = freshPlace();
  const made = await gme(["index", sample("banana"), "--db", place.db, "--model", model]);
  t.equal(made.code, 0, made.stderr);
  try {
    execFileSync("mount", ["--bind", place.db, place.db], { stdio: "ignore" });
    t.teardown(() => execFileSync("umount", ["-l", place.db], { stdio: "ignore" }));
    execFileSync("mount", ["-o", "remount,bind,ro", place.db], { stdio: "ignore" });
  } catch {
    return void t.pass("a read-only disk", { skip: "mounting is not allowed here" });
  }
  const result = await gme(["index", folder, "--db", place.db, "--model", model]);
  isPlain(t, result);
  t.equal(result.code, 1);
  t.match(result.stderr, /^error: .*(read-only|EROFS).*\[GME_IO_ERROR\]\n$/i);
  t.notOk(result.addons.some((addon) => /gme|lancedb/i.test(basename(addon))));
  const found = await gme(["search", "banana", "--db", place.db, "--model", model, "-f"]);
  t.strictSame([found.code, found.stdout.toString()], [0, `${sample("banana")}\n`]);
  const check = await gme(["index", "--check", "--db", place.db]);
  t.equal(check.code, 0, check.stderr);
});

t.test("what is asked for wrongly is told in one line", async (t) => {
  const none = join(folder, "..", "no index");
  for (const [args, code, words] of [
    [["search", "x", "--db", none], 1, /no index at/],
    [["index", "--db", none], 2, /nothing to index/],
    [["index", folder], 2, /--db DIR/],
    [["index", folder, "--db", none, "--passage-length", "7"], 2, /passage/i],
  ] as const) {
    const result = await gme([...args, "--model", model]);
    isPlain(t, result);
    t.equal(result.code, code, args.join(" "));
    t.match(result.stderr, words);
  }
  t.notOk(existsSync(none));
  t.ok(readFileSync(join(db, "roots.json"), "utf8").includes(folder));
});
