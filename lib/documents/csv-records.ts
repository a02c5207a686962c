import type { Parser } from "csv-parse";
import { maxRecordBytes, type TableBytes } from "./table-bytes";

/** The cells of a record as bytes in latin1, or why there are none. */
export type CsvRecord = { readonly cells: readonly string[] } | { readonly problem: string };

/** As much is read twice in all to go on right after broken records; from then on what was read is skipped with them. */
const maxRereadBytes = 64 * 1024 * 1024;

interface Broken {
  /** Of the broken record; all before it was given out. */
  readonly start: number;
  /** How far the table was read. */
  readonly read: number;
  readonly problem: string;
}

/**
 * The records of a CSV file in order, its header too, without empty lines. A record that is too long or has a quote that is
 * never closed is given as a problem, and reading goes on with the line after its first one.
 */
export async function* readCsvRecords(table: TableBytes, delimiter: string): AsyncGenerator<CsvRecord> {
  let offset = 0;
  let reread = 0;
  for (;;) {
    const broken = yield* readSound(table, delimiter, offset);
    if (broken === undefined) return;
    offset = await table.afterLine(broken.start);
    reread += Math.max(0, broken.read - (table.wide === undefined ? offset : 0));
    if (reread <= maxRereadBytes) {
      yield { problem: broken.problem };
    } else {
      offset = Math.max(offset, await table.afterLine(broken.read));
      yield { problem: `${broken.problem}; skipped with it are the ${offset - broken.start} bytes from its start` };
    }
  }
}

async function* readSound(
  table: TableBytes,
  delimiter: string,
  offset: number,
): AsyncGenerator<CsvRecord, Broken | undefined> {
  const records = await RecordStream.create(delimiter);
  let start = offset;
  let read = offset;
  const problem = `it has more than ${maxRecordBytes} bytes, or a quote that is opened and not closed`;
  const take = function* (): Generator<CsvRecord> {
    for (const { cells, end } of records.take()) {
      const length = offset + end - start;
      start = offset + end;
      if (length > maxRecordBytes) yield { problem };
      else if (cells.length > 1 || cells[0].trim() !== "") yield { cells };
    }
  };
  for await (const chunk of table.chunks(offset)) {
    read += chunk.length;
    const error = await records.write(chunk);
    yield* take();
    if (error !== undefined || read - start > maxRecordBytes) {
      records.drop();
      return { start, read, problem };
    }
  }
  const error = await records.end();
  yield* take();
  return error === undefined ? undefined : { start, read, problem: "a quote is opened and not closed" };
}

/** Feeds csv-parse and takes its records with the offsets of their ends; it is never asked to go on after an error. */
class RecordStream {
  private readonly records: { cells: string[]; end: number }[] = [];
  private parser!: Parser;

  static async create(delimiter: string): Promise<RecordStream> {
    const { parse } = await import("csv-parse");
    const stream = new RecordStream();
    stream.parser = parse({
      delimiter,
      encoding: "latin1",
      record_delimiter: ["\r\n", "\n", "\r"],
      relax_column_count: true,
      relax_quotes: true,
      on_record: (cells: string[], { bytes }) => {
        stream.records.push({ cells, end: bytes });
        return null;
      },
    });
    stream.parser.on("error", () => undefined).resume();
    return stream;
  }

  take(): { cells: string[]; end: number }[] {
    return this.records.splice(0);
  }

  write(chunk: Buffer): Promise<Error | undefined> {
    return new Promise((resolve) => this.parser.write(chunk, (error) => resolve(error ?? undefined)));
  }

  end(): Promise<Error | undefined> {
    return new Promise((resolve) => {
      this.parser.once("error", resolve).once("end", () => resolve(undefined));
      this.parser.end();
    });
  }

  drop(): void {
    this.parser.destroy();
  }
}
