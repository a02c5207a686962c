import { abortError, type GmeError } from "../errors";
import type { EmbedOutcome, EmbedTask } from "./embed-task";

/** What the engine does with a task: reads and decodes its file, holds it ready, computes its vector. */
export type TaskStage = "preparing" | "ready" | "computing";

/** Told about each task of a call while the call runs. */
export interface TaskWatcher<Outcome = EmbedOutcome> {
  stage?(index: number, stage: TaskStage): void;
  outcome?(index: number, outcome: Outcome): void;
}

/** A task of a call on its way through the engine. */
export interface CallTask<Task = EmbedTask, Outcome = EmbedOutcome> {
  readonly call: TaskCall<Task, Outcome>;
  readonly index: number;
  readonly task: Task;
}

/** One call: its tasks' outcomes, then its promise. After an abort it takes none any more. */
export class TaskCall<Task = EmbedTask, Outcome = EmbedOutcome> {
  readonly tasks: readonly CallTask<Task, Outcome>[];
  readonly outcomes: Promise<Outcome[]>;
  private readonly settled: Outcome[] = [];
  private readonly dropping = new AbortController();
  private left: number;
  private resolve!: (outcomes: Outcome[]) => void;
  private reject!: (error: GmeError) => void;

  /** `onDrop` is told how many tasks had no outcome yet when the call was aborted or dropped. */
  constructor(
    tasks: readonly Task[],
    private readonly signal: AbortSignal | undefined,
    private readonly watcher: TaskWatcher<Outcome> | undefined,
    private readonly onDrop: (left: number) => void,
  ) {
    this.tasks = tasks.map((task, index) => ({ call: this, index, task }));
    this.left = tasks.length;
    this.outcomes = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    signal?.addEventListener("abort", this.onAbort, { once: true });
    if (signal?.aborted) this.onAbort();
    else if (this.left === 0) this.finish();
  }

  /** Aborted as soon as nobody waits for the call any more. */
  get dropped(): AbortSignal {
    return this.dropping.signal;
  }

  stage(index: number, stage: TaskStage): void {
    if (!this.dropped.aborted) this.watcher?.stage?.(index, stage);
  }

  /** Returns false where the task has its outcome already, or nobody waits for one. */
  settle(index: number, outcome: Outcome): boolean {
    if (!this.isOpen(index)) return false;
    this.settled[index] = outcome;
    this.left--;
    this.watcher?.outcome?.(index, outcome);
    if (this.left === 0) this.finish();
    return true;
  }

  /** Whether an outcome of the task is still waited for. */
  isOpen(index: number): boolean {
    return !this.dropped.aborted && this.settled[index] === undefined;
  }

  /** Rejects the call, unless it is done. */
  drop(error: GmeError): void {
    if (this.left === 0 || this.dropped.aborted) return;
    this.signal?.removeEventListener("abort", this.onAbort);
    this.dropping.abort();
    this.reject(error);
    this.onDrop(this.left);
  }

  private readonly onAbort = (): void => this.drop(abortError(this.signal));

  private finish(): void {
    this.signal?.removeEventListener("abort", this.onAbort);
    this.resolve(this.settled);
  }
}

/** The tasks of all calls in their order; those that nobody waits for are left out. */
export class TaskStream implements AsyncIterator<CallTask> {
  private readonly tasks: CallTask[] = [];
  private isOver = false;
  private wake: (() => void) | undefined;

  push(tasks: readonly CallTask[]): void {
    for (const task of tasks) this.tasks.push(task);
    this.wake?.();
  }

  async next(): Promise<IteratorResult<CallTask, undefined>> {
    for (;;) {
      const task = this.tasks.shift();
      if (task !== undefined && !task.call.dropped.aborted) return { done: false, value: task };
      if (task !== undefined) continue;
      if (this.isOver) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  async return(): Promise<IteratorResult<CallTask, undefined>> {
    this.isOver = true;
    this.tasks.length = 0;
    this.wake?.();
    return { done: true, value: undefined };
  }
}
