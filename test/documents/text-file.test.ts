import t from "tap";
import { htmlToText } from "../../lib/documents/html-text";
import { readTextPassages } from "../../lib/documents/text-file";
import { rejectsWith } from "../helpers/rejects";

const cut = { length: 1200, overlap: 200 };

t.test("the text of a page is its title and lines, without what is not shown", async (t) => {
  const text = await htmlToText(`<!doctype html><html><head><title>Cats &amp; dogs</title><style>p{}</style>
    <script>if (a<b) document.write("<p>no</p>")</script><meta name=x></head>
    <body><h1>Head</h1><p>One <b>bo</b>ld&nbsp;w&ouml;rd &#128512;.<br>next <img src=x alt="a &quot;cat&quot;"> end</p>
    <ul><li>x<li>y</ul><pre>def f():\n    return 1</pre><table><tr><td>1<td>2<tr><td>3</table>
    <noscript>no</noscript><template>no<template>no</template>no</template><!-- no --><div>after</div>tail</body></html>`);
  t.equal(
    text,
    'Cats & dogs\n\nHead\n\nOne bold wörd 😀.\nnext a "cat" end\n\nx\ny\n\ndef f():\n    return 1\n\n1 2\n3\n\nafter\ntail',
  );
});

t.test("XHTML with closed scripts and CDATA loses no text", async (t) => {
  const page =
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><script src="a"/><title/></head><body>x<br/>y <![CDATA[a < b]]>';
  t.equal(await htmlToText(page), "x\ny a < b");
});

t.test("deep nesting and hostile markup take linear time and no stack", async (t) => {
  const depth = 100_000;
  const pages = {
    "deep elements": [`${"<div>".repeat(depth)}x${"</div>".repeat(depth)}`, "x"],
    "deep elements, never closed": [`${"<b>".repeat(depth)}x`, "x"],
    "end tags alone": [`${"</i>".repeat(depth)}x`, "x"],
    "wrong end tags": [`${"<div>".repeat(depth)}${"</foo>".repeat(depth)}x`, "x"],
    "open comments": [`x${"<!--".repeat(depth)}`, "x"],
    "many attributes": [`x<a ${"b=c ".repeat(depth)}`, "x"],
    "many spaces": [`${" ".repeat(1_000_000)}<p>${"\n".repeat(1_000_000)}x`, "x"],
    "impossible characters": ["&#x110000;&#0;&#xd800;x", "\ufffd\ufffd\ufffdx"],
    "deep templates": [`${"<template>".repeat(depth)}no${"</template>".repeat(depth)}x`, "x"],
  };
  for (const [title, [page, expected]] of Object.entries(pages)) {
    const start = performance.now();
    t.equal(await htmlToText(page), expected, title);
    const milliseconds = performance.now() - start;
    t.ok(milliseconds < 2000, `${title}: ${Math.round(milliseconds)} ms`);
  }
});

t.test("a page's declared encoding counts where it is not UTF-8", async (t) => {
  const russian = Buffer.from([0xcf, 0xf0, 0xe8]);
  for (const meta of [
    '<meta charset="windows-1251">',
    '<META http-equiv="Content-Type" content="text/html; charset=windows-1251">',
    '<?xml version="1.0" encoding="windows-1251"?>',
  ]) {
    const passages = await readTextPassages(Buffer.concat([Buffer.from(meta), russian]), "html", "a.html", cut);
    t.equal(passages[0].text, "При", meta);
  }
  const utf8 = await readTextPassages(Buffer.from('<meta charset="windows-1251">При'), "html", "a.html", cut);
  t.equal(utf8[0].text, "При", "UTF-8 in spite of the declaration");
});

t.test("text files and pages become passages; empty ones have none", async (t) => {
  const text = "A sentence of words. ".repeat(200);
  const passages = await readTextPassages(Buffer.from(text), "text", "a.txt", cut);
  t.equal(passages.length, 4);
  t.ok(passages.every(({ text }) => text.length <= 1200 && text.endsWith(".")));
  t.strictSame(await readTextPassages(new Uint8Array(), "text", "a.txt", cut), []);
  t.strictSame(await readTextPassages(Buffer.from("<html><body> <br></body>"), "html", "a.html", cut), []);
  await rejectsWith(
    t,
    () => readTextPassages(Buffer.from([0, 1, 2, 0xff]), "html", "a.html", cut),
    "GME_DOCUMENT_UNREADABLE",
  );
});
