import type { GmeError } from "../errors";
import type { ImageSource } from "../input";
import type { ModelInfo } from "../model-info";

/** A file as it was hashed. Paths are in the lossless form of path-bytes.ts. */
export interface HashedFile {
  readonly path: string;
  /** sha256 of the bytes, hex: what is read for embedding must have it, else GME_CHANGED_WHILE_OPEN. */
  readonly sha256: string;
}

/** One vector to compute; everything it needs beyond the model. */
export interface EmbedTask {
  /** A text, or the caption of a picture. */
  readonly text?: string;
  /** A picture's file, or a picture that has none. */
  readonly image?: HashedFile | { readonly source: ImageSource };
  /** A page of a PDF, from 1; instead of `image`. */
  readonly page?: { readonly file: HashedFile; readonly number: number };
  /** Only queries have one; documents are embedded with the model's default instruction. */
  readonly query?: { readonly instruction?: string };
}

export interface EmbedSuccess {
  readonly embedding: Float32Array;
  /** Text and image tokens of the item, its template included. */
  readonly tokens: number;
  /** Of a picture, upright, in pixels; of a page, in points. */
  readonly width?: number;
  readonly height?: number;
  /** A WebP of at most 256×256 pixels; of pictures and pages that are not queries. */
  readonly thumbnail?: Uint8Array;
  readonly error?: undefined;
}

export type EmbedOutcome = EmbedSuccess | { readonly error: GmeError };

/** How much of its time the model computed. */
export interface EngineUse {
  readonly busySeconds: number;
  /** From the first task's start in the model to the last one's end, less the time in which there was no task at all. */
  readonly spanSeconds: number;
  /** Times that a crashed engine was started again. */
  readonly restarts: number;
}

/** What computes vectors for an index: a model in this process, or one in a child process. */
export interface Embedder {
  readonly info: ModelInfo;
  /** So many calls are computed at the same time. Default 1. */
  readonly engines?: number;
  /**
   * An outcome per task, in order. Calls may overlap: the next call's files are read and decoded while this one's tasks are computed.
   * Rejects only when aborted (GME_ABORTED), closed (GME_MODEL_CLOSED) or unable to go on at all.
   */
  embed(tasks: readonly EmbedTask[], signal?: AbortSignal): Promise<EmbedOutcome[]>;
  /** Rejects with GME_PDF_…, GME_IO_ERROR, GME_CHANGED_WHILE_OPEN, GME_ENGINE_CRASHED. */
  countPages(file: HashedFile, signal?: AbortSignal): Promise<number>;
  use(): EngineUse;
  close(): Promise<void>;
}
