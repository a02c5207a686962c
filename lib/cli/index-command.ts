import { Command } from "commander";
import type { GmeError } from "../index";
import type {
  AddFilesOptions,
  CheckReport,
  GmeIndex,
  IndexStats,
  IndexSummary,
  OpenIndexOptions,
} from "../index-store/index";
import { addFilesOptions } from "../index-store/index";
import { addDbFlag, dbOf } from "./index-flags";
import { startIndexProgress, summaryText } from "./index-progress";
import { addModelFlags, addOptionFlags, chosenModel, type Flags, optionsOf } from "./model-flags";
import { exitCodes, note, print, printJson, reportError, UsageError } from "./output";
import { startProgress } from "./progress";
import { stopSignal } from "./signals";

interface IndexFlags extends Flags {
  exclude?: string[];
  prune?: boolean;
  force?: boolean;
  watch?: boolean;
  poll?: boolean;
  check?: boolean;
  repair?: boolean;
  stats?: boolean;
  allowFailures?: boolean;
  json?: boolean;
  quiet?: boolean;
}

export function indexCommand(): Command {
  const command = new Command("index")
    .description("index pictures, texts and PDF pages in files and folders; running it again goes on where it stopped")
    .argument("[paths...]", "files and folders");
  addDbFlag(command)
    .option("--exclude <patterns...>", "leave out what matches, in .gitignore syntax (as in .gmeignore files)")
    .option("--prune", "drop files that have vanished; refused when a folder is missing or over a fifth would go")
    .option("--force", "prune all the same")
    .option("--watch", "stay and follow changes")
    .option("--poll", "look for changes instead of being told, for network file systems")
    .option("--check", 'read every row and look at every file: {"rows", "sources", "missing", …}')
    .option("--repair", "mend what --check finds")
    .option("--stats", "what the index holds")
    .option("--allow-failures", "exit code 0 although some items failed")
    .option("--json", "events as lines of JSON, the summary last")
    .option("-q, --quiet", "no progress");
  addOptionFlags(command, addFilesOptions);
  return addModelFlags(command).action(runIndex);
}

async function runIndex(paths: string[], flags: IndexFlags): Promise<void> {
  const db = dbOf(flags);
  checkUsage(paths, flags);
  const { openIndex } = await import("../index-store/index.js");
  const open = async (options: OpenIndexOptions) => openIndex(db, { ...options, signal: stopSignal() });
  if (flags.check || flags.stats) {
    const index = await open({ readOnly: true });
    await closing(index, () => (flags.check ? check(index) : stats(index, flags)));
    return;
  }
  const { path: model, options: modelOptions } = await chosenModel(flags);
  const index = await open({ model, modelOptions });
  await closing(index, async () => {
    if (flags.repair) await repair(index, flags);
    else if (flags.watch) await watch(index, paths, flags);
    else await addAndPrune(index, paths, flags);
  });
}

function checkUsage(paths: readonly string[], { check, repair, stats, prune, watch, poll, force }: IndexFlags): void {
  const modes = [check && "--check", repair && "--repair", stats && "--stats"].filter((mode) => mode);
  if (modes.length > 1) throw new UsageError(`${modes.join(" and ")} exclude each other`);
  if (modes.length === 1 && (paths.length > 0 || prune || watch))
    throw new UsageError(`${modes[0]} takes the whole index: give no paths, --prune or --watch with it`);
  if (modes.length === 0 && paths.length === 0 && !prune)
    throw new UsageError("nothing to index: give files or folders (or --prune, --check, --repair, --stats)");
  if (watch && paths.length === 0) throw new UsageError("--watch needs files or folders");
  if (poll && !watch) throw new UsageError("--poll goes with --watch");
  if (force && !prune) throw new UsageError("--force goes with --prune");
}

async function closing(index: GmeIndex, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } finally {
    await index.close();
  }
}

async function addAndPrune(index: GmeIndex, paths: readonly string[], flags: IndexFlags): Promise<void> {
  if (paths.length > 0) await addPaths(index, paths, flags);
  if (!flags.prune) return;
  const { files, rows } = await index.prune({
    ...(paths.length > 0 && { paths }),
    force: flags.force === true,
    signal: stopSignal(),
  });
  if (flags.json) await printJson({ type: "pruned", files, rows });
  else
    note(
      `${files} vanished ${files === 1 ? "file" : "files"} dropped, and ${rows} ${rows === 1 ? "row" : "rows"} with no other file`,
    );
}

async function addPaths(index: GmeIndex, paths: readonly string[], flags: IndexFlags): Promise<void> {
  const view = await startIndexProgress({ json: flags.json, quiet: flags.quiet });
  try {
    const summary = await index.addFiles(paths, {
      ...fileOptions(flags),
      signal: stopSignal(),
      onProgress: (progress) => view.update(progress),
      onEvent: (event) => view.event(event),
    });
    view.stop();
    await tell(summary, flags);
  } catch (error) {
    view.stop();
    if (stopSignal().aborted) note("Stopped; what was embedded is kept. The same command goes on from here.");
    throw error;
  }
}

function fileOptions(flags: IndexFlags): AddFilesOptions {
  return { ...optionsOf<AddFilesOptions>(flags, addFilesOptions), ...(flags.exclude && { exclude: flags.exclude }) };
}

async function tell(summary: IndexSummary, flags: IndexFlags): Promise<void> {
  if (flags.json) await printJson({ type: "summary", ...summary });
  else if (!flags.quiet) await print(summaryText(summary));
  if (summary.failed + summary.failedBefore > 0 && !flags.allowFailures) process.exitCode = exitCodes.someFailed;
}

/** A prune that is refused must not end the watch. */
async function watch(index: GmeIndex, paths: readonly string[], flags: IndexFlags): Promise<void> {
  note("Watching for changes; Ctrl-C ends it.");
  const onChange = async () => {
    try {
      await addAndPrune(index, paths, flags);
    } catch (error) {
      if ((error as GmeError).code !== "GME_INDEX_PRUNE_REFUSED") throw error;
      reportError(error, flags.json === true);
    }
  };
  const { poll, followSymlinks } = flags as { poll?: boolean; followSymlinks?: boolean };
  await index.watch(paths, onChange, { poll, followSymlinks, signal: stopSignal() });
}

async function check(index: GmeIndex): Promise<void> {
  const report = await withBar("checking", (onProgress) => index.check({ onProgress, signal: stopSignal() }));
  await printJson(report);
  if (!isWhole(report)) process.exitCode = exitCodes.failed;
}

async function withBar<T>(
  label: string,
  run: (onProgress: (progress: { done: number; total: number }) => void) => Promise<T>,
): Promise<T> {
  const bar = await startProgress(label, 0, "rows");
  try {
    return await run(({ done, total }) => bar.update(done, total));
  } finally {
    bar.stop();
  }
}

function isWhole({ missing, duplicates, bad }: CheckReport): boolean {
  return missing + duplicates + bad === 0;
}

async function repair(index: GmeIndex, flags: IndexFlags): Promise<void> {
  const view = await startIndexProgress({ json: flags.json, quiet: flags.quiet });
  try {
    const { notes, before, after } = await index.repair({
      signal: stopSignal(),
      onProgress: (progress) => view.update(progress),
      onEvent: (event) => view.event(event),
    });
    view.stop();
    for (const text of notes) note(text);
    if (flags.json) await printJson({ type: "repaired", notes, before, after });
    else await printJson(after);
    if (!isWhole(after)) process.exitCode = exitCodes.failed;
  } finally {
    view.stop();
  }
}

async function stats(index: GmeIndex, flags: IndexFlags): Promise<void> {
  const found = await index.stats();
  if (flags.json) await printJson(found);
  else await print(statsText(found));
}

function statsText({
  rows,
  sources,
  kinds,
  dimensions,
  bytes,
  versions,
  model,
  vectorIndex,
  failures,
}: IndexStats): string {
  const search =
    vectorIndex === undefined
      ? "every row is compared (a vector index is built from 20,000 rows on)"
      : `vector index ${vectorIndex.type}, ${vectorIndex.indexedRows} rows in it, ${vectorIndex.unindexedRows} to come`;
  const lines: [string, string][] = [
    ["rows", `${rows}: ${kinds.image} pictures, ${kinds.text} texts, ${kinds.page} pages`],
    ["sources", String(sources)],
    ["size", `${(bytes / 1e6).toFixed(1)} MB, ${versions} versions kept`],
    ["search", search],
    ["model", `${model.model}, vectors of ${dimensions} numbers, fingerprint ${model.fingerprint.slice(0, 16)}`],
    ["pictures", `${model.minImageTokens} to ${model.maxImageTokens} tokens, orientation ${model.orientation}`],
    ["positions", `${model.positions}${model.loaderResize ? "" : ", a single resize"}`],
    ["failed", failures === 0 ? "nothing" : `items of ${failures} files, see errors.jsonl; --retry-failed tries again`],
  ];
  return lines.map(([name, value]) => `${name.padEnd(10)} ${value}\n`).join("");
}
