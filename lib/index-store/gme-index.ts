import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { watchRoots } from "../crawl/folder-watch";
import { sqlText } from "../crawl/path-glob";
import { badArgument, GmeError, printable } from "../errors";
import type { ModelInfo } from "../model-info";
import { ViewDesk } from "../views/view-desk";
import { checkLayout, checkPin, pinFor } from "./content-key";
import { type EntryDetails, entryColumns, entryDetails, type IndexEntry, plainEntry, viewFiles } from "./entry-details";
import { EntryTable } from "./entry-table";
import { FailureLog } from "./failure-log";
import { type CheckOptions, checkTable } from "./index-check";
import { IndexEngine } from "./index-engine";
import { IndexLock } from "./index-lock";
import {
  readAddFilesOptions,
  readAddOptions,
  readCheckOptions,
  readEntriesOptions,
  readOpenOptions,
  readPaths,
  readPruneOptions,
  readSearchOptions,
  readSelection,
  readViewOptions,
} from "./index-options";
import { type IndexPlace, indexPlace, isFolder, makePlace, removeEmptyPlace } from "./index-place";
import { type PruneOptions, type PruneSummary, pruneTable } from "./index-prune";
import { mendRows, mendStore } from "./index-repair";
import { readRoots } from "./index-roots";
import { searchIndex } from "./index-search";
import { addFiles, addItems, type IndexAccess } from "./index-session";
import type {
  AddFilesOptions,
  AddOptions,
  CheckReport,
  EntriesOptions,
  EntryKind,
  IndexItem,
  IndexPin,
  IndexStats,
  IndexSummary,
  OpenIndexOptions,
  SearchOptions,
  SearchResult,
  Selection,
  ViewOptions,
} from "./index-types";
import { queryInstruction } from "./query-instruction";

export interface WatchIndexOptions {
  /** Look for changes instead of being told, for network file systems. */
  readonly poll?: boolean;
  readonly followSymlinks?: boolean;
  readonly signal: AbortSignal;
}

export interface RepairSummary {
  readonly notes: readonly string[];
  readonly before: CheckReport | undefined;
  readonly indexed: IndexSummary | undefined;
  readonly after: CheckReport;
}

const constructorKey = Symbol("GmeIndex");
const defaultViewSide = 1_600;

/** A searchable index of pictures, texts and pages. Made by `openIndex`; writing calls run one after the other. */
export class GmeIndex implements AsyncDisposable {
  private readonly engine: IndexEngine;
  private writing: Promise<unknown> = Promise.resolve();
  private readonly views = new ViewDesk();
  private closed = false;
  private isNewFolder = false;

  constructor(
    key: symbol,
    private readonly place: IndexPlace,
    private readonly lock: IndexLock | undefined,
    private table: EntryTable | undefined,
    /** The store is damaged: only `repair` goes. */
    private damage: GmeError | undefined,
    options: OpenIndexOptions,
  ) {
    if (key !== constructorKey)
      throw new GmeError("GME_INPUT_INVALID", "a GmeIndex is made by openIndex(uri, options)");
    this.engine = new IndexEngine(options, place.uri);
  }

  /** What all rows have in common; undefined while the index is new. */
  get pin(): IndexPin | undefined {
    return this.table?.pin;
  }

  /**
   * Indexes files and folders; unchanged files are passed over, so that a run resumes where an earlier one ended. A file that cannot be
   * indexed is counted in the summary's `failed`, listed in errors.jsonl and not tried again until it changes or `retryFailed`.
   * Rejects with GME_MODEL_MISMATCH, GME_DISK_FULL, GME_STORE_CORRUPT, GME_ABORTED (what was embedded is kept), ….
   */
  async addFiles(paths: readonly string[], options?: AddFilesOptions): Promise<IndexSummary> {
    const read = readAddFilesOptions(options);
    const checked = readPaths(paths);
    return this.write((access) => addFiles(access, checked, read));
  }

  /** Indexes texts, pictures and ready embeddings that are no files. A bad item is counted as failed; the others go on. */
  async add(items: Iterable<IndexItem> | AsyncIterable<IndexItem>, options: AddOptions = {}): Promise<IndexSummary> {
    if (typeof items !== "object" || items === null)
      throw badArgument("GME_INPUT_INVALID", "items", "an iterable of items", items);
    const isIterable = Symbol.iterator in items || Symbol.asyncIterator in items;
    if (!isIterable) throw badArgument("GME_INPUT_INVALID", "items", "an iterable of items", items);
    const read = readAddOptions(options);
    return this.write((access) => addItems(access, items, read));
  }

  /** The rows nearest to a text, a picture (`options.image`), both in one vector, or a ready `embedding`; best first. */
  async search(query?: string, options: SearchOptions = {}): Promise<SearchResult[]> {
    const table = this.open();
    const read = readSearchOptions(options);
    return searchIndex(table, query, read, async (task) => {
      const engine = await this.engine.get(table.pin, read.signal);
      return (await engine.embed([task], read.signal))[0];
    });
  }

  /** Throws GME_MODEL_MISMATCH where this model's vectors must not be compared with the rows, GME_INDEX_NOT_FOUND where there are none. */
  checkModel(info: ModelInfo): void {
    checkPin(this.open().pin, pinFor(info), printable(this.place.uri));
  }

  /** What other processes have committed since is seen from now on: for an index that stays open. */
  async refresh(): Promise<void> {
    await this.open().checkout(undefined);
  }

  /** Every row, in batches. */
  async *entries(options: EntriesOptions = {}): AsyncGenerator<IndexEntry[]> {
    const { where, vectors, thumbnails } = readEntriesOptions(options);
    const columns = [...entryColumns, ...(vectors ? ["vector"] : []), ...(thumbnails ? ["thumbnail"] : [])];
    for await (const rows of this.open().scan(columns, { where })) {
      yield rows.map(plainEntry);
    }
  }

  /** One row with its thumbnail and, of a page or passage, its neighbours; undefined where no row has this key. */
  async entry(key: string): Promise<EntryDetails | undefined> {
    return entryDetails(this.open(), key);
  }

  /**
   * A picture or page larger than its thumbnail, as WebP of at most `side` pixels a side; it is read from its file in a process of its
   * own. Undefined where the key is no row's or the row is neither picture nor page of a file. Rejects with GME_IO_ERROR or
   * GME_CHANGED_WHILE_OPEN where the file is no longer what was indexed, GME_QUEUE_FULL, GME_DEADLINE_EXCEEDED, GME_IMAGE_…, GME_PDF_….
   */
  async view(key: string, options: ViewOptions = {}): Promise<Uint8Array | undefined> {
    const { side = defaultViewSide, signal } = readViewOptions(options);
    const files = await viewFiles(this.open(), key);
    return files.length === 0 ? undefined : this.views.draw(files, side, signal);
  }

  /** The instruction of a query by what is sought; undefined: the model's default. */
  queryInstruction(sought: EntryKind | undefined, query: { text: boolean; image: boolean }): string | undefined {
    return queryInstruction(sought, query, this.open().pin.dimensions);
  }

  /** How many rows there are, or how many an SQL filter takes. */
  async count(where?: string): Promise<number> {
    return this.open().countRows(where);
  }

  async stats(): Promise<IndexStats> {
    const table = this.open();
    const failures = await FailureLog.open(this.place);
    const kinds: Record<EntryKind, number> = { image: 0, text: 0, page: 0 };
    for (const kind of Object.keys(kinds) as EntryKind[])
      kinds[kind] = await table.countRows(`kind = ${sqlText(kind)}`);
    let sources = 0;
    for await (const rows of table.scan(["sources"])) for (const row of rows) sources += row.sources?.length ?? 0;
    const vectorIndex = await table.vectorIndex();
    return {
      rows: await table.countRows(),
      sources,
      kinds,
      dimensions: table.pin.dimensions,
      bytes: await folderBytes(this.place.folder),
      versions: (await table.versions()).length,
      model: table.pin,
      ...(vectorIndex !== undefined && { vectorIndex }),
      failures: failures.size,
    };
  }

  /** Reads every row and looks at every file. Rejects with GME_STORE_CORRUPT where the store itself is damaged. */
  async check(options: CheckOptions = {}): Promise<CheckReport> {
    return (await checkTable(this.open(), this.place, readCheckOptions(options))).report;
  }

  /** Mends what can be mended: goes back to a whole state, unites doubled rows, embeds again what is missing or bad. */
  async repair(options?: AddFilesOptions): Promise<RepairSummary> {
    const read = readAddFilesOptions(options);
    return this.write(async (access) => {
      access.table?.close();
      const { table, notes } = await mendStore(this.place);
      access.table = table;
      this.damage = undefined;
      const found = table && (await checkTable(table, this.place, { signal: read.signal }));
      if (table !== undefined && found !== undefined) await mendRows(table, found);
      let indexed: IndexSummary | undefined;
      for (const { path, options: kept } of await readRoots(this.place))
        indexed = await addFiles(access, [path], { ...kept, ...read });
      if (access.table === undefined) throw nothingToRepair(this.place);
      const after = await checkTable(access.table, this.place, { signal: read.signal });
      return { notes, before: found?.report, indexed, after: after.report };
    }, true);
  }

  /** Drops files that vanished. Rejects with GME_INDEX_PRUNE_REFUSED where that looks like a disk that is not mounted. */
  async prune(options: PruneOptions = {}): Promise<PruneSummary> {
    const read = readPruneOptions(options);
    return this.write(({ lock }) => pruneTable(this.open(), this.place, lock, read));
  }

  /** Calls `onChange` at once and after each change below the paths that has settled, until the signal aborts; it indexes again. */
  async watch(paths: readonly string[], onChange: () => Promise<void>, options: WatchIndexOptions): Promise<void> {
    const { folder } = this.place;
    const isOwn = (path: string) => folder !== undefined && (path === folder || path.startsWith(join(folder, "/")));
    const { poll, followSymlinks, signal } = options;
    await watchRoots(
      readPaths(paths).map((path) => resolve(path)),
      { poll, followSymlinks, signal, ignored: isOwn },
      onChange,
    );
  }

  /** Removes rows; the number that went. Files stay where they are and come back with the next `addFiles`. */
  async remove(selection: Selection): Promise<number> {
    const { keys, paths, where } = readSelection(selection);
    const filters: string[] = [];
    if (keys !== undefined && keys.length > 0) filters.push(`key IN (${keys.map(sqlText).join(", ")})`);
    if (paths !== undefined && paths.length > 0)
      filters.push(`array_has_any(paths, [${paths.map(sqlText).join(", ")}])`);
    if (where !== undefined) filters.push(`(${where})`);
    if (filters.length === 0) throw badArgument("GME_INPUT_INVALID", "selection", "keys, paths or where", undefined);
    const filter = filters.join(" OR ");
    return this.write(async ({ lock }) => {
      const table = this.open();
      const count = await table.countRows(filter);
      await lock.check();
      if (count > 0) await table.deleteWhere(filter);
      return count;
    });
  }

  /** Idempotent: waits for what is being written, then frees the lock, the store and the model it started. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.writing.catch(() => undefined);
    await this.views.close();
    await this.engine.close();
    this.table?.close();
    await this.lock?.release();
    if (this.isNewFolder && this.table === undefined) await removeEmptyPlace(this.place);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private open(): EntryTable {
    if (this.closed) throw new GmeError("GME_MODEL_CLOSED", "the index has been closed");
    if (this.damage !== undefined) throw this.damage;
    if (this.table === undefined) throw notFound(this.place);
    return this.table;
  }

  private async write<T>(work: (access: IndexAccess) => Promise<T>, mends = false): Promise<T> {
    if (this.closed) throw new GmeError("GME_MODEL_CLOSED", "the index has been closed");
    const { lock, place, engine } = this;
    if (lock === undefined)
      throw new GmeError("GME_OPTION_INVALID", "the index was opened readOnly", { field: "options.readOnly", value: "true", expected: "false" }); // biome-ignore format: one line says it
    if (this.damage !== undefined && !mends) throw this.damage;
    const run = this.writing
      .catch(() => undefined)
      .then(async () => {
        const access: IndexAccess = { place, lock, engine, table: this.table };
        try {
          return await work(access);
        } finally {
          this.table = access.table;
        }
      });
    this.writing = run;
    return run;
  }

  /** For `openIndex` alone. */
  static async open(uri: string, options?: OpenIndexOptions): Promise<GmeIndex> {
    const read = readOpenOptions(options);
    const place = indexPlace(uri);
    if (read.readOnly) return GmeIndex.openForReading(place, read);
    const isNewFolder = await makePlace(place);
    const lock = await IndexLock.take(place);
    try {
      const { table, damage } = await openTable(place);
      const index = new GmeIndex(constructorKey, place, lock, table, damage, read);
      index.isNewFolder = isNewFolder;
      return index;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  private static async openForReading(place: IndexPlace, options: OpenIndexOptions): Promise<GmeIndex> {
    if (place.folder !== undefined && !(await isFolder(place.folder))) throw notFound(place);
    const { table, damage } = await openTable(place);
    if (damage !== undefined) throw damage;
    if (table === undefined) throw notFound(place);
    return new GmeIndex(constructorKey, place, undefined, table, undefined, options);
  }
}

/**
 * Opens the index in a folder (or at a LanceDB URI), for writing unless `readOnly`; a new one is made at the first `add` or `addFiles`.
 * Rejects with GME_INDEX_LOCKED, GME_INDEX_NOT_FOUND (readOnly), GME_STORE_CORRUPT (readOnly), GME_STORE_BACKEND_MISSING, GME_IO_ERROR.
 */
export function openIndex(uri: string, options?: OpenIndexOptions): Promise<GmeIndex> {
  return GmeIndex.open(uri, options);
}

/** A damaged store can still be opened for writing, so that it can be repaired. */
async function openTable(place: IndexPlace): Promise<{ table?: EntryTable; damage?: GmeError }> {
  try {
    const table = await EntryTable.open(place);
    if (table !== undefined) checkLayout(table.pin, printable(place.uri));
    return { table };
  } catch (error) {
    const known = GmeError.from(error);
    if (known.code === "GME_STORE_CORRUPT") return { damage: known };
    throw known;
  }
}

async function folderBytes(folder: string | undefined): Promise<number> {
  if (folder === undefined) return 0;
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    const found = await stat(join(entry.parentPath ?? entry.path, entry.name)).catch(() => undefined);
    bytes += found?.size ?? 0;
  }
  return bytes;
}

function notFound({ uri }: IndexPlace): GmeError {
  const message = `there is no index at ${printable(uri)}; gme index PATH --db ${printable(uri)} makes one`;
  return new GmeError("GME_INDEX_NOT_FOUND", message, { file: uri, expected: "an index" });
}

function nothingToRepair({ uri }: IndexPlace): GmeError {
  const message = `${printable(uri)}: nothing is left to repair, and it is not known which folders were indexed; index them again`;
  return new GmeError("GME_STORE_CORRUPT", message, { file: uri, expected: "indexed folders" });
}
