import type { NativeItem, NativeStageTime } from "../binding";
import { cutEmbedding } from "../embedding";
import { type EngineAccess, instructionOf, nativeParams, startJob } from "../embed-run";
import { decodeImage } from "../image-decode";
import type { CheckedInput } from "../input";
import type { ReadEmbedOptions } from "../options";
import { type QueuedCall, untilAborted } from "../queue";

interface Profiled {
  readonly embeddings: Float32Array[];
  readonly stages: NativeStageTime[];
}

/** The call behind profile: all pictures are decoded first, then the engine takes `batchSize` items at a time, as embedBatch does. */
export function profileCall(
  access: EngineAccess,
  inputs: readonly CheckedInput[],
  options: ReadEmbedOptions,
): QueuedCall<NativeItem[], Profiled> {
  const prepare = async () => {
    const items: NativeItem[] = [];
    for (const input of inputs) items.push(await nativeItem(access, input, options));
    return items;
  };
  const run = async (items: NativeItem[]) => {
    const length = access.dimensions;
    const embeddings: Float32Array[] = [];
    const stages = new Map<string, NativeStageTime>();
    for (let first = 0; first < items.length; first += options.batchSize) {
      const chunk = items.slice(first, first + options.batchSize);
      const job = startJob(() => access.native.profile(chunk, nativeParams(options)));
      const profile = await untilAborted(job, options.signal);
      for (let i = 0; i < chunk.length; i++) {
        const vector = profile.vectors.subarray(i * length, (i + 1) * length);
        embeddings.push(cutEmbedding(vector, options.dimensions ?? length));
      }
      for (const stage of profile.stages) addStage(stages, stage);
    }
    return { embeddings, stages: [...stages.values()] };
  };
  return { prepare, run, signal: options.signal };
}

async function nativeItem(access: EngineAccess, input: CheckedInput, options: ReadEmbedOptions): Promise<NativeItem> {
  const item: NativeItem = {};
  if (input.text !== undefined) item.text = input.text;
  if (input.image !== undefined) item.image = await decodeImage(input.image, access.decode, options.signal);
  const instruction = instructionOf(input, options);
  if (instruction !== undefined) item.instruction = instruction;
  return item;
}

function addStage(stages: Map<string, NativeStageTime>, { name, milliseconds, flop, runs }: NativeStageTime): void {
  const sum = stages.get(name);
  if (sum === undefined) stages.set(name, { name, milliseconds, flop, runs });
  else {
    sum.milliseconds += milliseconds;
    sum.flop += flop;
    sum.runs += runs;
  }
}
