// Writes the tables of docs/robustness.md from what a run of the tests recorded; the text around them is written by hand.
//
//   node scripts/test.mjs --record FILE && npx tsx scripts/robustness-table.ts FILE...
//
// A row's test is a title that begins with the row's id and passed in that run, its figure a comment `G025: …` of the run. Several
// files add up: the suite's, and that of a long form. A row without either a passing test or a reason ends this with exit code 1.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { counts, readRows, type Row, root, splitTitle, titles } from "./robustness-rows";

interface RunRecord {
  file?: string;
  title?: string;
  ok?: boolean;
  skip?: string | boolean;
  figure?: string;
  count?: string;
  value?: number;
  suiteSeconds?: number;
  files?: number;
}

interface Proof {
  tests: { file: string; text: string }[];
  figures: string[];
}

const page = join(root, "docs", "robustness.md");

function readRecords(files: readonly string[]): RunRecord[] {
  return files.flatMap((file) =>
    readFileSync(file, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line): RunRecord => JSON.parse(line)),
  );
}

/** What the run showed of each row: titles once each, in the order of the files. */
function collect(records: readonly RunRecord[]): Map<string, Proof> {
  const proofs = new Map<string, Proof>();
  const of = (id: string) => {
    const proof = proofs.get(id) ?? { tests: [], figures: [] };
    proofs.set(id, proof);
    return proof;
  };
  for (const { file = "", title, ok, skip, figure } of records) {
    if (figure !== undefined) {
      const { ids, text } = splitTitle(figure);
      for (const id of ids) if (!of(id).figures.includes(text)) of(id).figures.push(text);
    }
    if (title === undefined || !ok || skip) continue;
    if (file.endsWith("robustness-rows.test.ts")) continue; // it counts the rows, it proves none
    const { ids, text } = splitTitle(title);
    for (const id of ids) if (!of(id).tests.some((test) => test.text === text)) of(id).tests.push({ file, text });
  }
  return proofs;
}

/** One line of a table; the paths that a message of a test holds are left out. */
const cell = (text: string) =>
  text
    .replace(/ \((?:\/|[A-Z]:\\)[^|]*$|\/(?:tmp|root|work|home|Users)\/[^\s,;)]*/g, "")
    .replaceAll("|", "\\|")
    .replaceAll("\n", " ")
    .replaceAll("<", "&lt;");

/** The first title of each file; how many more there are. */
function testCell({ tests }: Proof): string {
  const files = [...new Set(tests.map(({ file }) => file))];
  const parts = files.map((file) => {
    const [first, ...more] = tests.filter((test) => test.file === file);
    return `\`${file.replace(/^test\//, "")}\`: ${cell(first.text)}${more.length > 0 ? ` (and ${more.length} more)` : ""}`;
  });
  return parts.join("<br>");
}

function tableOf(letter: keyof typeof titles, rows: readonly Row[], proofs: Map<string, Proof>): string[] {
  const lines = [
    `### ${titles[letter]}`,
    "",
    "| row | what is tried | what must happen | test | measured |",
    "|---|---|---|---|---|",
  ];
  for (const row of rows.filter(({ id }) => id.startsWith(letter))) {
    const proof = proofs.get(row.id) ?? { tests: [], figures: [] };
    const tests = [testCell(proof), ...(row.reason ? [`*${cell(row.reason)}*`] : [])].filter(Boolean);
    const figures = proof.figures.map(cell).join("<br>");
    lines.push(`| ${row.id} | ${cell(row.what)} | ${cell(row.outcome)} | ${tests.join("<br>")} | ${figures} |`);
  }
  return [...lines, ""];
}

function totals(records: readonly RunRecord[], rows: readonly Row[], proofs: Map<string, Proof>): string[] {
  const tested = rows.filter(({ id }) => (proofs.get(id)?.tests.length ?? 0) > 0);
  const sums = new Map<string, number>();
  for (const { count, value = 0 } of records) if (count !== undefined) sums.set(count, (sums.get(count) ?? 0) + value);
  const failed = records.filter(({ ok }) => ok === false).length;
  const seconds = Math.max(0, ...records.map((record) => record.suiteSeconds ?? 0));
  const number = (value: number) => value.toLocaleString("en-US");
  return [
    "| | |",
    "|---|---|",
    `| rows with a passing test | ${tested.length} of ${rows.length} |`,
    `| rows with a reason instead | ${rows.filter((row) => row.reason && !tested.includes(row)).length} |`,
    `| failed tests in the recorded run, a process that crashed among them | ${failed} |`,
    ...[...sums].sort().map(([name, value]) => `| ${name.replaceAll("-", " ")} | ${number(value)} |`),
    `| the whole suite, two processors | ${Math.floor(seconds / 60)} min ${seconds % 60} s |`,
  ];
}

/** Puts lines between `<!-- name -->` and `<!-- end of name -->`. */
function replacePart(text: string, name: string, lines: readonly string[]): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/robustness.md has no part between ${begin} and ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${lines.join("\n").trimEnd()}\n\n${text.slice(to)}`;
}

const files = process.argv.slice(2);
if (files.length === 0)
  throw new Error("usage: robustness-table.ts FILE... (written by scripts/test.mjs --record FILE)");
const records = readRecords(files);
const rows = readRows();
const proofs = collect(records);
const letters = Object.keys(counts) as (keyof typeof counts)[];
let text = replacePart(readFileSync(page, "utf8"), "totals", totals(records, rows, proofs));
text = replacePart(
  text,
  "rows",
  letters.flatMap((letter) => tableOf(letter, rows, proofs)),
);
writeFileSync(page, text);
const missing = rows.filter(({ id, reason }) => !reason && (proofs.get(id)?.tests.length ?? 0) === 0);
if (missing.length > 0) console.error(`no passing test and no reason: ${missing.map(({ id }) => id).join(" ")}`);
const bare = rows.filter(({ id }) => (proofs.get(id)?.tests.length ?? 0) > 0 && proofs.get(id)?.figures.length === 0);
if (bare.length > 0) console.error(`tested, without a figure: ${bare.map(({ id }) => id).join(" ")}`);
console.log(`docs/robustness.md: ${rows.length} rows, ${missing.length} without proof`);
process.exitCode = missing.length === 0 ? 0 : 1;
