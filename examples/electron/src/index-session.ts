import { basename } from "node:path";
import { attribution, type GmeModel, load } from "gme-embed";
import { fsPath, type GmeIndex, type IndexProgress, openIndex, type SearchResult, shownPath } from "gme-embed/index";
import { toProblem } from "./problem";
import type { EngineCalls, EngineEvent, Hit, Progress, Status, Summary } from "./protocol";

export interface SessionOptions {
  readonly indexFolder: string;
  readonly model: string;
  /** `auto`, or `cpu` after a driver has ended the process. */
  readonly device: string;
}

const resultLimit = 60;
const keyPattern = /^[0-9a-f]{16,128}$/;

/** One model and one index: what the app does, without anything of Electron. */
export class IndexSession implements EngineCalls {
  private indexing: AbortController | undefined;
  private searching: AbortController | undefined;

  private constructor(
    private readonly model: GmeModel,
    private readonly entries: GmeIndex,
    private readonly emit: (event: EngineEvent) => void,
  ) {}

  /** The model computes in this process, which is already the one that may end without the app. */
  static async open(options: SessionOptions, emit: (event: EngineEvent) => void): Promise<IndexSession> {
    const model = await load(options.model, { device: options.device });
    try {
      return new IndexSession(model, await openIndex(options.indexFolder, { model }), emit);
    } catch (error) {
      await model.close();
      throw error;
    }
  }

  async status(): Promise<Status> {
    const { name, type, device } = this.model.info;
    return { entries: await this.count(), model: [name, type, device].filter(Boolean).join(", "), attribution };
  }

  async index(folders: readonly string[]): Promise<Summary> {
    if (this.indexing !== undefined) throw new Error("A folder is being indexed; stop it first");
    this.indexing = new AbortController();
    try {
      const { files, embedded, failed, seconds } = await this.entries.addFiles(folders, {
        signal: this.indexing.signal,
        onProgress: (progress) => this.emit({ progress: progressOf(progress) }),
        onEvent: (event) => event.type === "failed" && this.emit({ failed: failureOf(event) }),
      });
      return { files, embedded, failed, seconds };
    } finally {
      this.indexing = undefined;
    }
  }

  async stop(): Promise<void> {
    this.indexing?.abort();
  }

  async search(query: string): Promise<Hit[]> {
    this.searching?.abort();
    this.searching = new AbortController();
    const { signal } = this.searching;
    if (query.trim() === "" || (await this.count()) === 0) return [];
    const results = await this.entries.search(query, { limit: resultLimit, signal });
    return results.map(hitOf);
  }

  async thumbnail(key: string): Promise<Uint8Array | undefined> {
    const thumbnail = (await this.entry(key, true))?.thumbnail;
    return thumbnail && new Uint8Array(thumbnail); // alone: a message carries all of the memory that a view looks into
  }

  async pathOf(key: string): Promise<string | undefined> {
    const path = (await this.entry(key, false))?.path;
    // A name that is no text cannot be given to Electron's shell.
    return path === undefined || typeof fsPath(path) !== "string" ? undefined : path;
  }

  async close(): Promise<void> {
    this.indexing?.abort();
    this.searching?.abort();
    await this.entries.close();
    await this.model.close();
  }

  private async count(): Promise<number> {
    return this.entries.pin === undefined ? 0 : this.entries.count();
  }

  /** Keys are digits only, so that none can carry SQL. */
  private async entry(key: string, thumbnails: boolean): Promise<Omit<SearchResult, "score"> | undefined> {
    if (!keyPattern.test(key) || this.entries.pin === undefined) return undefined;
    for await (const rows of this.entries.entries({ where: `key = '${key}'`, thumbnails })) return rows[0];
    return undefined;
  }
}

function progressOf({ done, total, counted, failed, secondsLeft, current }: IndexProgress): Progress {
  const name = current === undefined ? {} : { current: shownPath(basename(current)) };
  return { done, total, counted, failed, ...(secondsLeft !== undefined && { secondsLeft }), ...name };
}

function failureOf({ path, error }: { path: string; error: unknown }) {
  return { ...toProblem(error), path: shownPath(path) };
}

function hitOf({ key, path, score, kind, page, snippet }: SearchResult): Hit {
  return {
    key,
    name: shownPath(basename(path)),
    score,
    kind,
    hasThumbnail: kind !== "text",
    ...(page !== undefined && { page }),
    ...(snippet !== undefined && { snippet }),
  };
}
