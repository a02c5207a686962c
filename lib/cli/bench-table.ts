import type { BenchReport, BenchStage, BenchWorkReport, Spread } from "../index";
import { useColour } from "./output";

/** The report as text, for people; docs/bench.md says how to read it. */
export function benchTable(report: BenchReport): string {
  const { works, first, pictureCost } = report;
  const lines = [...headLines(report), ""];
  if (first !== undefined) {
    const memory = `${megabytes(first.maxRssBytes)} at most`;
    lines.push(`load to first vector, fresh process: ${spread(first.milliseconds)} ms, ${memory}`, "");
  }
  if (works.length > 0) lines.push(...workLines(works), "", ...works.flatMap(stageLines));
  if (pictureCost !== undefined) {
    lines.push(bold("Cost of a picture's token, ms: all, and without attention"));
    for (const { imageTokens, perToken, perTokenWithoutAttention } of pictureCost.pictures)
      lines.push(`  ${String(imageTokens).padStart(5)}${cell(perToken, 3)}${cell(perTokenWithoutAttention, 3)}`);
    lines.push(
      `  varies by ${percent(pictureCost.variation)}, without attention by ${percent(pictureCost.variationWithoutAttention)}`,
      "",
    );
  }
  lines.push(...memoryLines(report));
  return `${lines.join("\n")}\n`;
}

function headLines({ machine, model, rooflines, rounds }: BenchReport): string[] {
  const { cpu, cores, threads, instructionSets, memoryBytes, ggml, node } = machine;
  const type =
    model.visionType === null || model.visionType === model.type
      ? model.type
      : `${model.type}, tower ${model.visionType}`;
  return [
    `${model.name}: ${(model.parameters / 1e6).toFixed(1)} M parameters, ${type}; rounds: ${rounds}`,
    `${cpu}, ${cores} cores, ${threads} threads, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB; ggml ${ggml}, Node ${node}`,
    ...(instructionSets.length > 0 ? [instructionSets.join(" ")] : []),
    ...rooflines.map(
      ({ type, device, gflops, weights: [rows, columns], tokens, repacked, readGigabytesPerSecond }) =>
        `roofline ${type}${device === "cpu" ? "" : ` on ${device}`}: ${gflops.toFixed(1)} GFLOP/s (${rows}×${columns} by ${tokens} rows${repacked ? ", repacked" : ""}), memory ${readGigabytesPerSecond.toFixed(1)} GB/s`,
    ),
  ];
}

function workLines(works: readonly BenchWorkReport[]): string[] {
  const head = ["work", "items", "tokens", "min", "median", "max ms", "items/s", "tokens/s", "of limit"];
  const rows = works.map(({ name, items, tokens, milliseconds, itemsPerSecond, tokensPerSecond, limit }) => [
    ...[name, String(items), String(tokens)],
    ...[milliseconds.min, milliseconds.median, milliseconds.max, itemsPerSecond, tokensPerSecond].map(figure),
    percent(limit.share),
  ]);
  return table([head, ...rows]);
}

function stageLines({ name, profile }: BenchWorkReport): string[] {
  const { milliseconds, otherMilliseconds, gflop, gflops, share, stages } = profile;
  const other: BenchStage = {
    name: "between stages",
    runs: 1,
    milliseconds: otherMilliseconds,
    gflop: 0,
    gflops: null,
    share: null,
  };
  const all: BenchStage = {
    name: "all",
    runs: 1,
    milliseconds,
    gflop,
    gflops: gflop > 0 ? gflops : null,
    share: gflop > 0 ? share : null,
  };
  // As many decimals for all as show the parts of the whole.
  const [timeDecimals, workDecimals] = [milliseconds < 10 ? 2 : 1, gflop < 1 ? 4 : 2];
  const rows = [...stages, other, all].map((stage) => [
    ...[stage.name, String(stage.runs), stage.milliseconds.toFixed(timeDecimals)],
    percent(stage.milliseconds / milliseconds),
    ...(stage.gflop > 0 ? [stage.gflop.toFixed(workDecimals), (stage.gflops ?? 0).toFixed(1)] : ["", ""]),
    stage.share === null ? "" : percent(stage.share),
  ]);
  return [...table([[name, "runs", "ms", "of time", "GFLOP", "GFLOP/s", "of roofline"], ...rows]), ""];
}

function memoryLines({ memory, model }: BenchReport): string[] {
  const { peakBytes, weightsBytes, beyondWeightsBytes, peakOwnBytes, baselineBytes } = memory;
  const own = peakOwnBytes === null ? "" : `; not mapped from files ${megabytes(peakOwnBytes)}`;
  const parts = `decoder's layers ${megabytes(model.decoderBytes)}, tower ${megabytes(model.visionBytes)}`;
  return [
    `memory: peak ${megabytes(peakBytes)} of the whole process, ${megabytes(baselineBytes)} before loading`,
    `weights: ${megabytes(weightsBytes)} (${parts})`,
    `peak beyond the weights: ${megabytes(beyondWeightsBytes)}${own}`,
  ];
}

/** The first column to the left, the others to the right; the first row is the head. */
function table(rows: readonly string[][]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) =>
    row
      .map((text, i) => (i === 0 ? text.padEnd(widths[i]) : text.padStart(widths[i])))
      .join("  ")
      .trimEnd(),
  );
  return lines.map((line, i) => (i === 0 ? bold(line) : line));
}

function spread({ min, median, max }: Spread): string {
  return [min, median, max].map((ms) => ms.toFixed(0)).join(" / ");
}

function cell(value: number, digits: number): string {
  return value.toFixed(digits).padStart(10);
}

/** Three significant digits at least. */
function figure(value: number): string {
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

function bold(text: string): string {
  return useColour(process.stdout) ? `\u001b[1m${text}\u001b[0m` : text;
}
