import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import t from "tap";
import { bundledModelPath, load } from "../../lib/index";
import { openIndex } from "../../lib/index-store/index";
import { pathOf } from "../../lib/crawl/path-bytes";
import { type CliOptions, gme } from "../helpers/cli";
import { root, temporaryFolder } from "../helpers/fixtures";

const folder = temporaryFolder();
const db = join(folder, "index");
const pictures = join(folder, "pictures");
const oddName = Buffer.from("odd \xff\n.png", "latin1");
/** By name, not by kind: the bundled model knows no instruction but its default. */
const onlyPictures = ["--path", "*.png"];
const hasOddNames = process.platform === "linux";

interface Found {
  score: number;
  kind: string;
  path: string;
  paths: string[];
  pathBase64?: string;
  snippet?: string;
  passage?: number;
  width?: number;
  height?: number;
  key: string;
}

async function search(args: readonly string[], options: CliOptions = {}) {
  return gme(["search", "--db", db, "--model", bundledModelPath, ...args], options);
}

async function found(...args: string[]): Promise<Found[]> {
  const { code, stdout, stderr } = await search([...args, "--json"]);
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout.toString()).results;
}

function sample(name: string): string {
  return join(root, "models", "emoji-tiny", "samples", name);
}

t.before(async () => {
  mkdirSync(pictures);
  for (const name of ["banana", "bicycle", "guitar", "rocket", "sun", "crescent-moon"])
    copyFileSync(sample(`${name}.png`), join(pictures, `${name}.png`));
  if (hasOddNames) copyFileSync(sample("umbrella.png"), Buffer.concat([Buffer.from(`${pictures}/`), oddName]));
  writeFileSync(join(pictures, "notes.md"), "The castle stands on a hill.\n");
  const model = await load(bundledModelPath);
  const index = await openIndex(db, { model });
  await index.addFiles([pictures], {});
  await index.add([{ id: "word <1>", text: "a red apple" }], {});
  await index.close();
  await model.close();
});

t.test("a text finds its picture, as a line of score and path", async (t) => {
  const { code, stdout, stderr, addons } = await search(["guitar", ...onlyPictures]);
  t.equal(code, 0, stderr);
  t.notOk(stdout.includes("\u001b"), "no colours in a pipe");
  const lines = stdout.toString().trimEnd().split("\n");
  t.equal(lines.length, hasOddNames ? 7 : 6);
  t.match(lines[0], /^0\.\d{3}\t.*guitar\.png\t/);
  const scores = lines.map((line) => Number(line.split("\t")[0]));
  t.strictSame(
    scores,
    [...scores].sort((a, b) => b - a),
    "best first",
  );
  if (hasOddNames)
    t.ok(
      lines.some((line) => line.split("\t")[1].endsWith("odd \\xff\\n.png")),
      "one line, escaped",
    );
  t.ok(addons.some((file) => file.includes("lancedb")));
});

t.test("a picture finds itself, and both fused find what both say", async (t) => {
  const [itself] = await found("--image", sample("rocket.png"), ...onlyPictures);
  t.equal(basename(itself.path), "rocket.png");
  t.ok(itself.score > 0.9, `${itself.score}`);
  t.match(itself, { kind: "image", paths: [itself.path], width: 224, height: 224 });
  t.notOk("thumbnail" in itself);
  const [first, second] = await found("moon", "--image", sample("sun.png"), ...onlyPictures);
  t.ok([first, second].some(({ path }) => basename(path) === "crescent-moon.png"));
});

t.test("texts of files and of items are found, with passage and snippet", async (t) => {
  const texts = await found("a red apple", "--kind", "text");
  t.equal(texts[0].path, "word <1>");
  t.equal(texts[0].snippet, "a red apple");
  const notes = texts.find(({ path }) => path.endsWith("notes.md"));
  t.match(notes, { kind: "text", snippet: /castle/ });
});

t.test("the query is read from stdin, and GME_DB and GME_MODEL are used", async (t) => {
  const env = { GME_DB: db, GME_MODEL: bundledModelPath };
  const piped = await gme(["search", "-", "--limit", "1", ...onlyPictures, "-f"], { stdin: "guitar\n", env });
  t.equal(piped.code, 0, piped.stderr);
  t.match(piped.stdout.toString(), /guitar\.png\n$/);
  const bytes = readFileSync(sample("banana.png"));
  const picture = await gme(["search", "--image", "-", "--limit", "1", ...onlyPictures, "-f"], { stdin: bytes, env });
  t.match(picture.stdout.toString(), /banana\.png\n$/, picture.stderr);
});

t.test("filters narrow the results", async (t) => {
  const names = (rows: Found[]) => rows.map(({ path }) => basename(path)).sort();
  t.strictSame(names(await found("fruit", "--path", "b*.png")), ["banana.png", "bicycle.png"]);
  t.strictSame(names(await found("fruit", "--where", "kind = 'text'")), ["notes.md", "word <1>"]);
  const images = await found("fruit", "--kind", "image");
  t.equal(images.length, hasOddNames ? 7 : 6);
  t.ok(images.every(({ kind }) => kind === "image"));
  t.equal((await found("fruit", "--limit", "2")).length, 2);
  t.equal((await found("fruit", "--exact")).length, hasOddNames ? 9 : 8);
  const all = await found("fruit");
  const above = await found("fruit", "--min-score", String(all[2].score));
  t.ok(above.length >= 2 && above.length <= 3 && above.length < all.length);
});

t.test("paths only, with NULs as the file system has them", { skip: !hasOddNames && "needs Linux" }, async (t) => {
  const { stdout } = await search(["umbrella", "--path", "odd*", "-0"]);
  t.strictSame(stdout, Buffer.concat([Buffer.from(`${pictures}/`), oddName, Buffer.from([0])]));
  const [odd] = await found("umbrella", "--path", "odd*");
  t.equal(odd.path, pathOf(stdout.subarray(0, -1)));
  t.equal(odd.pathBase64, stdout.subarray(0, -1).toString("base64"));
});

t.test("nothing found is said on stderr and is no error", async (t) => {
  const { code, stdout, stderr } = await search(["guitar", "--path", "no-such-*"]);
  t.equal(code, 0);
  t.equal(stdout.length, 0);
  t.match(stderr, /nothing found/);
  t.strictSame(await found("guitar", "--path", "no-such-*"), []);
});

t.test("--html writes a gallery with thumbnails and the picture searched by", async (t) => {
  const out = join(folder, "gallery.html");
  const { code, stdout, stderr } = await search(["moon", "--image", sample("sun.png"), "--html", out, "--limit", "3"]);
  t.equal(code, 0, stderr);
  t.match(stderr, "gallery.html");
  t.equal(stdout.toString().trimEnd().split("\n").length, 3, "the results are printed as well");
  const html = readFileSync(out, "utf8");
  t.match(html, "3 results");
  t.ok((html.match(/<img src="data:image\/webp;base64,/g)?.length ?? 0) >= 2, "thumbnails and the query's picture");
  t.match(html, "The picture searched by: sun.png");
});

t.test("wrong usage ends with 2 and loads neither addon nor store", async (t) => {
  const rows: [string[], RegExp][] = [
    [["guitar"], /--db DIR or set GME_DB/],
    [["--db", "x"], /no query/],
    [["--db", "x", "  "], /empty/],
    [["--db", "x", "-", "--image", "-"], /stdin/],
    [["--db", "x", "a", "--kind", "film"], /image, text, page/],
    [["--db", "x", "a", "--limit", "0"], /1 to 10000/],
    [["--db", "x", "a", "--min-score", "2"], /-1 to 1/],
    [["--db", "x", "a", "--json", "-f"], /exclude/],
    [["--db", "x", "a", "surplus"], /too many arguments/],
  ];
  const runs = await Promise.all(rows.map(([args]) => gme(["search", ...args])));
  for (const [i, { code, stdout, stderr, addons }] of runs.entries()) {
    const title = `gme search ${rows[i][0].join(" ")}`;
    t.equal(code, 2, title);
    t.match(stderr, rows[i][1], title);
    t.equal(stdout.length, 0, title);
    t.strictSame(addons, [], title);
  }
});

t.test("an index that is not there, another model and a filter that is no SQL are told in words", async (t) => {
  const missing = join(folder, "nothing");
  const none = await gme(["search", "--db", missing, "a", "--json"], { env: { GME_MODEL: bundledModelPath } });
  t.equal(none.code, 1);
  t.equal(JSON.parse(none.stderr).error.code, "GME_INDEX_NOT_FOUND");
  t.notOk(existsSync(missing), "nothing is made");
  const other = await search(["a", "--positions", "mrope"]);
  t.equal(other.code, 1);
  t.match(other.stderr, /GME_MODEL_MISMATCH/);
  t.match(other.stderr, /mrope/);
  const filter = await search(["a", "--where", "kind = "]);
  t.equal(filter.code, 2);
  t.match(filter.stderr, /filter/);
});
