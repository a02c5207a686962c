import t from "tap";
import { fileKind } from "../../lib/documents/file-kind";

t.test("a file's kind is told from its extension, in any case and with a path", async (t) => {
  for (const [name, kind] of [
    ["a.jpg", "image"],
    ["A.JPEG", "image"],
    ["x/y.z/b.Tiff", "image"],
    ["c.avif", "image"],
    ["notes.MD", "text"],
    ["page.xhtml", "html"],
    ["doc.PDF", "pdf"],
    ["rows.ndjson", "jsonl"],
    ["rows.tsv", "csv"],
    ["a.jpg.txt", "text"],
    ["line\nbreak.png", "image"],
  ] as const) {
    t.equal(fileKind(name), kind, JSON.stringify(name));
  }
});

t.test("names without a known extension have no kind", async (t) => {
  for (const name of [
    "",
    "jpg",
    ".jpg",
    "a/.pdf",
    "a.jpgx",
    "a.jpg~",
    "a.",
    "a.constructor",
    "pdf/a",
    "a.jpg ",
    "a.jp\u0261",
  ]) {
    t.equal(fileKind(name), undefined, JSON.stringify(name));
  }
});
