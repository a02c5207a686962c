import type { CrashEntry } from "./crash-record";
import type { ServerMetrics } from "./metrics";

/** What `new BatchingService` may be told; each has a default. */
export interface ServiceSettings {
  /** Items of a batch. */
  readonly maxBatchItems: number;
  /** Estimated tokens of a batch of texts. */
  readonly maxBatchTokens: number;
  /** Estimated tokens of a batch with pictures; a picture that has more goes alone. */
  readonly maxBatchPictureTokens: number;
  /** A batch is made no larger than what should take so long: who comes next does not wait for ever. */
  readonly targetBatchMs: number;
  /** What may wait, in estimated tokens of texts and pictures, in pixels, and in bytes of encoded pictures. */
  readonly maxQueuedTokens: number;
  readonly maxQueuedPixels: number;
  readonly maxQueuedBytes: number;
  /** No request is accepted that would wait longer at the measured rate: what is accepted should be answered in its time. */
  readonly maxWaitSeconds: number;
  /** An engine that has work and finishes nothing for so long is ended. */
  readonly maxJobMs: number;
  /** While nothing runs a short text is embedded so often. */
  readonly probeEveryMs: number;
  /** No answer to it for so long, and the engine counts as hanging. */
  readonly probeMs: number;
  /** No sign of life of the engine's process for so long, and it counts as hanging. */
  readonly silentMs: number;
  /** So many crashes within breakMs, and for as long after the last one no work is taken. */
  readonly maxCrashes: number;
  readonly breakMs: number;
  /** Told once of each crash. */
  readonly onCrash?: (entry: CrashEntry) => void;
  readonly metrics?: ServerMetrics;
}

export const serviceDefaults: ServiceSettings = {
  maxBatchItems: 64,
  maxBatchTokens: 8_192,
  maxBatchPictureTokens: 1_280, // four pictures of 256 tokens with their template, or one of the largest
  targetBatchMs: 2_000,
  maxQueuedTokens: 2 ** 20,
  maxQueuedPixels: 1_024e6, // eight requests with as many pixels as one may have
  maxQueuedBytes: 256 * 2 ** 20,
  maxWaitSeconds: 30,
  maxJobMs: 120_000,
  probeEveryMs: 5_000,
  probeMs: 3_000,
  silentMs: 3_500, // a sign comes each second
  maxCrashes: 5,
  breakMs: 60_000,
};
