export { fsPath, pathJson, shownPath } from "../crawl/path-bytes";
export type { EmbedOutcome } from "../embed-tasks/embed-task";
export {
  type EntriesOptions,
  GmeIndex,
  type IndexEntry,
  openIndex,
  type RepairSummary,
  type Selection,
  type WatchIndexOptions,
} from "./gme-index";
export type { CheckOptions } from "./index-check";
export { addFilesOptions } from "./index-options";
export type { PruneOptions, PruneSummary } from "./index-prune";
export {
  type AddFilesOptions,
  type AddOptions,
  type CheckReport,
  type EntryKind,
  entryKinds,
  type IndexEvent,
  type IndexItem,
  type IndexPin,
  type IndexProgress,
  type IndexStats,
  type IndexSummary,
  type OpenIndexOptions,
  type SearchOptions,
  type SearchResult,
} from "./index-types";
