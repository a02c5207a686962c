import type { EmbedSuccess, EmbedTask, HashedFile } from "../embed-tasks/embed-task";
import type { TaskStage } from "../embed-tasks/task-call";
import type { ModelInfo, ModelMemory } from "../model-info";
import type { EmbedProgress, LoadOptions } from "../options";
import type { CallRequest, SentBytes } from "./call-request";
import type { WireError } from "./wire-error";

/** What the engine's process is asked to do: a vector, or the number of a PDF's pages. */
export type Job = EmbedTask | { readonly count: HashedFile };

/** To the engine's process. A batch is a list of jobs whose outcomes come one by one, by their index. */
export type ToEngine =
  | { readonly type: "load"; readonly model: string; readonly options: LoadOptions }
  | { readonly type: "run"; readonly batch: number; readonly jobs: readonly Job[] }
  /** Nobody waits for the batch any more. */
  | { readonly type: "drop"; readonly batch: number }
  /** A call of an isolated model, answered by one `result` or `refused`. */
  | { readonly type: "call"; readonly call: number; readonly request: CallRequest<SentBytes> }
  | { readonly type: "cancel"; readonly call: number }
  | { readonly type: "close" };

/** From the engine's process. */
export type FromEngine =
  /** It listens: a message sent earlier may be lost to a preloaded script. */
  | { readonly type: "listening" }
  | { readonly type: "alive"; readonly use?: WireUse }
  | { readonly type: "progress"; readonly fraction: number }
  | { readonly type: "loaded"; readonly info: ModelInfo }
  | { readonly type: "failed"; readonly error: WireError }
  | { readonly type: "stage"; readonly batch: number; readonly index: number; readonly stage: TaskStage }
  | {
      readonly type: "outcome";
      readonly batch: number;
      readonly index: number;
      readonly outcome: WireOutcome;
      readonly use: WireUse;
    }
  | { readonly type: "called"; readonly call: number; readonly progress: EmbedProgress }
  | { readonly type: "result"; readonly call: number; readonly value: unknown; readonly memory: ModelMemory }
  | { readonly type: "refused"; readonly call: number; readonly error: WireError; readonly memory: ModelMemory };

export interface WireUse {
  readonly busySeconds: number;
  readonly spanSeconds: number;
}

export type WireOutcome =
  | EmbedSuccess
  | { readonly pages: number; readonly error?: undefined }
  | { readonly error: WireError };

/** A `URL` cannot be cloned; as text it means the same. */
export function toJob(task: EmbedTask): Job {
  const { image } = task;
  if (image === undefined || !("source" in image) || !(image.source instanceof URL)) return task;
  return { ...task, image: { source: image.source.href } };
}
