import type { CrashPoints } from "./crash-points";
import type { EntryTable } from "./entry-table";

/** From so many rows on a search goes through a vector index; below, comparing with every row is quick and exact. */
export const vectorIndexRows = 20_000;

/** Partitions that a search visits, and how many times more rows than asked for it compares by their own vectors. */
export const searchProbes = 80;
export const searchRefine = 50;

/** The index is built anew when more than this share of the rows came after it. */
const rebuildShare = 0.5;
/** Readers that opened an older version have so long to finish. */
const keepVersionsMs = 3_600_000;

/** Joins small files, removes old versions, and keeps the vector index up to date. */
export async function maintain(table: EntryTable, crash: CrashPoints): Promise<void> {
  crash.reach("optimize.before");
  await table.optimize(new Date(Date.now() - keepVersionsMs));
  crash.reach("optimize.after");
}

export interface RecallReport {
  readonly rows: number;
  readonly seconds: number;
  /** Of the ten nearest rows found with the index, the share that an exact search finds; on rows of the index as queries. */
  readonly recall: number;
  readonly queries: number;
  /** Of a query through the index. */
  readonly medianMs: number;
}

/** Builds the vector index where there are enough rows and none that fits; undefined when there was nothing to do. */
export async function ensureVectorIndex(
  table: EntryTable,
  threshold = vectorIndexRows,
): Promise<RecallReport | undefined> {
  const rows = await table.countRows();
  if (rows < threshold) return undefined;
  const present = await table.vectorIndex();
  if (present !== undefined && present.unindexedRows <= present.indexedRows * rebuildShare) return undefined;
  const start = performance.now();
  await table.buildVectorIndex();
  const seconds = (performance.now() - start) / 1_000;
  return { rows, seconds, ...(await measureRecall(table)) };
}

const recallQueries = 20;
const recallLimit = 10;

/** Recall@10 of the vector index against exact search, on rows spread over the table as queries. */
export async function measureRecall(table: EntryTable): Promise<Omit<RecallReport, "rows" | "seconds">> {
  const queries: Float32Array[] = [];
  for await (const rows of table.scan(["key", "vector"], { limit: recallQueries }))
    queries.push(...rows.map(({ vector }) => vector as Float32Array));
  let hits = 0;
  let wanted = 0;
  const times: number[] = [];
  for (const query of queries) {
    const columns = ["key"];
    const exact = await table.nearest(query, { columns, limit: recallLimit, exact: true });
    const start = performance.now();
    const found = await table.nearest(query, {
      columns,
      limit: recallLimit,
      probes: searchProbes,
      refine: searchRefine,
    });
    times.push(performance.now() - start);
    const right = new Set(exact.map(({ key }) => key));
    hits += found.filter(({ key }) => right.has(key)).length;
    wanted += right.size;
  }
  times.sort((a, b) => a - b);
  return { recall: wanted === 0 ? 1 : hits / wanted, queries: queries.length, medianMs: times[times.length >> 1] ?? 0 };
}
