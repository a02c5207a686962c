import type { Command } from "commander";
import type { Flags } from "./model-flags";
import { UsageError } from "./output";

/** `--db`, of every command that opens an index. */
export function addDbFlag(command: Command): Command {
  return command.option("--db <DIR>", "the index: a folder, or a URI that LanceDB takes (default: GME_DB)");
}

/** The index of `--db`, else of GME_DB. Throws UsageError where neither names one. */
export function dbOf(flags: Flags): string {
  const db = (flags.db as string | undefined) ?? process.env.GME_DB ?? "";
  if (db === "") throw new UsageError("no index: give --db DIR or set GME_DB");
  return db;
}
