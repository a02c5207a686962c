import { GmeError } from "../errors";
import type { LocalWork } from "../local-work";
import type { EmbedProgress, ReadEmbedOptions } from "../options";
import { type CallRequest, fromWireInput, type WireInput, type WireResult } from "./call-request";
import { type FromEngine, toWire } from "./messages";

/** The engine's side of an isolated model: answers its calls with the model of this process. */
export class CallDesk {
  private readonly open = new Map<number, AbortController>();

  constructor(
    private readonly work: LocalWork,
    private readonly send: (message: FromEngine) => void,
  ) {}

  async answer(call: number, request: CallRequest): Promise<void> {
    const abort = new AbortController();
    this.open.set(call, abort);
    const { reports, ...plain } = request.options;
    const report = (progress: EmbedProgress) => this.send({ type: "called", call, progress });
    const options = { ...plain, signal: abort.signal, ...(reports && { onProgress: report }) };
    try {
      const value = await this.perform(request, options);
      this.send({ type: "result", call, value, memory: this.work.memory() });
    } catch (error) {
      this.send({ type: "refused", call, error: toWire(GmeError.from(error)), memory: this.work.memory() });
    }
    this.open.delete(call);
  }

  cancel(call: number): void {
    this.open.get(call)?.abort();
  }

  private perform(request: CallRequest, options: ReadEmbedOptions): Promise<unknown> {
    const { work } = this;
    if (request.method === "tokenize") return work.tokenize(request.text, options);
    const read = (input: WireInput) => fromWireInput(input, work.remote);
    if (request.method === "countTokens") return work.countTokens(read(request.inputs[0]), options);
    if (request.method === "stages") return work.stages(read(request.inputs[0]), options);
    const inputs = request.inputs.map(read);
    if (request.method === "embedEach") return this.embedEach(inputs, options);
    return request.method === "profile" ? work.profile(inputs, options) : work.embedBatch(inputs, options);
  }

  private async embedEach(
    inputs: ReturnType<typeof fromWireInput>[],
    options: ReadEmbedOptions,
  ): Promise<WireResult[]> {
    return (await this.work.embedEach(inputs, options)).map(({ index, embedding, error }) =>
      error === undefined ? { index, embedding } : { index, error: toWire(error) },
    );
  }
}
