import type { MemoryResult, WorkResult } from "./measure";
import { showSpread } from "./spread";

export function workTable({ title, type, rounds, lanes }: WorkResult): string {
  const rows = lanes.map(({ lane, ms, ratio, cosine, others }) => [
    lane,
    showSpread(ms, 0),
    ratio ? showSpread(ratio, 2) : "",
    cosine === undefined ? "" : cosine.toFixed(6),
    others ? others.max.toFixed(2) : "",
  ]);
  return `${title}, ${type}, ${rounds} rounds (min / median / max)\n${columns([["", "ms", "of ours", "cosine", "others' CPUs, max"], ...rows])}`;
}

export function memoryTable(results: readonly MemoryResult[]): string {
  const mib = (bytes: number) => Math.round(bytes / 1_048_576).toLocaleString("en");
  const head = ["", "peak", "files", "peak − files", "own memory, peak", "mapped weights"];
  const rows = results.map(({ lane, files, memory: { peak, ownPeak, mappedWeights } }) => [
    lane,
    ...[peak, files, peak - files, ownPeak, mappedWeights].map(mib),
  ]);
  return `memory, ${results[0].type}, MiB\n${columns([head, ...rows])}`;
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column])).join("  ")}`.trimEnd())
    .join("\n");
}
