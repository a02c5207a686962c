import type { Source } from "./entry-row";
import type { FailedFile } from "./failure-log";

/** One file (or item that is no file) on its way through a run: settled when everything it holds is committed or has failed. */
export class FileRun implements FailedFile {
  private open = 1;
  private failures = 0;
  private failedWhole = false;
  private readonly failedRows = new Set<number>();
  hasPassedOver = false;

  constructor(
    readonly path: string,
    readonly size: number,
    readonly mtime: number,
    private readonly onSettled: (run: FileRun) => void,
  ) {}

  /** A part of it goes to work. */
  begin(): void {
    this.open++;
  }

  /** A part is committed. Called once more when the last part has begun. */
  end(): void {
    if (--this.open === 0) this.onSettled(this);
  }

  /** A part failed; without a number the file as a whole. */
  fail(part: number | undefined): void {
    this.failures++;
    if (part === undefined) this.failedWhole = true;
    else this.failedRows.add(part);
    this.end();
  }

  get hasFailed(): boolean {
    return this.failures > 0;
  }

  /** Set when the index has rows of an older state of the file: which sources those are. */
  isOutdated?: (source: Source, key: string) => boolean;

  /** A row of a table that failed in an earlier run and is not tried again. */
  passOver(row: number): void {
    this.hasPassedOver = true;
    this.failedRows.add(row);
  }

  /** A file that failed as a whole keeps its older rows, and a table those of its failed rows: nothing better is there. */
  keeps({ row }: Source): boolean {
    return this.failedWhole || (row !== null && this.failedRows.has(row));
  }
}
