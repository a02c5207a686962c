import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Test } from "tap";
import { GmeError } from "../../lib/errors";
import { checkPin, pinFor } from "../../lib/index-store/content-key";
import type { Embedder, EmbedOutcome, EmbedTask } from "../../lib/embed-tasks/embed-task";
import { type GmeIndex, type IndexEvent, openIndex } from "../../lib/index-store/index";
import type { IndexEngine } from "../../lib/index-store/index-engine";
import type { AddFilesOptions, IndexPin, IndexSummary } from "../../lib/index-store/index-types";
import { readPdf, readPicture } from "../../lib/embed-tasks/task-files";
import type { ModelInfo } from "../../lib/model-info";
import { temporaryFolder } from "../helpers/fixtures";

const base = temporaryFolder();
let places = 0;

/** An empty folder to be indexed, and where its index will be. */
export function freshPlace(): { folder: string; db: string } {
  const parent = join(base, String(places++));
  const folder = join(parent, "files");
  mkdirSync(folder, { recursive: true });
  return { folder, db: join(parent, "index") };
}

export const dimensions = 16;

const info = {
  name: "counting",
  fingerprint: "f".repeat(64),
  dimensions,
  defaults: {
    positions: "sequential",
    loaderResize: true,
    minImageTokens: 4,
    maxImageTokens: 64,
    orientation: "apply",
    instruction: "",
    specialTokens: "escape",
  },
} as unknown as ModelInfo;

/** An engine without a model: a vector is a function of the content, and files are read as the real engine reads them. */
export class CountingEmbedder implements Embedder {
  readonly info = info;
  /** Tasks that got a vector. */
  embedded = 0;
  /** Called before a batch's files are read. */
  before: ((tasks: readonly EmbedTask[]) => void | Promise<void>) | undefined;
  vectorOf: (task: EmbedTask) => Float32Array = (task) => unitVector(contentOf(task));

  async embed(tasks: readonly EmbedTask[], signal?: AbortSignal): Promise<EmbedOutcome[]> {
    await this.before?.(tasks);
    return Promise.all(
      tasks.map(async (task): Promise<EmbedOutcome> => {
        try {
          if (task.image !== undefined && "path" in task.image) await readPicture(task.image, signal);
          if (task.page !== undefined) await readPdf(task.page.file, signal);
        } catch (error) {
          return { error: GmeError.from(error) };
        }
        this.embedded++;
        return { embedding: this.vectorOf(task), tokens: 10, width: 100, height: 50, thumbnail: noise(task, 2_000) };
      }),
    );
  }

  /** As many as the file says, after "pages=". */
  async countPages({ path }: { path: string }): Promise<number> {
    return Number(/pages=(\d+)/.exec(readFileSync(path, "latin1"))?.[1] ?? 1);
  }

  use() {
    return { busySeconds: 1, spanSeconds: 1, restarts: 0 };
  }

  async close(): Promise<void> {}
}

function contentOf({ text, image, page, query }: EmbedTask): string {
  const file = image !== undefined && "sha256" in image ? image.sha256 : undefined;
  return JSON.stringify([text, file, page?.file.sha256, page?.number, query === undefined]);
}

/** The same text gives the same direction. */
export function unitVector(content: string, length = dimensions): Float32Array {
  const hash = createHash("sha256").update(content).digest();
  const vector = Float32Array.from({ length }, (_, i) => hash[i % 32] - 127.5 + Math.floor(i / 32));
  const norm = Math.hypot(...vector);
  return vector.map((x) => x / norm);
}

function noise(task: EmbedTask, bytes: number): Uint8Array {
  const content = contentOf(task);
  const parts = Array.from({ length: Math.ceil(bytes / 64) }, (_, i) =>
    createHash("sha512").update(`${content}${i}`).digest(),
  );
  return Uint8Array.from(Buffer.concat(parts).subarray(0, bytes));
}

/** An index whose model is `embedder`; closed when the test ends. */
export async function openWith(
  t: Test,
  db: string,
  embedder: Embedder = new CountingEmbedder(),
  options: { readOnly?: boolean } = {},
): Promise<GmeIndex> {
  const index = await openIndex(db, options);
  const engine: Pick<IndexEngine, "get" | "hasModel" | "use" | "close" | "onMessage"> = {
    onMessage: undefined,
    hasModel: true,
    get: async (pin: IndexPin | undefined) => {
      if (pin !== undefined) checkPin(pin, pinFor(embedder.info), db);
      return embedder;
    },
    use: () => embedder.use(),
    close: async () => undefined,
  };
  Object.assign(index, { engine });
  t.teardown(() => index.close());
  return index;
}

export interface RunResult extends IndexSummary {
  readonly events: readonly IndexEvent[];
  readonly failures: readonly Extract<IndexEvent, { type: "failed" }>[];
}

/** One run over the paths by an index of its own. */
export async function runOnce(
  t: Test,
  db: string,
  paths: string | readonly string[],
  embedder: Embedder = new CountingEmbedder(),
  options: AddFilesOptions = {},
): Promise<RunResult> {
  const index = await openWith(t, db, embedder);
  try {
    const events: IndexEvent[] = [];
    const summary = await index.addFiles([paths].flat(), { ...options, onEvent: (event) => events.push(event) });
    const failures = events.flatMap((event) => (event.type === "failed" ? [event] : []));
    return { ...summary, events, failures };
  } finally {
    await index.close();
  }
}

export interface RowRecord {
  readonly key: string;
  readonly kind: string;
  readonly paths: readonly string[];
  readonly text: string;
  readonly vector: string;
}

/** Every row as plain values, ordered by key: equal exactly where the indexes hold the same. */
export async function rowsOf(db: string): Promise<RowRecord[]> {
  const index = await openIndex(db, { readOnly: true });
  try {
    const rows: RowRecord[] = [];
    for await (const entries of index.entries({ vectors: true }))
      for (const { key, kind, paths, snippet = "", page, passage, row, embedding } of entries)
        rows.push({
          ...{ key, kind, paths: [...paths].sort(), text: [snippet, page, passage, row].join("|") },
          vector: Buffer.from((embedding as Float32Array).slice().buffer).toString("hex"),
        });
    return rows.sort((a, b) => (a.key < b.key ? -1 : 1));
  } finally {
    await index.close();
  }
}

export async function checkOf(db: string) {
  const index = await openIndex(db, { readOnly: true });
  try {
    return await index.check();
  } finally {
    await index.close();
  }
}

/** errors.jsonl of an index, line by line. */
export function failuresOf(db: string): Record<string, unknown>[] {
  try {
    const lines = readFileSync(join(db, "errors.jsonl"), "utf8").split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** The file's time as if it had been written so many seconds later. */
export async function touch(path: string, seconds: number): Promise<void> {
  const { mtimeMs } = await stat(path);
  await utimes(path, mtimeMs / 1_000 + seconds, mtimeMs / 1_000 + seconds);
}

/** The store's own table, for faults made by hand. */
export async function rawTable(db: string) {
  const lancedb = await import("@lancedb/lancedb");
  const connection = await lancedb.connect(db);
  return connection.openTable("entries");
}
