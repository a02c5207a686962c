// Writes Parquet files and reads them back with another package, outside tap: its loader cannot resolve `hyparquet/src/*.js`.
//   parquet.ts all|none|broken FILE    prints what was read, or the code of the error
import { readFileSync } from "node:fs";
import { pour } from "../../../lib/cli/export";
import { parquetSink } from "../../../lib/cli/export-parquet";
import { GmeError } from "../../../lib/index";
import type { IndexEntry } from "../../../lib/index-store/index";
import { batches, entries } from "../export-entries";

const [mode, path] = process.argv.slice(2);

async function* brokenBatches(): AsyncGenerator<IndexEntry[]> {
  yield entries.slice(0, 10);
  throw new GmeError("GME_STORE_CORRUPT", "the index is damaged");
}

async function* noBatches(): AsyncGenerator<IndexEntry[]> {}

function plain(_name: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

async function main(): Promise<unknown> {
  try {
    const source = mode === "broken" ? brokenBatches() : mode === "none" ? noBatches() : batches();
    await pour(source, await parquetSink(path), 0);
  } catch (error) {
    return { error: GmeError.from(error).code };
  }
  const { parquetReadObjects, parquetMetadata } = await import("hyparquet");
  const bytes = readFileSync(path);
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const groups = parquetMetadata(file).row_groups.map(({ num_rows }) => num_rows);
  return { groups, rows: await parquetReadObjects({ file }) };
}

void main().then((result) => process.stdout.write(JSON.stringify(result, plain)));
