import { abortError, GmeError, printable } from "../errors";
import type { ModelInfo } from "../model-info";
import type { LoadOptions } from "../options";
import { crashError, EngineProcess, type ProcessEnd } from "./engine-process";
import type { FromEngine } from "./messages";
import { fromWire } from "./wire-error";

export interface LaunchSettings {
  readonly model: string;
  /** Without functions and signals: they do not cross. */
  readonly options: LoadOptions;
  readonly hangMs: number;
  readonly signal?: AbortSignal;
  /** 0…1 while the model loads. */
  readonly onProgress?: (fraction: number) => void;
}

export interface LaunchListener {
  /** Every message but those of loading. */
  received(message: FromEngine): void;
  /** The process is gone; `isLoaded`: it had the model, so that launchEngine's promise is settled. */
  ended(end: ProcessEnd, isLoaded: boolean): void;
}

/**
 * Starts a process and loads the model in it. `info` rejects as `load` does, or with GME_ENGINE_CRASHED where the process
 * ends meanwhile; it settles after the process has ended, if it rejects.
 */
export function launchEngine(
  { model, options, hangMs, signal, onProgress }: LaunchSettings,
  listener: LaunchListener,
): { process: EngineProcess; info: Promise<ModelInfo> } {
  let resolve!: (info: ModelInfo) => void;
  let reject!: (error: GmeError) => void;
  const info = new Promise<ModelInfo>((...settle) => {
    [resolve, reject] = settle;
  });
  let failure: GmeError | undefined;
  let isLoaded = false;
  const fail = (error: GmeError) => {
    failure ??= error;
    process.kill();
  };
  const onAbort = () => fail(abortError(signal));
  const process = new EngineProcess((message) => {
    if (message.type === "listening") process.send({ type: "load", model, options });
    else if (message.type === "progress") report(message.fraction);
    else if (message.type === "failed") fail(fromWire(message.error));
    else if (message.type === "loaded" && failure === undefined) {
      isLoaded = true;
      signal?.removeEventListener("abort", onAbort);
      resolve(message.info);
    } else listener.received(message);
  }, hangMs);
  const report = (fraction: number) => {
    try {
      onProgress?.(fraction);
    } catch (error) {
      fail(GmeError.from(error, "GME_OPTION_INVALID"));
    }
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  void process.ended.then((end) => {
    signal?.removeEventListener("abort", onAbort);
    listener.ended(end, isLoaded);
    if (!isLoaded) reject(failure ?? crashError(end, "while the model was loaded"));
  });
  return { process, info };
}

/** The error of a restart that found another model than the one it stands for. */
export function otherModel({ file, fingerprint }: ModelInfo, found: string): GmeError {
  return new GmeError("GME_MODEL_MISMATCH", `${printable(file)}: the model's file was replaced by another model's`, {
    file,
    field: "fingerprint",
    value: found,
    expected: fingerprint,
  });
}
