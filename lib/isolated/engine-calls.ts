import { abortError, describe, GmeError } from "../errors";
import type { EngineProcessReport, ModelInfo, ModelMemory } from "../model-info";
import type { EmbedProgress, LoadOptions } from "../options";
import { closedError } from "../queue";
import { CallLine, CallRecord } from "./call-line";
import { type CallRequest, placePictures } from "./call-request";
import { launchEngine, otherModel } from "./engine-launch";
import { crashError, defaultHangMs, type EngineProcess, type ProcessEnd } from "./engine-process";
import type { FromEngine } from "./messages";
import type { Region } from "./picture-memory";
import { fromWire } from "./wire-error";

/** What concerns one request beside what is sent. */
export interface CallWatch {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: EmbedProgress) => void;
}

/** What answers requests: one engine's process, or several. */
export interface CallTaker {
  /** So many requests are computed at the same time. */
  readonly engines: number;
  readonly isClosed: boolean;
  /** The answer; what it holds lies in the message's memory. */
  submit(request: CallRequest, watch: CallWatch): Promise<unknown>;
  /** As it was after the last call. */
  memory(): ModelMemory;
  /** Of each engine's process. */
  processes(): EngineProcessReport[];
  /** Waits for the calls before it. */
  close(): Promise<void>;
}

interface OpenCall {
  readonly id: number;
  readonly request: CallRequest;
  readonly onProgress?: (progress: EmbedProgress) => void;
  /** Settles the caller's promise; later calls do nothing. */
  settle(outcome: { value: unknown } | { error: GmeError }): void;
  /** Its pictures in the memory shared with the process. */
  regions?: readonly Region[];
}

/** A call that was aborted must let go within this time: then the process is stuck in it and is killed. */
const letGoMs = 30_000;
export const noMemory: ModelMemory = { mappedBytes: 0, ownedBytes: 0, computeBytes: 0, keptBytes: 0 };

/**
 * The engine of one model in a child process. When the process dies, the calls that were with it reject with
 * GME_ENGINE_CRASHED; a new one takes over those that waited. A call that ended two processes is refused.
 */
export class EngineCalls implements CallTaker {
  readonly engines = 1;
  /** Why no process could be started at the last try. */
  launchError: GmeError | undefined;
  private info!: ModelInfo;
  private process: EngineProcess | undefined;
  private state: "down" | "starting" | "ready" = "down";
  private readonly line: CallLine<OpenCall>;
  private readonly calls = new Map<number, OpenCall>();
  private lastMemory = noMemory;
  private callsMade = 0;
  private ends = 0;
  private closing: Promise<void> | undefined;
  private drained: (() => void) | undefined;

  /** Made by open(). */
  private constructor(
    private readonly model: string,
    private readonly options: LoadOptions,
    record: CallRecord,
  ) {
    this.line = new CallLine(record);
  }

  /** Rejects as `load` does, or with GME_ENGINE_CRASHED where the process dies meanwhile. Engines with one record know of each other's crashes. */
  static async open(
    model: string,
    options: LoadOptions,
    record = new CallRecord(),
  ): Promise<{ engine: EngineCalls; info: ModelInfo }> {
    const { signal, onProgress, isolate, ...plain } = options;
    const engine = new EngineCalls(model, plain, record);
    engine.info = await engine.launch(signal, onProgress);
    engine.lastMemory = engine.info.memory;
    engine.state = "ready";
    engine.advance();
    return { engine, info: engine.info };
  }

  get isClosed(): boolean {
    return this.closing !== undefined;
  }

  memory(): ModelMemory {
    return this.lastMemory;
  }

  processes(): EngineProcessReport[] {
    const { state, ends } = this;
    return [{ pid: this.process?.pid, state, silentMs: this.process?.silentMs ?? 0, ends }];
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    if (!this.line.isEmpty) {
      await new Promise<void>((drained) => {
        this.drained = drained;
      });
    }
    this.lastMemory = noMemory;
    await this.process?.close();
  }

  submit(request: CallRequest, { signal, onProgress }: CallWatch): Promise<unknown> {
    if (this.isClosed) return Promise.reject(closedError());
    if (signal?.aborted) return Promise.reject(abortError(signal));
    if (this.line.isFatal(request)) return Promise.reject(fatalError(request));
    return new Promise((resolve, reject) => {
      const onAbort = () => this.abandon(call, abortError(signal));
      const settle: OpenCall["settle"] = (outcome) => {
        signal?.removeEventListener("abort", onAbort);
        if ("error" in outcome) reject(outcome.error);
        else resolve(outcome.value);
      };
      const call: OpenCall = { id: this.callsMade++, request, onProgress, settle };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.line.add(call);
      this.advance();
    });
  }

  /** The caller has its answer; the process is told, and must let go of it soon. */
  private abandon(call: OpenCall, error: GmeError): void {
    call.settle({ error });
    const { process } = this;
    if (!this.line.drop(call) && this.calls.has(call.id)) {
      process?.send({ type: "cancel", call: call.id });
      const timer = setTimeout(() => void (this.calls.has(call.id) && process?.kill()), letGoMs);
      timer.unref();
    }
    this.advance();
  }

  private launch(signal?: AbortSignal, onProgress?: (fraction: number) => void): Promise<ModelInfo> {
    this.state = "starting";
    const { model, options } = this;
    const { process, info } = launchEngine(
      { model, options, hangMs: defaultHangMs, signal, onProgress },
      {
        received: (message) => this.receive(message),
        ended: (end, isLoaded) => {
          this.process = undefined;
          this.state = "down";
          this.ends++;
          if (isLoaded) this.onEnded(end); // else the promise of `info` says what happened
        },
      },
    );
    this.process = process;
    return info;
  }

  private async restart(): Promise<void> {
    try {
      const { fingerprint, memory } = await this.launch();
      if (fingerprint !== this.info.fingerprint) throw otherModel(this.info, fingerprint);
      this.lastMemory = memory;
      this.state = "ready";
      this.launchError = undefined;
    } catch (caught) {
      this.process?.kill();
      const error = GmeError.from(caught);
      this.launchError = error;
      for (const call of this.line.takeWaiting()) call.settle({ error });
    }
    this.advance();
  }

  /** Sends what may be sent now; starts a process where there is work for one. */
  private advance(): void {
    this.process?.keepAlive(!this.line.isEmpty);
    if (this.line.isEmpty) this.drained?.();
    else if (this.state === "down" && this.line.hasWaiting) void this.restart();
    else if (this.state === "ready") for (const call of this.line.next()) this.send(call);
  }

  private send(call: OpenCall): void {
    this.calls.set(call.id, call);
    const { sent, regions } = placePictures(call.request, this.process?.pictures);
    call.regions = regions;
    try {
      this.process?.send({ type: "call", call: call.id, request: sent });
    } catch (cause) {
      const words = `the call cannot be handed to the engine's process: ${describe((cause as Error).message)}`;
      this.finish(call, { error: new GmeError("GME_INPUT_INVALID", words, { field: "input", cause }) });
    }
  }

  private receive(message: FromEngine): void {
    if (message.type === "called") this.report(message.call, message.progress);
    if (message.type !== "result" && message.type !== "refused") return;
    this.lastMemory = message.memory;
    const call = this.calls.get(message.call);
    if (call === undefined) return;
    this.finish(call, message.type === "result" ? { value: message.value } : { error: fromWire(message.error) });
  }

  private finish(call: OpenCall, outcome: { value: unknown } | { error: GmeError }): void {
    this.calls.delete(call.id);
    for (const region of call.regions ?? []) this.process?.pictures?.free(region);
    this.line.done(call);
    call.settle(outcome);
    this.advance();
  }

  private report(id: number, progress: EmbedProgress): void {
    const call = this.calls.get(id);
    try {
      call?.onProgress?.(progress);
    } catch (error) {
      if (call !== undefined) this.abandon(call, GmeError.from(error, "GME_OPTION_INVALID"));
    }
  }

  private onEnded(end: ProcessEnd): void {
    this.calls.clear();
    const open = this.line.crashed();
    const when = open.length === 1 ? "during this call" : `with ${open.length} calls open`;
    for (const call of open) call.settle({ error: crashError(end, when, fileOf(call.request), "call") });
    this.advance();
  }
}

/** The one file that a request names. */
function fileOf(request: CallRequest): string | undefined {
  if (request.method === "tokenize" || request.inputs.length !== 1) return undefined;
  const { image } = request.inputs[0] ?? {};
  return image?.kind === "path" ? image.path : undefined;
}

function fatalError(request: CallRequest): GmeError {
  return new GmeError("GME_ENGINE_CRASHED", "this call ended the engine's process twice and is refused", {
    file: fileOf(request),
    field: "call",
    expected: "a call that the engine survives",
  });
}
