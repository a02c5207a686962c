import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { readTableRows } from "../../lib/documents/table-rows";
import { temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";

const folder = temporaryFolder();
let files = 0;

/** The rows as arrays of number, text, picture and error. */
async function rowsOf(name: string, content: string | Buffer, columns: { text?: string; image?: string } = {}) {
  const path = join(folder, `${files++}-${name}`);
  writeFileSync(path, content);
  const rows: [number, string | undefined, string | undefined, string | undefined][] = [];
  for await (const { row, text, image, error } of readTableRows(
    path,
    path,
    name.endsWith("jsonl") ? "jsonl" : "csv",
    columns,
  )) {
    if (error !== undefined) t.match(error, { code: "GME_DOCUMENT_UNREADABLE", file: path, field: `row ${row}` });
    rows.push([row, text, image, error?.message.replace(`${path}: row ${row}: `, "")]);
  }
  return rows;
}

const none = undefined;
const neither = "it has neither a text nor a picture in text, caption, content, image, file_name";

t.test("CSV rows have their cells, whatever the quotes; bad rows have errors and the rest is read", async (t) => {
  const csv = 'text,image\nhello,a.jpg\n"q ""x"" , y\nz",\n,\nonly\n\nlast,b,c\na "b" c,e\r\nend,"d e.jpg"';
  t.strictSame(await rowsOf("a.csv", csv), [
    [1, "hello", "a.jpg", none],
    [2, 'q "x" , y\nz', none, none],
    [3, none, none, neither],
    [4, none, none, "it has 1 cells, the header has 2"],
    [5, none, none, "it has 3 cells, the header has 2"],
    [6, 'a "b" c', "e", none],
    [7, "end", "d e.jpg", none],
  ]);
});

t.test("the delimiter is told from the header, the encoding from the bytes", async (t) => {
  const row = [1, "Äpfel, 5", "b.png", none];
  t.strictSame(
    await rowsOf("a.csv", "\ufeffcaption;file_name\r\nÄpfel, 5;b.png\r\n"),
    [row],
    "semicolon, UTF-8 with a mark",
  );
  t.strictSame(await rowsOf("a.csv", "caption\tfile_name\nÄpfel, 5\tb.png"), [row], "tab");
  t.strictSame(await rowsOf("a.csv", 'file_name,"caption"\rb.png,"Äpfel, 5"\r'), [row], "comma, line ends of old Macs");
  t.strictSame(
    await rowsOf("a.csv", Buffer.from("caption;file_name\nÄpfel, 5;b.png", "latin1")),
    [row],
    "windows-1252",
  );
  t.strictSame(
    await rowsOf("a.csv", Buffer.from("\ufeffcaption\tfile_name\nÄpfel, 5\tb.png", "utf16le")),
    [row],
    "UTF-16",
  );
  t.strictSame(await rowsOf("a.csv", '"a,b,c,text";image\nx;y'.replace("a,b,c,", "")), [[1, "x", "y", none]]);
});

t.test("columns are the first of their usual names, or those that are named", async (t) => {
  t.strictSame(await rowsOf("a.csv", "content,caption,file_name,image\n1,2,3,4"), [[1, "2", "4", none]]);
  t.strictSame(await rowsOf("a.csv", "a,b\n1,2", { text: "b" }), [[1, "2", none, none]]);
  t.strictSame(await rowsOf("a.jsonl", '{"content":"c","file_name":"f"}\n{"text":null,"caption":" ","content":"d"}'), [
    [1, "c", "f", none],
    [2, "d", none, none],
  ]);
  t.strictSame(await rowsOf("a.jsonl", '{"x":1}\n{"x":2.5}', { text: "x" }), [
    [1, "1", none, none],
    [2, "2.5", none, none],
  ]);
});

t.test("a table without such columns is one error that names those it has", async (t) => {
  const cases: [string, string, { text?: string; image?: string }, RegExp][] = [
    ["a.csv", "title,url\nx,y\nx,y", {}, /"title", "url".*--text-column.*--image-column/],
    ["a.csv", "text,url\nx,y", { text: "txet" }, /"text", "url".*not txet/],
    ["a.jsonl", '{"title":"x"}\n[1]\n{"url":"y"}', {}, /"title", "url"/],
    ["a.jsonl", '{"text":"x"}', { image: "picture" }, /"text".*not picture/],
    ["a.jsonl", "nope\n{", {}, /no line is a JSON object/],
    ["a.csv", '"text\nx', {}, /header.*quote/],
    ["a.csv", "te\0\0xt,a\nx", {}, /header.*not text/],
  ];
  for (const [name, content, columns, message] of cases) {
    const error = await rejectsWith(t, () => rowsOf(name, content, columns), "GME_DOCUMENT_UNREADABLE", content);
    t.match(error.message, message);
  }
});

t.test("a JSONL line that cannot be read is its row's error", async (t) => {
  const lines = [
    '{"text":"a"}',
    "",
    '{"caption":"b","image":"x"}',
    "nope",
    '{"text":{}}',
    "[1]",
    '{"q":1}',
    '{"text":true}',
  ];
  lines.push('{"image":5}', '{"__proto__":{"text":"p"}}', '{"text":"last"}\r');
  const rows = await rowsOf("a.jsonl", `\ufeff${lines.join("\n")}`);
  t.strictSame(
    rows.map(([row, text, image]) => [row, text, image]),
    [[1, "a", none], [2, "b", "x"], ...[3, 4, 5, 6, 7, 8, 9].map((row) => [row, none, none]), [10, "last", none]],
  );
  const patterns = [
    /not JSON/,
    /got an object/,
    /JSON object, got an array/,
    /neither/,
    /got true/,
    /a string in image, got 5/,
    /neither/,
  ];
  for (const [i, pattern] of patterns.entries()) t.match(rows[i + 2][3], pattern);
});

t.test("empty files have no rows", async (t) => {
  t.strictSame(await rowsOf("a.csv", ""), []);
  t.strictSame(await rowsOf("a.csv", "\n\n"), []);
  t.strictSame(await rowsOf("a.csv", "text\n"), []);
  t.strictSame(await rowsOf("a.jsonl", "\n \n"), []);
});

t.test("a line or record over 16 MiB is its row's error and the next one is read", async (t) => {
  const long = "x".repeat(17 * 1024 * 1024);
  const jsonl = await rowsOf("a.jsonl", `{"text":"a"}\n{"text":"${long}"}\n{"text":"b"}`);
  t.strictSame(
    jsonl.map(([, text]) => text),
    ["a", none, "b"],
  );
  t.match(jsonl[1][3], /17825803 bytes, allowed are 16777216/);
  for (const record of [long, ",".repeat(long.length), `"${long}"`]) {
    const csv = await rowsOf("a.csv", `text,image\na,\n${record}\nb,`);
    t.strictSame(
      csv.map(([row, text]) => [row, text]),
      [
        [1, "a"],
        [2, none],
        [3, "b"],
      ],
    );
    t.match(csv[1][3], /more than 16777216 bytes/);
  }
});

t.test("a quote that is never closed costs one row, also in a long file", async (t) => {
  t.strictSame(await rowsOf("a.csv", 'text,image\na,1\n"b,2\nc,3\n'), [
    [1, "a", "1", none],
    [2, none, none, "a quote is opened and not closed"],
    [3, "c", "3", none],
  ]);
  const rows = await rowsOf("a.csv", `text,image\n"b,2\n${`${"word ".repeat(2000)},3\n`.repeat(2000)}`);
  t.equal(rows.length, 2001);
  t.equal(rows.filter(([, , , error]) => error !== undefined).length, 1);
});

t.test("a file in which every line opens a quote ends in bounded time", { timeout: 60_000 }, async (t) => {
  const rows = await rowsOf("a.csv", `text,image\n${'"a","b\n'.repeat(1_000_000)}`);
  t.ok(rows.length > 0 && rows.every(([, , , error]) => error !== undefined), `${rows.length} errors`);
  t.match(rows[rows.length - 1][3], /skipped with it are the \d+ bytes/);
});

t.test("deeply nested JSON overflows no stack", async (t) => {
  const rows = await rowsOf(
    "a.jsonl",
    `{"text":"a"}\n{"text":${"[".repeat(1e6)}${"]".repeat(1e6)}}\n${"[".repeat(1e6)}`,
  );
  t.strictSame(
    rows.map(([row, text]) => [row, text]),
    [
      [1, "a"],
      [2, none],
      [3, none],
    ],
  );
});

t.test("memory stays flat over a long file, and stopping early closes it", { timeout: 120_000 }, async (t) => {
  for (const kind of ["jsonl", "csv"] as const) {
    const path = join(folder, `long.${kind}`);
    const file = openSync(path, "w");
    writeSync(file, kind === "csv" ? "text,image\n" : "");
    const words = "some words ".repeat(90);
    const block = (kind === "csv" ? `${words},a.jpg\n` : `${JSON.stringify({ text: words, image: "a.jpg" })}\n`).repeat(
      1000,
    );
    for (let i = 0; i < 60; i++) writeSync(file, block);
    closeSync(file);
    let rows = 0;
    let before = 0;
    let after = 0;
    for await (const { row } of readTableRows(path, Buffer.from(path), kind, {})) {
      rows = row;
      if (row === 5000) before = heldBytes();
      if (row === 55_000) after = heldBytes();
    }
    t.equal(rows, 60_000);
    t.ok(after - before < 10e6, `${kind}: ${Math.round((after - before) / 1e6)} MB more over 50 MB`);
    for await (const { row } of readTableRows(path, path, kind, {})) if (row === 2) break;
  }
});

/** Memory that is in use once garbage is collected. */
function heldBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

t.test("what is not a regular file is refused without blocking", async (t) => {
  const cases = [join(folder, "absent.csv"), join(folder, "folder.csv")];
  mkdirSync(cases[1]);
  if (process.platform !== "win32") {
    cases.push(join(folder, "fifo.csv"));
    execFileSync("mkfifo", [cases[2]]);
  }
  for (const path of cases) {
    const error = await rejectsWith(t, () => readTableRows(path, path, "csv", {}).next(), "GME_IO_ERROR", path);
    t.equal(error.file, path);
  }
});
