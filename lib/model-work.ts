import type { NativeStage, NativeStageTime } from "./binding";
import type { EmbedResult } from "./embed-run";
import type { CheckedInput } from "./input";
import type { EngineProcessReport, ModelMemory } from "./model-info";
import type { ReadEmbedOptions } from "./options";
import type { RemotePolicy } from "./remote-image";

/** Tokens an item takes: of its text, of its picture, and in all, the template included. */
export interface TokenCount {
  text: number;
  image: number;
  total: number;
}

/** A tapped tensor: `shape` [rows, columns] or [columns], `data` row-major. */
export type Stage = NativeStage;

/**
 * Where the time of a call went. Names are "<part>.<work>" ("vision.product", "decoder.attention", "host.patches"); `milliseconds` of
 * wall time, `flop` the multiplications and additions of the stage's products (0 where none are counted), `runs` how often it ran.
 */
export type StageTime = Readonly<NativeStageTime>;

/** What `profile` returns: the vectors, and the stages in the order of first use. They do not overlap. */
export interface EmbedProfile {
  readonly embeddings: Float32Array[];
  readonly stages: readonly StageTime[];
}

/** What stands behind a GmeModel: its engine in this process, or in one of its own. Arguments are checked, calls may overlap. */
export interface ModelWork {
  /** For pictures at http(s) addresses; absent: they are refused. */
  readonly remote?: RemotePolicy;
  /** Set as soon as close() has been called. */
  readonly isClosed: boolean;
  embedBatch(inputs: CheckedInput[], options: ReadEmbedOptions): Promise<Float32Array[]>;
  /** What the source yields is checked as it comes. */
  embedMany(source: unknown, options: ReadEmbedOptions): AsyncGenerator<EmbedResult, void, undefined>;
  countTokens(input: CheckedInput, options: ReadEmbedOptions): Promise<TokenCount>;
  tokenize(text: string, options: ReadEmbedOptions): Promise<Int32Array>;
  profile(inputs: CheckedInput[], options: ReadEmbedOptions): Promise<EmbedProfile>;
  stages(input: CheckedInput, options: ReadEmbedOptions): Promise<Stage[]>;
  /** As it was after the last call. */
  memory(): ModelMemory;
  /** Of each engine's child process; none where the engine is in this one. */
  processes(): readonly EngineProcessReport[];
  close(): Promise<void>;
}
