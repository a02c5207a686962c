import { DecodeAhead, type ReadyItem } from "../decode-ahead";
import { abortError, GmeError } from "../errors";
import type { DecodeSettings } from "../image-decode";
import type { GmeModel } from "../model";
import type { ModelInfo } from "../model-info";
import { closedError } from "../queue";
import type { RemotePolicy } from "../remote-image";
import type { Embedder, EmbedOutcome, EmbedTask, EngineUse, HashedFile } from "./embed-task";
import { type CallTask, TaskCall, TaskStream, type TaskWatcher } from "./task-call";
import { TaskClock } from "./task-clock";
import { computeTasks } from "./task-compute";
import { OpenDocuments } from "./task-pages";
import { type PictureSettings, type PreparedPicture, preparePicture } from "./task-pictures";

export interface TaskRunnerSettings {
  /** Default: as the model was loaded. */
  readonly decode?: DecodeSettings;
  /** Most pixels of a drawn page. Default: four times those of the most image tokens, twice the side that the model sees. */
  readonly pagePixels?: number;
  /** For pictures at http(s) addresses; absent: they are refused. */
  readonly remote?: RemotePolicy;
  /** close() closes the model too. Default false: it stays the caller's. */
  readonly closeModel?: boolean;
}

/** With `image` where there is something to decode. */
interface AheadTask extends CallTask {
  readonly image?: unknown;
}

type ReadyTask = ReadyItem<AheadTask, PreparedPicture>;

const batchSize = 32;
/** Decoded pictures that are computed, wait or are about to be; photographs of 12 million pixels go one by one. */
const pixelBudget = 32e6;
const chunkPixels = 12e6;
const tokenPixels = 28 * 28;

/**
 * Computes vectors with a model of this process. The tasks of all calls are one stream in the order of the calls: files
 * are read and decoded, pages drawn and thumbnails made while the model computes earlier ones.
 */
export class TaskRunner implements Embedder {
  readonly info: ModelInfo;
  private readonly pictures: PictureSettings;
  private readonly documents = new OpenDocuments();
  private readonly stream = new TaskStream();
  private readonly ahead: DecodeAhead<AheadTask, PreparedPicture>;
  private readonly clock = new TaskClock();
  private readonly calls = new Set<TaskCall>();
  private readonly running: Promise<void>;
  private closed: GmeError | undefined;
  private chunk: { tasks: readonly ReadyTask[]; abort: AbortController } | undefined;

  constructor(
    private readonly model: GmeModel,
    private readonly settings: TaskRunnerSettings = {},
  ) {
    const { decode, pagePixels, remote } = settings;
    this.info = model.info;
    const { orientation, maxImageTokens } = model.info.defaults;
    this.pictures = {
      decode: decode ?? { orientation, maxImagePixels: model.info.limits.maxImagePixels },
      pagePixels: pagePixels ?? 4 * tokenPixels * maxImageTokens,
      remote,
    };
    this.ahead = new DecodeAhead(this.stream, {
      read: (value) => withPicture(value as CallTask),
      decode: (task) => this.prepare(task),
      batchSize,
      patienceMs: Number.POSITIVE_INFINITY,
      pixelBudget,
      chunkPixels,
    });
    this.running = this.run();
  }

  /** As Embedder.embed; `watcher` is told of each task's stages and outcome as they come. */
  embed(tasks: readonly EmbedTask[], signal?: AbortSignal, watcher?: TaskWatcher): Promise<EmbedOutcome[]> {
    if (this.closed !== undefined) return Promise.reject(this.closed);
    this.clock.tasks(tasks.length);
    const call = new TaskCall(tasks, signal, watcher, (left) => this.onDrop(left));
    this.calls.add(call);
    this.stream.push(call.tasks);
    return call.outcomes.finally(() => this.calls.delete(call));
  }

  async countPages(file: HashedFile, signal?: AbortSignal): Promise<number> {
    if (this.closed !== undefined) throw this.closed;
    return this.documents.use(file, (document) => document.pageCount, signal);
  }

  use(): EngineUse {
    return { busySeconds: this.clock.busySeconds, spanSeconds: this.clock.spanSeconds, restarts: 0 };
  }

  /** Rejects the calls that run with GME_MODEL_CLOSED and stops their computation. */
  async close(): Promise<void> {
    this.stop(closedError());
    await this.ahead.stop();
    await this.running;
    await this.documents.close();
    if (this.settings.closeModel) await this.model.close();
  }

  private stop(error: GmeError): void {
    this.closed ??= error;
    for (const call of [...this.calls]) call.drop(error);
  }

  /** A chunk that others wait for goes on. */
  private onDrop(left: number): void {
    this.clock.tasks(-left);
    if (this.chunk?.tasks.every(isDropped)) this.chunk.abort.abort();
  }

  private settle({ call, index }: CallTask, outcome: EmbedOutcome): void {
    if (call.settle(index, outcome)) this.clock.tasks(-1);
  }

  private async prepare(task: CallTask): Promise<PreparedPicture | undefined> {
    const { call, index } = task;
    const signal = call.dropped;
    if (signal.aborted) throw abortError(signal);
    call.stage(index, "preparing");
    try {
      return await preparePicture(task.task, this.pictures, this.documents, signal);
    } finally {
      call.stage(index, "ready");
    }
  }

  /** One chunk after the other; the next is gathered while the model computes. */
  private async run(): Promise<void> {
    for (let next = this.ahead.nextChunk(); ; ) {
      this.ahead.hurry();
      const chunk = await next;
      if (chunk.length === 0) return;
      next = this.ahead.nextChunk();
      try {
        await this.runChunk(chunk);
      } catch (error) {
        this.stop(GmeError.from(error)); // the model was closed
      }
      this.ahead.release(chunk);
    }
  }

  private async runChunk(chunk: ReadyTask[]): Promise<void> {
    for (const { input, error } of chunk) if (input && error) this.settle(input, { error });
    const tasks = chunk.filter((ready) => ready.error === undefined && !isDropped(ready));
    if (tasks.length === 0) return;
    for (const { input } of tasks) input?.call.stage(input.index, "computing");
    const abort = new AbortController();
    this.chunk = { tasks, abort };
    try {
      const events = {
        begin: () => this.clock.begin(),
        end: () => this.clock.end(),
        outcome: (task: CallTask, outcome: EmbedOutcome) => this.settle(task, outcome),
      };
      await computeTasks(this.model, tasks, events, abort.signal);
    } catch (error) {
      if (!abort.signal.aborted) throw error;
    } finally {
      this.chunk = undefined;
    }
  }
}

function withPicture({ call, index, task }: CallTask): AheadTask {
  return { call, index, task, image: task.image ?? task.page };
}

function isDropped({ input }: ReadyTask): boolean {
  return input?.call.dropped.aborted === true;
}
