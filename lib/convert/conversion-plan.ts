import type { TensorInfo } from "./gguf-header";
import type { GgufMetadata, TensorType } from "./gguf-types";
import type { LowRankUpdate, MergedAdapter } from "./lora-merge";

/**
 * Where a tensor's numbers lie: `runs` pieces of `runBytes` bytes of `file`, the first at `offset`, each `strideBytes` after the one before.
 * Matrices have a run per row, so that whatever works on rows can work on any number of runs.
 */
export interface SourceRuns {
  readonly file: string;
  readonly type: TensorType;
  readonly offset: number;
  readonly runs: number;
  readonly runBytes: number;
  readonly strideBytes: number;
}

/** A tensor of the target; its numbers are converted where the two types differ. */
export interface PlannedOutput extends TensorInfo {
  readonly from: SourceRuns;
  /** The type that was wanted, where the rows could not be cut into its blocks. */
  readonly fellBackFrom?: string;
  /** An adapter's update of the weight, and the weight's row that the first run is. */
  readonly update?: { readonly of: LowRankUpdate; readonly firstRow: number };
}

/** All that is known before the first weight is read. */
export interface ConversionPlan {
  readonly metadata: GgufMetadata;
  readonly outputs: readonly PlannedOutput[];
  /** Tensors of the source that are left out, because no vector depends on them. */
  readonly unneeded: readonly string[];
  /** The adapter that the outputs' updates are from. */
  readonly merged?: MergedAdapter;
}

export function parametersOf(outputs: readonly TensorInfo[]): number {
  return outputs.reduce((sum, { ne }) => sum + ne.reduce((product, n) => product * n, 1), 0);
}
