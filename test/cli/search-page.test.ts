import { pathToFileURL } from "node:url";
import t from "tap";
import { pathList, resultJson, resultLine } from "../../lib/cli/search-output";
import { searchPage } from "../../lib/cli/search-page";
import { cellWidth, cutToCells, oneLine } from "../../lib/cli/text-width";
import type { SearchResult } from "../../lib/index-store/index";
import { pathOf } from "../../lib/crawl/path-bytes";

const isWindows = process.platform === "win32";

function result(fields: Partial<SearchResult>): SearchResult {
  const path = fields.path ?? "/pictures/a cat.png";
  return { key: "k1", score: 0.81249, kind: "image", path, paths: [path], ...fields };
}

const page3 = result({ kind: "page", path: "/reports/100 % #1.pdf", page: 3, score: 0.5 });
const passage = result({ kind: "text", path: "/notes/garden.md", passage: 2, snippet: "Roses\n\twant   sun." });
const query = { text: "a cat", db: "my.index", conditions: [] };

t.test("a result is a line of score, path and where in the file it is", async (t) => {
  t.equal(resultLine(result({}), undefined, false), "0.812\t/pictures/a cat.png\t");
  t.equal(resultLine(page3, undefined, false), "0.500\t/reports/100 % #1.pdf\tpage 3");
  t.equal(resultLine(passage, undefined, false), "0.812\t/notes/garden.md\tpassage 2: Roses want sun.");
  t.equal(resultLine(passage, 80, true), "\u001b[1m0.812\u001b[0m\t/notes/garden.md\tpassage 2: Roses want sun.");
  const row = result({ kind: "text", path: "/t.jsonl", row: 7, passage: 1 });
  t.equal(resultLine(row, undefined, false), "0.812\t/t.jsonl\trow 7, passage 1");
});

t.test("a line stays one line, and nothing in it can move the cursor", async (t) => {
  const hostile = result({ path: "/x\n\u001b[2J\t.png", snippet: "a\u001b[31m\u202eb\u0007\r\nc" });
  t.equal(resultLine(hostile, undefined, false), "0.812\t/x\\n\\u{1b}[2J\\t.png\ta [31mb c");
});

t.test("the detail is cut to the terminal, and to 160 characters in a pipe", async (t) => {
  const long = result({ kind: "text", path: "/a", passage: 1, snippet: "word ".repeat(100) });
  const piped = resultLine(long, undefined, false).split("\t")[2];
  t.equal(piped.length <= 160 && piped.length > 150 && piped.endsWith("…"), true, `${piped.length} characters`);
  for (const columns of [40, 80, 132]) {
    const [, , detail] = resultLine(long, columns, false).split("\t");
    t.ok(
      16 + detail.length <= columns && 16 + detail.length > columns - 6,
      `${columns} columns: ${16 + detail.length}`,
    );
  }
  t.ok(resultLine(long, 1, false).startsWith("0.812\t/a\t"), "a terminal of one column");
});

t.test("cells of a terminal are counted as it draws them", async (t) => {
  for (const [text, cells] of [
    ["abc", 3],
    ["日本", 4],
    ["e\u0301", 1],
    ["👩‍🚀", 2],
    ["❤️", 2],
    ["", 0],
  ] as const)
    t.equal(cellWidth(text), cells, text);
  t.equal(cutToCells("日本語", 5), "日本…");
  t.equal(cutToCells("日本語", 6), "日本語");
  t.equal(cutToCells("👩‍🚀👩‍🚀", 3), "👩‍🚀…");
  t.equal(cutToCells("abc", 1), "…");
  t.equal(cutToCells("abc", 0), "");
  t.equal(oneLine("  a \r\n b\u2028c\ud800 "), "a b c");
});

t.test("paths only: each once, as lines or as bytes with NULs", async (t) => {
  const results = [page3, result({ ...page3, page: 4 }), result({ path: "/b\nc" })];
  t.equal(pathList(results, false).toString(), "/reports/100 % #1.pdf\n/b\\nc\n");
  t.equal(pathList(results, true).toString(), "/reports/100 % #1.pdf\0/b\nc\0");
});

t.test("a path that is not UTF-8 keeps its bytes", { skip: isWindows && "names are text there" }, async (t) => {
  const bytes = Buffer.from("/x\xff.png", "latin1");
  const odd = result({ path: pathOf(bytes), paths: ["/plain.png", pathOf(bytes)] });
  t.strictSame(pathList([odd], true), Buffer.concat([bytes, Buffer.from([0])]));
  t.equal(pathList([odd], false).toString(), "/x\\xff.png\n");
  const json = JSON.parse(JSON.stringify(resultJson(odd)));
  t.equal(json.pathBase64, bytes.toString("base64"));
  t.strictSame(json.pathsBase64, [null, bytes.toString("base64")]);
  t.match(searchPage(query, [odd]), 'href="file:///x%FF.png"');
});

t.test("JSON has what a result has, without its thumbnail", async (t) => {
  const full = result({ ...page3, snippet: "s", width: 595, height: 842, thumbnail: Uint8Array.of(1) });
  const names = { path: page3.path, paths: [page3.path] };
  const json = { score: 0.5, kind: "page", ...names, page: 3, snippet: "s", width: 595, height: 842, key: "k1" };
  t.strictSame(JSON.parse(JSON.stringify(resultJson(full))), json);
});

t.test("the page shows thumbnails, texts and scores, links the files and asks for nothing else", async (t) => {
  const picture = result({ width: 640, height: 480, thumbnail: Uint8Array.from([1, 2, 3]), snippet: "a cat asleep" });
  const html = searchPage({ ...query, picture: { name: "q.png", url: "data:image/webp;base64,AAAA" } }, [
    picture,
    page3,
    passage,
  ]);
  t.match(html, /<h1[^>]*>.*“?<q[^>]*>a cat<\/q> with .*q\.png/);
  t.match(html, '<img src="data:image/webp;base64,AAAA" alt="The picture searched by: q.png">');
  t.match(html, '<img src="data:image/webp;base64,AQID" alt="a cat asleep (a cat.png)"');
  t.match(html, "3 results in <code>my.index</code>");
  for (const words of ["640 × 480", "0.812", "page 3", "passage 2", "Built with GME"]) t.match(html, words);
  t.match(html, /<blockquote[^>]*>Roses\n\twant {3}sun\.<\/blockquote>/);
  t.match(html, 'title="/notes/garden.md"');
  t.match(html, '<meta name="viewport"');
  t.match(html, "prefers-color-scheme: dark");
  t.equal(html.match(/<h1/g)?.length, 1);
  t.equal(html.match(/<h2/g)?.length, 3);
  if (!isWindows) {
    t.match(html, 'href="file:///pictures/a%20cat.png"');
    t.match(html, `href="${pathToFileURL("/reports/100 % #1.pdf").href}#page=3"`);
  }
  const addresses = [...html.matchAll(/(?:src|href)="([^"]*)"|url\(([^)]*)\)/g)].map(([, a, b]) => a ?? b);
  t.ok(addresses.length >= 5 && addresses.every((address) => /^(data|file):/.test(address)), addresses.join(" "));
  t.notMatch(html, /<script|<link|@import|https?:/i);
});

t.test("the page escapes whatever names, texts and queries hold", async (t) => {
  const evil = `"><img src=x onerror='alert(1)'><script>alert(2)</script>&`;
  const pictures = [undefined, Uint8Array.of(1)].map((thumbnail) =>
    result({ path: `/d/${evil}`, paths: [`/d/${evil}`, `/e/${evil}`], snippet: evil, thumbnail }),
  );
  const html = searchPage({ text: evil, picture: { name: evil }, db: evil, conditions: [evil] }, pictures);
  t.notMatch(html, /<script/i);
  t.notMatch(html, /<img src=x/);
  t.notMatch(html, /"><img/);
  t.equal(html.match(/<img /g)?.length, 1, "the thumbnail alone");
  t.match(html, "1 more copy");
});

t.test("an item that is no file has no link, and nothing found is said so", async (t) => {
  const item = result({ kind: "text", path: "item-7", snippet: "words" });
  t.notMatch(searchPage(query, [item]), "href");
  t.match(searchPage(query, [item]), "1 result in");
  t.match(
    searchPage({ ...query, conditions: ["only pages of PDFs"] }, []),
    /Nothing found in .*, only pages of PDFs\./,
  );
});
