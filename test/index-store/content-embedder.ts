import { readFileSync } from "node:fs";
import { GmeError } from "../../lib/errors";
import { checkPin, pinFor } from "../../lib/index-store/content-key";
import type { Embedder, EmbedOutcome, EmbedTask } from "../../lib/embed-tasks/embed-task";
import { EntryTable } from "../../lib/index-store/entry-table";
import type { IndexEngine } from "../../lib/index-store/index-engine";
import { IndexLock } from "../../lib/index-store/index-lock";
import { indexPlace, makePlace } from "../../lib/index-store/index-place";
import { addFiles, type IndexAccess } from "../../lib/index-store/index-session";
import type { AddFilesOptions, IndexSummary } from "../../lib/index-store/index-types";
import type { WriterLimits } from "../../lib/index-store/index-writer";
import { readPdf, readPicture } from "../../lib/embed-tasks/task-files";
import type { ModelInfo } from "../../lib/model-info";
import { unitVector } from "./fault-setup";

const info = {
  name: "by content",
  fingerprint: "c".repeat(64),
  dimensions: 16,
  defaults: {
    ...{ positions: "sequential", loaderResize: true, minImageTokens: 4, maxImageTokens: 64 },
    ...{ orientation: "apply", instruction: "", specialTokens: "escape" },
  },
} as unknown as ModelInfo;

/** The name of what a vector is made of: what `vectorOfContent` makes a vector of. */
export const contentName = {
  text: (text: string) => `text ${text}`,
  picture: (bytes: Uint8Array) => `picture ${Buffer.from(bytes).toString("latin1")}`,
  page: (bytes: Uint8Array, number: number) => `page ${number} of ${Buffer.from(bytes).toString("latin1")}`,
};

export function vectorOfContent(name: string): Float32Array {
  return unitVector(name);
}

/** Marks a picture that cannot be embedded while the engine is ill. */
export const flakyMark = "flaky";

/** An engine without a model: each vector is a function of the bytes that were read, so that a wrong one shows. */
export class ContentEmbedder implements Embedder {
  readonly info = info;
  isIll = true;

  async embed(tasks: readonly EmbedTask[], signal?: AbortSignal): Promise<EmbedOutcome[]> {
    return Promise.all(tasks.map((task) => this.outcome(task, signal)));
  }

  private async outcome(task: EmbedTask, signal: AbortSignal | undefined): Promise<EmbedOutcome> {
    try {
      const name = await nameOf(task, signal);
      if (this.isIll && task.image !== undefined && name.includes(flakyMark))
        throw new GmeError("GME_IMAGE_CORRUPT", "a flaky picture", { expected: "a healthy engine" });
      return { embedding: vectorOfContent(name), tokens: 1 };
    } catch (error) {
      return { error: GmeError.from(error) };
    }
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

async function nameOf({ text, image, page }: EmbedTask, signal: AbortSignal | undefined): Promise<string> {
  if (page !== undefined) return contentName.page(await readPdf(page.file, signal), page.number);
  if (image !== undefined && "path" in image) return contentName.picture((await readPicture(image, signal)) as Uint8Array); // biome-ignore format: one line says it
  return contentName.text(text ?? "");
}

export interface RunPlace {
  readonly db: string;
  readonly paths: readonly string[];
  readonly limits: WriterLimits;
}

/** One run, as `openIndex(db).addFiles(paths)` does it, with another engine and other limits; the engine is closed. */
export async function runWith(
  embedder: Embedder,
  { db, paths, limits }: RunPlace,
  { onOpened, ...options }: AddFilesOptions & { onOpened?: () => void } = {},
): Promise<IndexSummary> {
  const place = indexPlace(db);
  await makePlace(place);
  const lock = await IndexLock.take(place);
  const engine: Pick<IndexEngine, "get" | "hasModel" | "use" | "close" | "onMessage"> = {
    onMessage: undefined,
    hasModel: true,
    get: async (pin) => {
      if (pin !== undefined) checkPin(pin, pinFor(embedder.info), db);
      return embedder;
    },
    use: () => embedder.use(),
    close: () => embedder.close(),
  };
  const access: IndexAccess = {
    place,
    lock,
    engine: engine as IndexEngine,
    table: await EntryTable.open(place),
    limits,
  };
  onOpened?.();
  try {
    return await addFiles(access, paths, options);
  } finally {
    await embedder.close();
    access.table?.close();
    await lock.release();
  }
}
