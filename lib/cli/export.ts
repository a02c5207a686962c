import { Command, Option } from "commander";
import type { IndexEntry, IndexPin } from "../index-store/index";
import { type EntrySink, linesSink, stdoutSink } from "./export-lines";
import { type NpyType, npySink, npyTypes } from "./export-npy";
import { parquetGroupRows, parquetSink } from "./export-parquet";
import { addDbFlag, dbOf } from "./index-flags";
import type { Flags } from "./model-flags";
import { note, UsageError } from "./output";
import { type Progress, startProgress } from "./progress";
import { stopSignal } from "./signals";

const lineRows = 256;
const formats = ["parquet", "npy", "jsonl"] as const;
type ExportFormat = (typeof formats)[number];

interface ExportFlags extends Flags {
  format: ExportFormat;
  out: string;
  where?: string;
  dtype?: NpyType;
}

export function exportCommand(): Command {
  const command = new Command("export").description("write the rows of an index, their vectors included, to a file");
  return addDbFlag(command)
    .addOption(new Option("--format <format>", "parquet, npy or jsonl").choices(formats).makeOptionMandatory())
    .requiredOption("-o, --out <F>", "the file; - is stdout, for jsonl. npy writes F.ids.jsonl as well, a line per row")
    .option("--where <SQL>", "only rows for which this holds, in SQL over the index's columns")
    .addOption(
      new Option(
        "--dtype <type>",
        "numbers of npy: f32, f16, int8 (each row's largest number becomes 127 or -127; cosines stay), binary (signs, 8 in a byte)",
      ).choices(npyTypes),
    )
    .action(runExport);
}

async function runExport(flags: ExportFlags): Promise<void> {
  const db = dbOf(flags);
  const { format, out, where } = flags;
  if (out === "-" && format !== "jsonl") throw new UsageError(`${format} is binary and needs a file: give -o F`);
  if (flags.dtype !== undefined && format !== "npy") throw new UsageError("--dtype is for --format npy");
  const { openIndex } = await import("../index-store/index.js");
  const index = await openIndex(db, { readOnly: true, signal: stopSignal() });
  try {
    const total = await index.count(where);
    const { dimensions } = index.pin as IndexPin; // only one that is still being made has none
    const sink = await openSink(flags, dimensions);
    const batchRows = format === "parquet" ? parquetGroupRows(dimensions) : lineRows;
    const rows = await pour(inGroups(index.entries({ where, vectors: true }), batchRows), sink, total);
    if (out !== "-") note(`${rows} ${rows === 1 ? "row" : "rows"} written to ${out}`);
  } finally {
    await index.close();
  }
}

function openSink({ format, out, dtype }: ExportFlags, dimensions: number): Promise<EntrySink> | EntrySink {
  if (format === "npy") return npySink(out, dtype ?? "f32", dimensions);
  if (format === "parquet") return parquetSink(out);
  return out === "-" ? stdoutSink() : linesSink(out);
}

/** The same entries in batches of `rows`; the last one may be smaller. */
export async function* inGroups(batches: AsyncIterable<IndexEntry[]>, rows: number): AsyncGenerator<IndexEntry[]> {
  let group: IndexEntry[] = [];
  for await (const batch of batches) {
    for (const entry of batch) {
      group.push(entry);
      if (group.length < rows) continue;
      yield group;
      group = [];
    }
  }
  if (group.length > 0) yield group;
}

/** Batch by batch; what was written is discarded when anything fails or a signal comes. Returns the count of rows. */
export async function pour(batches: AsyncIterable<IndexEntry[]>, sink: EntrySink, total: number): Promise<number> {
  const progress = lateProgress(total);
  let rows = 0;
  try {
    for await (const entries of batches) {
      stopSignal().throwIfAborted();
      await sink.write(entries);
      rows += entries.length;
      progress.update(rows);
    }
    await sink.finish();
    return rows;
  } catch (error) {
    await sink.discard();
    throw error;
  } finally {
    progress.stop();
  }
}

const progressAfterMs = 1_000;

/** A bar on a terminal, once the work has taken a second. */
function lateProgress(total: number): { update(done: number): void; stop(): void } {
  let bar: Progress | undefined;
  let isStopped = false;
  const timer = setTimeout(async () => {
    const started = await startProgress("exporting", total, "rows");
    if (isStopped) started.stop();
    else bar = started;
  }, progressAfterMs);
  return {
    update: (done) => bar?.update(done, Math.max(done, total)),
    stop() {
      isStopped = true;
      clearTimeout(timer);
      bar?.stop();
    },
  };
}
