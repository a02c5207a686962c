export { fsPath, pathJson, shownPath } from "../crawl/path-bytes";
export type { EmbedOutcome } from "../embed-tasks/embed-task";
export type { EntryDetails, IndexEntry } from "./entry-details";
export {
  GmeIndex,
  openIndex,
  type RepairSummary,
  type WatchIndexOptions,
} from "./gme-index";
export type { CheckOptions } from "./index-check";
export { addFilesOptions } from "./index-options";
export type { PruneOptions, PruneSummary } from "./index-prune";
export {
  type AddFilesOptions,
  type AddOptions,
  type CheckReport,
  type EntriesOptions,
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
  type Selection,
  type ViewOptions,
} from "./index-types";
