import { Command } from "commander";
import { type FileReport, hashTensors, inspectFile, printable } from "../index";
import { print, printJson } from "./output";
import { startProgress } from "./progress";
import { stopSignal } from "./signals";

export function inspectModelCommand(): Command {
  return new Command("model")
    .description("keys, tensors, sizes, type mix, defaults in force and the tensors' sha256 of a GGUF file")
    .argument("<F>", "the GGUF file")
    .option("--json", "machine-readable")
    .action(async (file: string, flags: { json?: boolean }) => {
      const report = await inspectFile(file);
      const sha256 = await hashWithBar(report);
      await (flags.json ? printJson({ ...report, sha256 }) : print(tables(report, sha256)));
    });
}

async function hashWithBar(report: FileReport): Promise<string> {
  const bar = await startProgress("hashing", 1, "");
  try {
    return await hashTensors(report, {
      onProgress: ({ done, total }) => bar.update(done / total),
      signal: stopSignal(),
    });
  } finally {
    bar.stop();
  }
}

function tables(report: FileReport, sha256: string): string {
  const { file, size, version, parameters, tensors, types, keys, defaults } = report;
  const facts = [
    ["file", file],
    ["size", `${size} bytes`],
    ["GGUF version", version],
    ["parameters", parameters],
    ["tensors", tensors.length],
    ["sha256 of the tensors", sha256],
  ];
  const mix = Object.entries(types).map(([type, part]) => [type, `${part.tensors} tensors`, `${part.bytes} bytes`]);
  const list = tensors.map(({ name, shape, type, bytes }) => [name, `[${shape.join(", ")}]`, type, bytes]);
  return [
    columns(facts),
    section("types", mix),
    section("defaults in force", Object.entries(defaults)),
    section("keys", Object.entries(keys)),
    section("tensors", list),
  ].join("\n");
}

function section(title: string, rows: readonly unknown[][]): string {
  return `${title}\n${columns(rows.map((row) => ["", ...row]))}`;
}

/** Rows as text with aligned columns; values from the file on one line each. */
function columns(rows: readonly (readonly unknown[])[]): string {
  const cells = rows.map((row) => row.map(cell));
  const widths = (cells[0] ?? []).map((_, i) => Math.max(...cells.map((row) => (row[i] ?? "").length)));
  const lines = cells.map((row) => row.map((text, i) => text.padEnd(widths[i])).join("  "));
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

function cell(value: unknown): string {
  return typeof value === "string" ? printable(value) : printable(JSON.stringify(value) ?? "");
}
