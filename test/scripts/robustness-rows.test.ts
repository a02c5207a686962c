// Every row of the robustness matrix stands in a test's title or says why not; docs/robustness.md lists them all.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { allIds, readRows, root, splitTitle } from "../../scripts/robustness-rows";

const rows = readRows();

/** Literals that begin with ids: titles, and an id alone as it is handed to a function that makes the title. */
function titlesIn(source: string): string[] {
  const literals = source.matchAll(/(\bcomment\(\s*)?(["'`])([GITLS]\d{2,3}(?![0-9A-Za-z])(?:(?!\2)[^\\\n]|\\.)*)\2/g);
  return Array.from(literals)
    .filter(([, comment]) => comment === undefined)
    .map(([, , , text]) => text);
}

function sources(): { file: string; text: string }[] {
  return readdirSync(join(root, "test"), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(ts|cpp|h)$/.test(entry.name) && entry.name !== "robustness-rows.test.ts")
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .map((file) => ({ file, text: readFileSync(file, "utf8") }));
}

// Types of numbers are written like rows of pictures: "I16" and "I32" alone prove nothing.
const isNumberType = (text: string) => /^I(16|32|64)$/.test(text);
const idsOf = (literal: string) => (isNumberType(literal) ? [] : splitTitle(`${literal} `).ids);

t.test("titles give their rows", async (t) => {
  t.strictSame(splitTitle("G021 a key"), { ids: ["G021"], text: "a key" });
  t.strictSame(splitTitle("T15, T16: special strings"), { ids: ["T15", "T16"], text: "special strings" });
  t.strictSame(splitTitle("G001–G004 and I02 cuts").ids, ["G001", "G002", "G003", "G004", "I02"]);
  t.strictSame(splitTitle("I8 numbers and L2 norms"), { ids: [], text: "I8 numbers and L2 norms" });
  t.strictSame(splitTitle("G0210 is none").ids, []);
  t.strictSame(titlesIn(`t.test("G021 a key"); t.comment("G022: 3 ms"); refused(t, 'G023', \`G024 two\`, "a G025")`), [
    "G021 a key",
    "G023",
    "G024 two",
  ]);
});

t.test("the data file holds every row once, with what is tried and what must happen", async (t) => {
  t.strictSame(
    rows.map(({ id }) => id),
    allIds(),
  );
  const codes = new Set(readFileSync(join(root, "docs", "errors.md"), "utf8").match(/GME_[A-Z_0-9]+/g));
  for (const row of rows) {
    t.ok(row.what.length > 3 && row.outcome.length > 3, row.id);
    if (row.reason !== undefined) t.match(row.reason, /^[^.]{20,}.*\.$/s, `${row.id}: the reason is a sentence`);
    for (const [code] of row.outcome.matchAll(/GME_[A-Z_0-9]+(?![A-Z_0-9…])/g))
      t.ok(codes.has(code), `${row.id}: ${code}`);
  }
});

t.test("every row stands in a test's title, or has a reason, and no title names a row that is none", async (t) => {
  const known = new Set(allIds());
  const tested = new Set<string>();
  for (const { file, text } of sources()) {
    for (const literal of titlesIn(text)) {
      const ids = idsOf(literal);
      for (const id of ids) tested.add(id);
      const unknown = ids.filter((id) => !known.has(id));
      if (unknown.length > 0) t.fail(`${file}: "${literal}" names ${unknown.join(", ")}`);
    }
  }
  for (const { id, reason } of rows) t.ok(tested.has(id) || reason !== undefined, `${id} is tested or has a reason`);
});

t.test("docs/robustness.md lists every row as the data file has it", async (t) => {
  const page = readFileSync(join(root, "docs", "robustness.md"), "utf8");
  const listed = Array.from(page.matchAll(/^\| ([GITLS]\d{2,3}) \| /gm), ([, id]) => id);
  t.strictSame(listed, allIds());
});
