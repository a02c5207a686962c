import type { CallTask } from "../embed-tasks/task-call";
import { type SentJob, suspects } from "./crash-search";
import type { Job, WireOutcome } from "./messages";

export interface Batch {
  readonly batch: number;
  readonly jobs: readonly SentJob[];
}

/** So many processes that a job ended while it was alone are no chance any more. */
const fatalDeaths = 2;

/** Which jobs are sent when: as they come, but the suspects of a crash in groups, with nothing else open beside. */
export class JobSchedule {
  private queue: SentJob[] = [];
  private groups: SentJob[][] = [];
  private readonly sent = new Map<number, readonly SentJob[]>();
  private isAlone = false;
  private batches = 0;

  add(jobs: readonly CallTask<Job, WireOutcome>[]): void {
    for (const job of jobs) this.queue.push({ ...job, loneDeaths: 0 });
  }

  get hasWaiting(): boolean {
    return this.queue.some(isOpen) || this.groups.some((group) => group.some(isOpen));
  }

  /** What may be sent now; each call's jobs are a batch of their own, so that it can be dropped. */
  next(): Batch[] {
    this.queue = this.queue.filter(isOpen);
    this.groups = this.groups.map((group) => group.filter(isOpen)).filter((group) => group.length > 0);
    if ((this.groups.length > 0 || this.isAlone) && this.sent.size > 0) return [];
    const group = this.groups.shift();
    this.isAlone = group !== undefined;
    if (group !== undefined) return [this.batchOf(group)];
    const calls = new Map<unknown, SentJob[]>();
    for (const job of this.queue) {
      const jobs = calls.get(job.call);
      if (jobs === undefined) calls.set(job.call, [job]);
      else jobs.push(job);
    }
    this.queue = [];
    return [...calls.values()].map((jobs) => this.batchOf(jobs));
  }

  job(batch: number, index: number): SentJob | undefined {
    return this.sent.get(batch)?.[index];
  }

  /** Instead of a batch that could not be sent as a whole. */
  split({ batch, jobs }: Batch): Batch[] {
    this.sent.delete(batch);
    return jobs.map((job) => this.batchOf([job]));
  }

  /** Whether nothing of the batch is waited for any more; it is then forgotten. */
  isDone(batch: number): boolean {
    const jobs = this.sent.get(batch);
    if (jobs?.findLast(isOpen) !== undefined) return false;
    return this.sent.delete(batch);
  }

  /** The batches that became needless, as calls were dropped; they are forgotten. */
  dropped(): number[] {
    return [...this.sent.keys()].filter((batch) => this.isDone(batch));
  }

  /** The process ended: the jobs that were open wait again, but one that is surely to blame. */
  crashed(): { open: number; guilty?: SentJob } {
    const open = [...this.sent.values()].flat().filter(isOpen);
    this.sent.clear();
    if (open.length === 0) return { open: 0 };
    if (this.isAlone && open.length === 1) {
      const [job] = open;
      if (++job.loneDeaths === fatalDeaths) return { open: 1, guilty: job };
      this.groups.unshift([job]);
    } else {
      const { groups, rest } = suspects(open);
      if (this.isAlone) this.groups.unshift(...groups, ...(rest.length > 0 ? [rest] : []));
      else {
        this.groups.push(...groups);
        this.queue = [...rest, ...this.queue];
      }
    }
    return { open: open.length };
  }

  private batchOf(jobs: readonly SentJob[]): Batch {
    const batch = this.batches++;
    for (const job of jobs) job.stage = undefined;
    this.sent.set(batch, jobs);
    return { batch, jobs };
  }
}

function isOpen({ call, index }: SentJob): boolean {
  return call.isOpen(index);
}
