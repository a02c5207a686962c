import type { Embedder, EmbedOutcome, EmbedSuccess, EmbedTask, EngineUse, HashedFile } from "../embed-tasks/embed-task";
import { TaskCall } from "../embed-tasks/task-call";
import { abortError, GmeError, printable } from "../errors";
import type { ModelInfo } from "../model-info";
import type { LoadOptions } from "../options";
import { closedError } from "../queue";
import { fileOfJob, nameOf, type SentJob } from "./crash-search";
import { launchEngine, otherModel } from "./engine-launch";
import { crashError, defaultHangMs, type EngineProcess, type ProcessEnd } from "./engine-process";
import { type Batch, JobSchedule } from "./job-schedule";
import { type FromEngine, type Job, toJob, type WireOutcome, type WireUse } from "./messages";
import { fromWire, toWire } from "./wire-error";

export interface IsolatedEngineSettings {
  readonly signal?: AbortSignal;
  /** 0…1 while the model loads. */
  readonly onProgress?: (fraction: number) => void;
  /** Told of each restart, and of each file that is set aside, in one line. */
  readonly onMessage?: (text: string) => void;
  /** A process that gives no sign of life for so long is killed as hung. Default 60 s. */
  readonly hangMs?: number;
}

/** So many crashes without a finished task between them make the engine itself suspect: it is given an easy task. */
const probeEvery = 4;
/** Even an engine that can do the easy task is then given up. */
const maxCrashes = 100;
const maxLoadCrashes = 5;
const noUse: WireUse = { busySeconds: 0, spanSeconds: 0 };
const probeBatch = -1;
const probe: Job = { text: "a" };

/**
 * A model in a child process. When the process dies, a new one takes over the tasks that were open: those that it was
 * working on go first, in ever smaller groups, until the one that is to blame is alone. If that one ends a second process,
 * its outcome is GME_ENGINE_CRASHED; all others get their vectors.
 */
export class IsolatedEngine implements Embedder {
  private loadedInfo: ModelInfo | undefined;
  private process: EngineProcess | undefined;
  private state: "down" | "starting" | "probing" | "ready" = "down";
  private readonly schedule = new JobSchedule();
  private readonly calls = new Set<TaskCall<Job, WireOutcome>>();
  private crashesInRow = 0;
  private loadCrashes = 0;
  private restarts = 0;
  private pastUse = noUse;
  private currentUse = noUse;
  private closing: Promise<void> | undefined;

  /** Made by start(). */
  private constructor(
    private readonly model: string,
    private readonly options: LoadOptions,
    private readonly settings: IsolatedEngineSettings,
  ) {}

  /** Rejects as `load` does, or with GME_ENGINE_CRASHED where the process dies meanwhile. */
  static async start(
    model: string,
    options: LoadOptions,
    settings: IsolatedEngineSettings = {},
  ): Promise<IsolatedEngine> {
    const { signal, onProgress, ...rest } = options;
    const engine = new IsolatedEngine(model, rest, {
      ...settings,
      signal: settings.signal ?? signal,
      onProgress: settings.onProgress ?? onProgress,
    });
    engine.loadedInfo = await engine.launch(engine.settings.signal, engine.settings.onProgress);
    engine.state = "ready";
    engine.advance();
    return engine;
  }

  get info(): ModelInfo {
    return this.loadedInfo as ModelInfo;
  }

  /** Of the process that computes now. */
  get pid(): number | undefined {
    return this.process?.pid;
  }

  async embed(tasks: readonly EmbedTask[], signal?: AbortSignal): Promise<EmbedOutcome[]> {
    return (await this.call(tasks.map(toJob), signal)).map(embedOutcome);
  }

  async countPages(file: HashedFile, signal?: AbortSignal): Promise<number> {
    const [outcome] = await this.call([{ count: file }], signal);
    if (outcome.error !== undefined) throw fromWire(outcome.error);
    return "pages" in outcome ? outcome.pages : Number.NaN;
  }

  use(): EngineUse {
    return { ...sum(this.pastUse, this.currentUse), restarts: this.restarts };
  }

  /** Rejects the calls that are open with GME_MODEL_CLOSED and ends the process within two seconds. */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    this.failAll(closedError());
    await this.process?.close();
  }

  private call(jobs: readonly Job[], signal: AbortSignal | undefined): Promise<WireOutcome[]> {
    if (this.closing !== undefined) return Promise.reject(closedError());
    const call = new TaskCall<Job, WireOutcome>(jobs, signal, undefined, () => this.onDrop());
    this.calls.add(call);
    this.schedule.add(call.tasks);
    this.advance();
    return call.outcomes.finally(() => {
      this.calls.delete(call);
      this.advance();
    });
  }

  /** A process with the loaded model. */
  private launch(signal?: AbortSignal, onProgress?: (fraction: number) => void): Promise<ModelInfo> {
    if (signal?.aborted) return Promise.reject(abortError(signal));
    this.state = "starting";
    const { model, options } = this;
    const hangMs = this.settings.hangMs ?? defaultHangMs;
    const { process, info } = launchEngine(
      { model, options, hangMs, signal, onProgress },
      {
        received: (message) => this.receive(message),
        ended: (end, isLoaded) => {
          const wasProbing = this.state === "probing";
          this.process = undefined;
          this.state = "down";
          if (isLoaded) this.onEnded(end, wasProbing);
        },
      },
    );
    this.process = process;
    return info;
  }

  private async restart(): Promise<void> {
    this.restarts++;
    this.pastUse = sum(this.pastUse, this.currentUse);
    this.currentUse = noUse;
    try {
      const { fingerprint } = await this.launch();
      if (fingerprint !== this.info.fingerprint) throw otherModel(this.info, fingerprint);
      this.loadCrashes = 0;
      this.state = this.crashesInRow > 0 && this.crashesInRow % probeEvery === 0 ? "probing" : "ready";
      if (this.state === "probing") this.process?.send({ type: "run", batch: probeBatch, jobs: [probe] });
    } catch (caught) {
      this.process?.kill();
      const error = GmeError.from(caught);
      if (error.code !== "GME_ENGINE_CRASHED" || ++this.loadCrashes === maxLoadCrashes) this.giveUp(error);
    }
    this.advance();
  }

  /** Sends what may be sent now; starts a process where there is work for one. */
  private advance(): void {
    if (this.closing !== undefined) return;
    this.process?.keepAlive(this.calls.size > 0);
    if (this.state === "down" && this.schedule.hasWaiting) void this.restart();
    if (this.state === "ready") for (const batch of this.schedule.next()) this.send(batch);
  }

  private send(batch: Batch): void {
    try {
      this.process?.send({ type: "run", batch: batch.batch, jobs: batch.jobs.map(({ task }) => task) });
    } catch (cause) {
      const [{ call, index, task }] = batch.jobs;
      if (batch.jobs.length > 1) for (const part of this.schedule.split(batch)) this.send(part);
      else call.settle(index, { error: toWire(notCloneable(task, cause)) });
      this.schedule.isDone(batch.batch);
    }
  }

  private receive(message: FromEngine): void {
    if (message.type === "alive") this.currentUse = message.use ?? this.currentUse;
    else if (message.type === "stage") {
      const job = this.schedule.job(message.batch, message.index);
      if (job !== undefined) job.stage = message.stage;
    } else if (message.type === "outcome") {
      this.currentUse = message.use;
      if (message.batch === probeBatch) this.state = "ready";
      else this.crashesInRow = 0;
      const job = this.schedule.job(message.batch, message.index);
      job?.call.settle(job.index, message.outcome);
      if (message.batch === probeBatch || this.schedule.isDone(message.batch)) this.advance();
    }
  }

  /** What nobody waits for is not computed. */
  private onDrop(): void {
    for (const batch of this.schedule.dropped()) this.process?.send({ type: "drop", batch });
    this.advance();
  }

  private onEnded(end: ProcessEnd, wasProbing: boolean): void {
    if (this.closing !== undefined) return;
    const { open, guilty } = this.schedule.crashed();
    if (open > 0) this.crashesInRow++;
    if (wasProbing || this.crashesInRow >= maxCrashes) {
      const times = this.crashesInRow + (wasProbing ? 1 : 0);
      this.giveUp(crashError(end, `${times} times in a row without finishing a task`));
      return;
    }
    if (guilty !== undefined) this.setAside(guilty, end);
    const work = open === 1 ? "with 1 task open" : open > 0 ? `with ${open} tasks open` : "with nothing to do";
    const next = this.schedule.hasWaiting ? "it is started again" : "it is started again when it is needed";
    this.tell(`the engine's process ended ${work} (${end.reason}); ${next}`);
    this.advance();
  }

  private setAside({ call, index, task }: SentJob, end: ProcessEnd): void {
    const name = nameOf(task);
    const error = crashError(end, `twice while it worked on nothing but ${name}, which is set aside`, fileOfJob(task));
    this.tell(`${name} is set aside: the engine's process ended twice on it (${end.reason})`);
    call.settle(index, { error: toWire(error) });
  }

  private giveUp(error: GmeError): void {
    this.crashesInRow = 0;
    this.loadCrashes = 0;
    this.failAll(error);
  }

  private failAll(error: GmeError): void {
    for (const call of [...this.calls]) call.drop(error);
  }

  private tell(text: string): void {
    this.settings.onMessage?.(text);
  }
}

function embedOutcome(outcome: WireOutcome): EmbedOutcome {
  if (outcome.error !== undefined) return { error: fromWire(outcome.error) };
  const { embedding, thumbnail, ...rest } = outcome as EmbedSuccess;
  // Out of the message's memory, which is shared with whatever came beside.
  const copy = { ...rest, embedding: Float32Array.from(embedding) };
  return thumbnail === undefined ? copy : { ...copy, thumbnail: Uint8Array.from(thumbnail) };
}

function sum(a: WireUse, b: WireUse): WireUse {
  return { busySeconds: a.busySeconds + b.busySeconds, spanSeconds: a.spanSeconds + b.spanSeconds };
}

function notCloneable(job: Job, cause: unknown): GmeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `${nameOf(job)} cannot be handed to the engine's process: ${printable(reason)}`;
  return new GmeError("GME_INPUT_INVALID", message, { field: "image", expected: "plain data", cause });
}
