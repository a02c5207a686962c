import { GmeError } from "../errors";
import type { LocalWork } from "../local-work";
import type { EmbedProgress, ReadEmbedOptions } from "../options";
import { type CallRequest, fromWireInput, type SentBytes, type WireInput, type WireResult } from "./call-request";
import { pictureFd } from "./engine-channel";
import type { FromEngine } from "./messages";
import { PictureReader, type Region } from "./picture-memory";
import { toWire } from "./wire-error";

/** The engine's side of an isolated model: answers its calls with the model of this process. */
export class CallDesk {
  private readonly open = new Map<number, AbortController>();
  private readonly pictures = new PictureReader(pictureFd);

  constructor(
    private readonly work: LocalWork,
    private readonly send: (message: FromEngine) => void,
  ) {}

  async answer(call: number, request: CallRequest<SentBytes>): Promise<void> {
    const abort = new AbortController();
    this.open.set(call, abort);
    const { reports, ...plain } = request.options;
    const report = (progress: EmbedProgress) => this.send({ type: "called", call, progress });
    const options = { ...plain, signal: abort.signal, ...(reports && { onProgress: report }) };
    const taken: Uint8Array<ArrayBuffer>[] = [];
    const read = (region: Region) => {
      const bytes = this.pictures.read(region);
      taken.push(bytes);
      return bytes;
    };
    try {
      const value = await this.perform(request, options, read);
      if (!hasErrors(value)) for (const bytes of taken) this.pictures.recycle(bytes);
      this.send({ type: "result", call, value, memory: this.work.memory() });
    } catch (error) {
      this.send({ type: "refused", call, error: toWire(GmeError.from(error)), memory: this.work.memory() });
    }
    this.open.delete(call);
  }

  cancel(call: number): void {
    this.open.get(call)?.abort();
  }

  private perform(
    request: CallRequest<SentBytes>,
    options: ReadEmbedOptions,
    readPicture: (region: Region) => Uint8Array,
  ): Promise<unknown> {
    const { work } = this;
    if (request.method === "tokenize") return work.tokenize(request.text, options);
    const read = (input: WireInput<SentBytes>) => fromWireInput(input, work.remote, readPicture);
    if (request.method === "countTokens") return work.countTokens(read(request.inputs[0]), options);
    if (request.method === "stages") return work.stages(read(request.inputs[0]), options);
    const inputs = request.inputs.map(read);
    if (request.method === "embedEach") return this.embedEach(inputs, options);
    if (request.method === "profile") return work.profile(inputs, options);
    return work.embedBatch(inputs, options, "place" in request ? request.place : undefined);
  }

  private async embedEach(
    inputs: ReturnType<typeof fromWireInput>[],
    options: ReadEmbedOptions,
  ): Promise<WireResult[]> {
    return (await this.work.embedEach(inputs, options)).map((result) =>
      result.error === undefined ? result : { index: result.index, error: toWire(result.error) },
    );
  }
}

/** A decoder that was given up, by an abort or after its time, may still be reading its picture. */
function hasErrors(value: unknown): boolean {
  return Array.isArray(value) && value.some((result: { error?: unknown }) => result.error !== undefined);
}
