import { Command } from "commander";
import { bundledModelPath, loadOptions } from "../index";
import { demoPage } from "./demo-page";
import { type DemoReport, type QueryResult, readSamples, runDemo } from "./demo-run";
import { addOptionFlags, type Flags, openModel } from "./model-flags";
import { note, print, printJson, useColour, writeWhole } from "./output";
import { startProgress } from "./progress";
import { stopSignal } from "./signals";

const demoOptions = loadOptions.filter(({ name }) => name === "threads" || name === "device");

export function demoCommand(): Command {
  const command = new Command("demo")
    .description("embed the bundled pictures and captions with the bundled model, search them, write an HTML gallery")
    .option("-o, --out <F>", "the gallery's file", "gme-demo.html")
    .option("--json", "the figures and answers as JSON");
  return addOptionFlags(command, demoOptions).action(runDemoCommand);
}

async function runDemoCommand(flags: Flags): Promise<void> {
  const samples = await readSamples();
  const model = await openModel({ ...flags, model: bundledModelPath }, stopSignal());
  const progress = await startProgress("embedding", samples.length * 3, "items");
  try {
    const result = await runDemo(model, samples, (done, total) => progress.update(done, total), stopSignal());
    progress.stop();
    const out = flags.out as string;
    await writeWhole(out, demoPage(result));
    if (flags.json) return await printJson({ ...result.report, html: out });
    await print(describe(result.report));
    note(`Gallery: ${out}`);
  } finally {
    progress.stop();
    await model.close();
  }
}

function describe(report: DemoReport): string {
  const { model, samples, embedded, seconds, dimensions } = report;
  const parts = [
    `${samples} pictures, their captions, both together and ${report.queries.length} queries: ${embedded} embeddings of ${dimensions} ` +
      `numbers in ${seconds.toFixed(1)} s`,
    `with ${model.name} (${(model.parameters / 1e6).toFixed(1)} M parameters, ${model.type}, ${model.device}).`,
    bold(report.notice.replace(/(?<=\.) /g, "\n")),
    "",
    bold("Cosine of captions (rows) and pictures (columns), * the highest of its row"),
    ...tableLines(report.table),
    "",
    bold(`Its own subject among ${samples}: first, and among five`),
    ...report.recall.map(
      ({ from, to, at1, at5 }) => `  ${`${from} → ${to}`.padEnd(32)}R@1 ${percent(at1)}   R@5 ${percent(at5)}`,
    ),
    `  ${"by chance".padEnd(32)}R@1 ${percent(report.chance.at1)}   R@5 ${percent(report.chance.at5)}`,
    "",
    bold("Queries over the pictures (a query's own picture is left out)"),
    ...report.queries.flatMap(queryLines),
    "",
    report.attribution,
  ];
  return `${parts.join("\n")}\n`;
}

function tableLines({ subjects, scores }: DemoReport["table"]): string[] {
  const width = 9;
  const head = `  ${"".padEnd(width)}${subjects.map((subject) => subject.padStart(width)).join("")}`;
  const rows = scores.map((row, i) => {
    const highest = Math.max(...row);
    const cells = row.map((score) => `${score.toFixed(2)}${score === highest ? "*" : " "}`.padStart(width));
    return `  ${subjects[i].padEnd(width)}${cells.join("")}`;
  });
  return [head, ...rows.map((row) => row.trimEnd())];
}

export function queryTitle({ text, picture }: QueryResult): string {
  const parts = [
    picture === undefined ? undefined : `picture ${picture}`,
    text === undefined ? undefined : `“${text}”`,
  ];
  return parts.filter((part) => part !== undefined).join(" + ");
}

function queryLines(query: QueryResult): string[] {
  const answers = query.answers.map(({ caption, score }) => `${caption} ${score.toFixed(2)}`);
  return [`  ${queryTitle(query)}`, `      ${answers.join(", ")}`];
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`.padStart(5);
}

function bold(text: string): string {
  return useColour(process.stdout) ? `\u001b[1m${text}\u001b[0m` : text;
}
