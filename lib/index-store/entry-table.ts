import type { Connection, Session, Table, VectorQuery } from "@lancedb/lancedb";
import type * as Arrow from "apache-arrow";
import { sqlText } from "../crawl/path-glob";
import { GmeError, printable } from "../errors";
import { readBatch } from "./batch-rows";
import { type EntryRow, type ReadRow, type Source, sourceColumns } from "./entry-row";
import { entrySchema, pinKey, pinOf, sourceSchema } from "./entry-schema";
import type { IndexPlace } from "./index-place";
import type { IndexPin } from "./index-types";
import { corruptStore, isFilterFault, storeError } from "./store-errors";
import {
  committedVersion,
  isSoundManifest,
  isUnfinishedTable,
  manifestFiles,
  noteCommitted,
  removeUnfinishedTable,
  tableName,
} from "./store-files";
import { StoreSync } from "./store-sync";

export interface ScanOptions {
  readonly where?: string;
  readonly limit?: number;
}

export interface NearestOptions {
  readonly columns: readonly string[];
  readonly limit: number;
  readonly where?: string;
  /** Cosine of at least so much. */
  readonly minScore?: number;
  readonly exact?: boolean;
  readonly probes?: number;
  readonly refine?: number;
}

/** `field` of the error that tells of somebody else's table. */
export const foreignField = "schema";

interface Backend {
  readonly lancedb: typeof import("@lancedb/lancedb");
  readonly arrow: typeof Arrow;
}

/** Caches of the store in bytes; its own defaults are 6 and 1 GB. */
const indexCacheBytes = 512n << 20n;
const metadataCacheBytes = 64n << 20n;
/** Readers look for newer versions at most so often, in seconds. */
const readerInterval = 1;

/** The index's one table and the only user of LanceDB. Each writing method is one commit: all of it is visible, or nothing. */
export class EntryTable {
  private readonly sync: StoreSync;

  private constructor(
    private readonly backend: Backend,
    private readonly connection: Connection,
    private readonly table: Table,
    private readonly schema: Arrow.Schema,
    readonly place: IndexPlace,
    readonly pin: IndexPin,
  ) {
    this.sync = new StoreSync(place);
  }

  /**
   * Undefined where there is no index. Rejects with GME_STORE_CORRUPT, GME_STORE_BACKEND_MISSING, GME_IO_ERROR; to be mended, a table
   * may lack its newest versions.
   */
  static async open(place: IndexPlace, { toMend = false } = {}): Promise<EntryTable | undefined> {
    const backend = await loadBackend();
    const committed = toMend ? 0 : await committedVersion(place); // before the table: a writer may commit meanwhile
    await checkNewestManifest(place);
    const connection = await connect(backend, place);
    try {
      if (!(await connection.tableNames()).includes(tableName) || (await isUnfinishedTable(place))) {
        if (committed > 0) throw await corruptStore(place, "its table is missing");
        return undefined;
      }
      const table = await EntryTable.over(backend, connection, await connection.openTable(tableName), place);
      const version = await table.version();
      if (version >= committed) return table;
      table.close();
      throw await corruptStore(place, `its newest version is ${version}, and version ${committed} was committed`);
    } catch (error) {
      throw await storeError(error, place);
    }
  }

  static async create(place: IndexPlace, pin: IndexPin): Promise<EntryTable> {
    const backend = await loadBackend();
    const connection = await connect(backend, place);
    try {
      await removeUnfinishedTable(place);
      const table = await connection.createEmptyTable(tableName, entrySchema(backend.arrow, pin), { mode: "create" });
      const created = await EntryTable.over(backend, connection, table, place);
      await created.settle();
      return created;
    } catch (error) {
      throw await storeError(error, place);
    }
  }

  private static async over(backend: Backend, connection: Connection, table: Table, place: IndexPlace) {
    const schema = (await table.schema()) as Arrow.Schema;
    const pin = pinOf(schema);
    if (pin === undefined) throw await foreignTable(schema, place);
    return new EntryTable(backend, connection, table, schema, place, pin);
  }

  /** Inserts rows; a row with the same key is replaced. */
  async merge(rows: readonly EntryRow[]): Promise<void> {
    if (rows.length === 0) return;
    const records = rows.map(({ sources, ...row }) => ({ ...row, ...sourceColumns(sources) }));
    const data = this.backend.lancedb.makeArrowTable(records, { schema: this.schema });
    await this.commit(() =>
      this.table.mergeInsert("key").whenMatchedUpdateAll().whenNotMatchedInsertAll().execute(data),
    );
  }

  /** Gives rows that are there other sources; each must have at least one. */
  async setSources(changes: readonly { readonly key: string; readonly sources: readonly Source[] }[]): Promise<void> {
    if (changes.length === 0) return;
    const records = changes.map(({ key, sources }) => ({ key, ...sourceColumns(sources) }));
    const schema = sourceSchema(this.backend.arrow, this.schema);
    const data = this.backend.lancedb.makeArrowTable(records, { schema });
    await this.commit(() => this.table.mergeInsert("key").whenMatchedUpdateAll().execute(data));
  }

  async deleteKeys(keys: readonly string[]): Promise<void> {
    if (keys.length > 0) await this.deleteWhere(keyFilter(keys));
  }

  async deleteWhere(where: string): Promise<void> {
    await this.commit(() => this.table.delete(where), where);
  }

  /** Sources of the rows with these keys. */
  async findKeys(keys: readonly string[]): Promise<Map<string, Source[]>> {
    const found = new Map<string, Source[]>();
    if (keys.length === 0) return found;
    for await (const rows of this.scan(["key", "sources"], { where: keyFilter(keys) }))
      for (const { key, sources } of rows) found.set(key, sources as Source[]);
    return found;
  }

  /** Rows that have one of these paths among their sources. */
  async findPaths(paths: readonly string[]): Promise<{ key: string; sources: Source[] }[]> {
    if (paths.length === 0) return [];
    const found: { key: string; sources: Source[] }[] = [];
    const where = `array_has_any(paths, [${paths.map(sqlText).join(", ")}])`;
    for await (const rows of this.scan(["key", "sources"], { where }))
      found.push(...rows.map(({ key, sources }) => ({ key, sources: sources as Source[] })));
    return found;
  }

  /** Rows in batches of some thousands. */
  async *scan(columns: readonly string[], { where, limit }: ScanOptions = {}): AsyncGenerator<ReadRow[]> {
    try {
      let query = this.table.query().select([...columns]);
      if (where !== undefined) query = query.where(where);
      if (limit !== undefined) query = query.limit(limit);
      for await (const batch of query) yield readBatch(batch as unknown as Arrow.RecordBatch, columns);
    } catch (error) {
      throw await this.fault(error, where);
    }
  }

  /** Reads every column but those, and counts the rows. Rejects with GME_STORE_CORRUPT where one cannot be read. */
  async readThrough(except: readonly string[] = []): Promise<number> {
    const columns = this.schema.fields.map(({ name }) => name).filter((name) => !except.includes(name));
    return this.read(async () => {
      let rows = 0;
      for await (const batch of this.table.query().select(columns)) rows += batch.numRows;
      return rows;
    });
  }

  /** The nearest rows, nearest first, with `_distance` = 1 − cosine. */
  async nearest(vector: Float32Array, options: NearestOptions): Promise<ReadRow[]> {
    const { columns, limit, where, minScore, exact, probes, refine } = options;
    try {
      let query = this.table.query().nearestTo(vector).distanceType("cosine") as VectorQuery;
      query = query.select([...columns, "_distance"]).limit(limit);
      if (where !== undefined) query = query.where(where);
      if (minScore !== undefined) query = query.distanceRange(undefined, Math.max(0, 1 - minScore) + 1e-6);
      if (exact) query = query.bypassVectorIndex();
      else if (probes !== undefined && refine !== undefined) query = query.nprobes(probes).refineFactor(refine);
      const result = await query.toArrow();
      return result.batches.flatMap((batch) => readBatch(batch as Arrow.RecordBatch, [...columns, "_distance"]));
    } catch (error) {
      throw await this.fault(error, where);
    }
  }

  async countRows(where?: string): Promise<number> {
    return this.read(() => this.table.countRows(where), where);
  }

  async version(): Promise<number> {
    return this.read(() => this.table.version());
  }

  /** Newest first. */
  async versions(): Promise<number[]> {
    const versions = await this.read(() => this.table.listVersions());
    return versions.map(({ version }) => version).sort((a, b) => b - a);
  }

  /** Makes an older version the newest. */
  async restore(version: number): Promise<void> {
    await this.read(() => this.table.checkout(version));
    await this.commit(() => this.table.restore());
  }

  /** Reads at an older version until `checkoutLatest`. */
  async checkout(version: number | undefined): Promise<void> {
    await this.read(() => (version === undefined ? this.table.checkoutLatest() : this.table.checkout(version)));
  }

  /** Joins small files, brings new rows into the vector index and removes versions from before `keepAfter`. */
  async optimize(keepAfter: Date): Promise<void> {
    await this.commit(() => this.table.optimize({ cleanupOlderThan: keepAfter }));
  }

  async vectorIndex(): Promise<{ type: string; indexedRows: number; unindexedRows: number } | undefined> {
    const stats = await this.read(() => this.table.indexStats("vector_idx"));
    if (stats === undefined) return undefined;
    return { type: stats.indexType, indexedRows: stats.numIndexedRows, unindexedRows: stats.numUnindexedRows };
  }

  /** IVF with RaBitQ codes, which a search refines by the vectors themselves; replaces what was there. */
  async buildVectorIndex(): Promise<void> {
    const { Index } = this.backend.lancedb;
    const config =
      this.pin.dimensions % 8 === 0
        ? Index.ivfRq({ distanceType: "cosine" })
        : Index.ivfFlat({ distanceType: "cosine" });
    await this.commit(() => this.table.createIndex("vector", { config, replace: true }));
  }

  close(): void {
    this.table.close();
    this.connection.close();
  }

  private async read<T>(run: () => Promise<T>, where?: string): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw await this.fault(error, where);
    }
  }

  private async commit(run: () => Promise<unknown>, where?: string): Promise<void> {
    await this.read(run, where);
    await this.settle();
  }

  /** From here on the newest version counts. */
  async settle(): Promise<void> {
    await this.sync.run();
    await noteCommitted(this.place, await this.version());
  }

  /** An error of a filtered call is the filter's when it cannot even be planned, and else the store's. */
  private async fault(error: unknown, where: string | undefined): Promise<GmeError> {
    if (where === undefined) return storeError(error, this.place);
    const isFilter =
      isFilterFault(error) ||
      (await this.table
        .query()
        .where(where)
        .explainPlan()
        .then(
          () => false,
          () => true,
        ));
    return storeError(error, this.place, isFilter);
  }
}

/** Told by its end before Lance reads it, which panics at some of these. */
async function checkNewestManifest(place: IndexPlace): Promise<void> {
  const [newest] = await manifestFiles(place);
  if (newest !== undefined && !(await isSoundManifest(newest.path))) throw await corruptStore(place, "");
}

/** A pin that cannot be read is damage; a table without one is somebody else's and is left alone. */
async function foreignTable(schema: Arrow.Schema, place: IndexPlace): Promise<GmeError> {
  if (schema.metadata.has(pinKey)) return corruptStore(place, "what its vectors were made with cannot be read");
  const message = `${printable(place.uri)} holds a table "${tableName}" that was not made by gme-embed: give another folder`;
  return new GmeError("GME_STORE_CORRUPT", message, { file: place.uri, field: foreignField, expected: "an index of gme-embed" }); // biome-ignore format: one line says it
}

async function loadBackend(): Promise<Backend> {
  try {
    const lancedb = await import("@lancedb/lancedb");
    // The copy that LanceDB has loaded. An import would load a second one, whose seventy files are all opened at once.
    const arrow = require("apache-arrow") as typeof Arrow;
    return { lancedb, arrow };
  } catch (cause) {
    throw new GmeError(
      "GME_STORE_BACKEND_MISSING",
      "LanceDB, which holds the index, does not load on this machine; install it with: npm install @lancedb/lancedb@0.37.1 apache-arrow@18.1.0",
      { expected: "the package @lancedb/lancedb for this platform (there is none for macOS on Intel)", cause },
    );
  }
}

async function connect({ lancedb }: Backend, place: IndexPlace): Promise<Connection> {
  const session: Session = new lancedb.Session(indexCacheBytes, metadataCacheBytes);
  try {
    return await lancedb.connect(place.uri, { session, readConsistencyInterval: readerInterval });
  } catch (error) {
    throw await storeError(error, place);
  }
}

function keyFilter(keys: readonly string[]): string {
  return `key IN (${keys.map(sqlText).join(", ")})`;
}
