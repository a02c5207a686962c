import type { CrawlEvent, CrawledFile } from "../crawl/crawl";
import { GmeError } from "../errors";
import { type PlanContext, planFile, stateOf, stateTime } from "./file-plan";
import { FileRun } from "./file-run";
import type { IndexRun } from "./index-run";
import type { IndexWriter } from "./index-writer";
import type { RunReport } from "./run-report";
import { planTable } from "./table-plan";
import type { WorkItem } from "./work-item";

export interface FileItemParts extends PlanContext {
  readonly report: RunReport;
  readonly writer: IndexWriter;
  readonly run: IndexRun;
}

/** What was found on disk → the rows that it should have. Files that are in the index as they are take no work. */
export async function* fileItems(events: AsyncIterable<CrawlEvent>, parts: FileItemParts): AsyncGenerator<WorkItem> {
  const { report, run } = parts;
  for await (const event of events) {
    if (event.type === "skipped") report.skip(event.path, event.reason);
    else if (event.type === "failed") {
      report.total++;
      await run.failItem(unreadable(event.path), undefined, event.error);
    } else {
      report.files++;
      yield* itemsOf(event, parts);
    }
  }
}

/** A path of which not even the size is known; it is looked at again on every run. */
function unreadable(path: string): FileRun {
  return new FileRun(path, -1, -1, () => undefined);
}

async function* itemsOf(file: CrawledFile, parts: FileItemParts): AsyncGenerator<WorkItem> {
  const { report, failures, options } = parts;
  const isTable = file.kind === "jsonl" || file.kind === "csv";
  const state = isTable ? "new" : stateOf(file, parts);
  if (state !== "new") {
    if (state === "failed") report.failedBefore++;
    else report.unchanged++;
    report.done++;
    return;
  }
  if (options.retryFailed) failures.forget(file.path);
  const fileRun = new FileRun(file.path, file.size, isTable ? file.mtimeMs : stateTime(file), (settled) =>
    settle(settled, parts),
  );
  try {
    if (isTable) yield* tableItems(file, fileRun, parts);
    else yield* documentItems(file, fileRun, parts);
  } catch (error) {
    await failFile(fileRun, GmeError.from(error, "GME_DOCUMENT_UNREADABLE"), parts);
    return;
  }
  fileRun.end();
}

async function* documentItems(file: CrawledFile, fileRun: FileRun, parts: FileItemParts): AsyncGenerator<WorkItem> {
  const { report } = parts;
  let isFirst = true;
  for await (const item of planFile(file, fileRun, parts)) {
    if (isFirst) report.total += item.source.parts - 1;
    isFirst = false;
    fileRun.begin();
    yield item;
  }
  if (isFirst) report.done++; // nothing to index in it
}

/** The table itself counts as one, and each of its rows. */
async function* tableItems(file: CrawledFile, fileRun: FileRun, parts: FileItemParts): AsyncGenerator<WorkItem> {
  const { report, run } = parts;
  const onRow = () => {
    report.total++;
  };
  const onRowFailed = async (row: number, error: GmeError | undefined) => {
    if (error !== undefined) {
      fileRun.begin();
      return run.failItem(fileRun, row, error);
    }
    fileRun.passOver(row);
    report.failedBefore++;
    report.done++;
  };
  for await (const item of planTable(file, fileRun, parts, { onRow, onRowFailed })) {
    fileRun.begin();
    yield item;
  }
  report.done++;
}

async function failFile(fileRun: FileRun, error: GmeError, { report, run }: FileItemParts): Promise<void> {
  if (error.code === "GME_ABORTED" || error.code === "GME_MODEL_CLOSED" || error.code === "GME_OPTION_INVALID")
    throw error;
  if (error.errno === "ENOENT" || error.errno === "ENOTDIR") {
    report.skip(fileRun.path, "vanished");
    report.done++;
    fileRun.fail(undefined);
    return;
  }
  await run.failItem(fileRun, undefined, error);
}

function settle(settled: FileRun, { failures, writer }: FileItemParts): void {
  if (!settled.hasFailed && !settled.hasPassedOver) failures.forget(settled.path);
  writer.dropOutdated(settled);
}
