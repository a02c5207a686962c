import type { CallTask, TaskStage } from "../embed-tasks/task-call";
import { fileOf } from "../embed-tasks/task-compute";
import { printable } from "../errors";
import type { Job, WireOutcome } from "./messages";

/** A job on its way through the engine's process. */
export interface SentJob extends CallTask<Job, WireOutcome> {
  /** What the process said last about it, since it was sent. */
  stage?: TaskStage;
  /** How often the process ended while it had nothing else to do. */
  loneDeaths: number;
}

/**
 * The jobs that were open when the process ended, as groups to be run alone, one after the other: those being read, those
 * being computed, each in halves. `rest` was not touched, if the process's reports can be trusted; where there are none,
 * all are suspects. Every group is smaller than `jobs`, unless that is a single job.
 */
export function suspects(jobs: readonly SentJob[]): { groups: SentJob[][]; rest: SentJob[] } {
  const inStage = (stage: TaskStage) => jobs.filter((job) => job.stage === stage);
  const touched = [inStage("preparing"), inStage("computing")].filter((group) => group.length > 0);
  if (touched.length === 0) return { groups: halves(jobs), rest: [] };
  return { groups: touched.flatMap(halves), rest: jobs.filter((job) => !touched.some((group) => group.includes(job))) };
}

function halves(jobs: readonly SentJob[]): SentJob[][] {
  const middle = Math.ceil(jobs.length / 2);
  return [jobs.slice(0, middle), jobs.slice(middle)].filter((half) => half.length > 0);
}

export function fileOfJob(job: Job): string | undefined {
  return "count" in job ? job.count.path : fileOf(job);
}

/** A job in a message: its file, or the beginning of its text. */
export function nameOf(job: Job): string {
  const file = fileOfJob(job);
  if (file === undefined)
    return "text" in job && job.text ? `the text “${printable(job.text.slice(0, 40))}”` : "a picture";
  const page = "page" in job && job.page !== undefined ? ` page ${job.page.number}` : "";
  return `${printable(file)}${page}`;
}
