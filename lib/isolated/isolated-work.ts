import type { EmbedResult } from "../embed-run";
import type { CheckedInput } from "../input";
import type { EngineProcessReport, ModelInfo, ModelMemory } from "../model-info";
import type { EmbedProfile, ModelWork, Stage, TokenCount } from "../model-work";
import type { LoadOptions, ReadEmbedOptions } from "../options";
import { remotePolicy } from "../remote-image";
import { embedDealt } from "./batch-pieces";
import { type CallMethod, type CallRequest, type CallValues, toWireInput, toWireOptions } from "./call-request";
import { type CallTaker, type CallWatch, EngineCalls, noMemory } from "./engine-calls";
import { isolatedStream } from "./isolated-stream";

/** A model whose engine, or whose several engines, are in child processes. */
export class IsolatedWork implements ModelWork {
  readonly remote;
  private readonly folder = process.cwd();

  constructor(
    private readonly taker: CallTaker,
    options: LoadOptions,
  ) {
    this.remote = remotePolicy(options.remoteImages);
  }

  /** One engine. Rejects as `load` does, or with GME_ENGINE_CRASHED where the process dies meanwhile. */
  static async open(model: string, options: LoadOptions): Promise<{ work: IsolatedWork; info: ModelInfo }> {
    const { engine, info } = await EngineCalls.open(model, options);
    return { work: new IsolatedWork(engine, options), info: withLiveMemory(info, engine) };
  }

  get isClosed(): boolean {
    return this.taker.isClosed;
  }

  async embedBatch(inputs: CheckedInput[], options: ReadEmbedOptions): Promise<Float32Array[]> {
    const wire = inputs.map((input) => toWireInput(input, this.folder)); // now: the process may change its folder
    const plain = toWireOptions(options);
    const vectors = await embedDealt(wire, this.taker.engines, options, (piece, place, watch) => {
      const request: CallRequest = { method: "embedBatch", inputs: piece, options: plain, place };
      return this.taker.submit(request, watch) as Promise<Float32Array[]>;
    });
    return vectors.map((vector) => Float32Array.from(vector));
  }

  embedMany(source: unknown, options: ReadEmbedOptions): AsyncGenerator<EmbedResult, void, undefined> {
    const each = (inputs: CheckedInput[], signal: AbortSignal) =>
      this.call("embedEach", inputs, { ...options, signal, onProgress: undefined });
    return isolatedStream(source, options, this.remote, each, this.taker.engines);
  }

  async countTokens(input: CheckedInput, options: ReadEmbedOptions): Promise<TokenCount> {
    return this.call("countTokens", [input], options);
  }

  async tokenize(text: string, options: ReadEmbedOptions): Promise<Int32Array> {
    const request: CallRequest = { method: "tokenize", text, options: toWireOptions(options) };
    return Int32Array.from((await this.taker.submit(request, watchOf(options))) as Int32Array);
  }

  async profile(inputs: CheckedInput[], options: ReadEmbedOptions): Promise<EmbedProfile> {
    const { embeddings, stages } = await this.call("profile", inputs, options);
    return { embeddings: embeddings.map((vector) => Float32Array.from(vector)), stages };
  }

  async stages(input: CheckedInput, options: ReadEmbedOptions): Promise<Stage[]> {
    const stages = await this.call("stages", [input], options);
    return stages.map((stage) => ({ ...stage, data: Float32Array.from(stage.data) }));
  }

  memory(): ModelMemory {
    return this.taker.memory();
  }

  processes(): EngineProcessReport[] {
    return this.taker.processes();
  }

  close(): Promise<void> {
    return this.taker.close();
  }

  private async call<Method extends Exclude<CallMethod, "tokenize">>(
    method: Method,
    inputs: readonly CheckedInput[],
    options: ReadEmbedOptions,
  ): Promise<CallValues[Method]> {
    const wire = inputs.map((input) => toWireInput(input, this.folder));
    const request = { method, inputs: wire, options: toWireOptions(options) } as CallRequest;
    return this.taker.submit(request, watchOf(options)) as Promise<CallValues[Method]>;
  }
}

function watchOf({ signal, onProgress }: ReadEmbedOptions): CallWatch {
  return { signal, onProgress };
}

/** The report of a model, with what its engines' memory is at each look. */
export function withLiveMemory(info: ModelInfo, taker: Pick<CallTaker, "memory">): ModelInfo {
  const part = (name: keyof ModelMemory) => ({ enumerable: true, get: () => taker.memory()[name] });
  const names = Object.keys(noMemory) as (keyof ModelMemory)[];
  const properties = Object.fromEntries(names.map((name) => [name, part(name)]));
  const memory = Object.freeze(Object.defineProperties({}, properties)) as ModelMemory;
  return Object.freeze({ ...info, memory });
}
