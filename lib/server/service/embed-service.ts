import type { EmbedOptions, EmbedResult, EngineProcessReport, GmeInput, ModelInfo, TokenCount } from "../../index";

/** The part of a GmeModel that the server works with. */
export interface ServedModel {
  readonly dimensions: number;
  readonly info: ModelInfo;
  /** Absent or empty: the engine is in this process. */
  engineProcesses?(): readonly EngineProcessReport[];
  embedMany(items: readonly GmeInput[], options?: EmbedOptions): AsyncGenerator<EmbedResult, void, undefined>;
}

/** An item whose picture has been fetched or decoded from base64, and looked at as far as its header. */
export interface ReadyItem {
  /** Where it stands in the body: errors name it. */
  readonly field: string;
  readonly text?: string;
  /** The encoded picture. */
  readonly image?: Uint8Array;
  /** Of the picture's header; 0 without one. */
  readonly pixels: number;
  /** The instruction in force; absent: the model's default. */
  readonly prompt?: string;
}

export interface EmbeddedItem {
  readonly embedding: Float32Array;
  readonly tokens: TokenCount;
}

export interface EmbedCall {
  /** Whose turn it is: the requests of one client share it. */
  readonly client: string;
  readonly overflow: "error" | "truncate";
  /** Length of the vectors; absent: the model's own. */
  readonly dimensions?: number;
  /** Aborted when the client has gone or the request's time is over; `reason` is then the GmeError of the answer. */
  readonly signal: AbortSignal;
}

/**
 * ready: the engine answers. restarting: its process ended or is silent. broken: it ended too often of late. stopping: no new work is
 * taken; what was accepted is finished.
 */
export type ServiceState = "ready" | "restarting" | "broken" | "stopping";

/** Vectors of the requests that wait together, made together. */
export interface EmbedService {
  readonly state: ServiceState;
  /**
   * Vectors in the order of the items. Rejects as a whole with the first bad item's error, or with GME_QUEUE_FULL, GME_SERVER_STOPPING,
   * GME_ENGINE_RESTARTED, GME_ITEM_REFUSED, or the reason of the signal.
   */
  embed(items: readonly ReadyItem[], call: EmbedCall): Promise<EmbeddedItem[]>;
  /** Takes no new work; settles when what was taken is finished, or after `graceMs`, when it has been given up. */
  stop(graceMs: number): Promise<void>;
}
