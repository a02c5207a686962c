// Indexes folders as the command does, in one process, with small commits and an account of every vector: what a test may kill.
// Argument: a RunRequest as JSON. Writes lines of JSON to stdout, each at once, so that none is lost with the process.
import { writeSync } from "node:fs";
import { bundledModelPath } from "../../../lib/bundled-model";
import { CrashPoints } from "../../../lib/index-store/crash-points";
import type { Embedder } from "../../../lib/embed-tasks/embed-task";
import { EntryTable } from "../../../lib/index-store/entry-table";
import type { AddFilesOptions } from "../../../lib/index-store/index-types";
import type { WriterLimits } from "../../../lib/index-store/index-writer";
import { TaskRunner } from "../../../lib/embed-tasks/task-runner";
import { load } from "../../../lib/index";
import { ContentEmbedder, runWith } from "../content-embedder";

export interface RunRequest {
  readonly db: string;
  readonly paths: readonly string[];
  readonly limits: WriterLimits;
  readonly options?: AddFilesOptions;
  /** Without a model: a ContentEmbedder. */
  readonly byContent?: boolean;
}

export type RunLine =
  | { readonly type: "opened" }
  | { readonly type: "embedded"; readonly vectors: number }
  | { readonly type: "reached"; readonly point: string }
  | { readonly type: "merging" | "committed"; readonly rows: number }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "done"; readonly rows: number; readonly embedded: number };

function tell(line: RunLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

const { reach } = CrashPoints.prototype;
CrashPoints.prototype.reach = function (point) {
  tell({ type: "reached", point });
  reach.call(this, point);
};
const { merge } = EntryTable.prototype;
EntryTable.prototype.merge = function (rows) {
  tell({ type: "merging", rows: rows.length });
  return merge.call(this, rows);
};

async function main({ db, paths, limits, options, byContent }: RunRequest): Promise<void> {
  const inner = byContent ? new ContentEmbedder() : new TaskRunner(await load(bundledModelPath, { threads: 1 }), { closeModel: true }); // biome-ignore format: one line says it
  await runWith(
    counted(inner),
    { db, paths, limits },
    {
      ...options,
      onOpened: () => tell({ type: "opened" }),
      onEvent: (event) => {
        if (event.type === "committed") tell({ type: "committed", rows: event.rows });
        if (event.type === "failed") tell({ type: "failed", message: event.error.message });
      },
    },
  ).then(({ rows, embedded }) => tell({ type: "done", rows, embedded }));
}

/** Tells of vectors before the run gets them, so that those that a kill loses are told too. */
function counted(runner: Embedder): Embedder {
  return {
    info: runner.info,
    embed: async (tasks, signal) => {
      const outcomes = await runner.embed(tasks, signal);
      tell({ type: "embedded", vectors: outcomes.filter(({ error }) => error === undefined).length });
      return outcomes;
    },
    countPages: (file, signal) => runner.countPages(file, signal),
    use: () => runner.use(),
    close: () => runner.close(),
  };
}

main(JSON.parse(process.argv[2])).catch((error) => {
  process.stderr.write(`${error.code ?? ""} ${error.message}\n`);
  process.exitCode = 1;
});
