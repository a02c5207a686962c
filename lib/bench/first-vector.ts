import { fork } from "node:child_process";
import { extname, join } from "node:path";
import { abortError, GmeError } from "../errors";
import type { LoadOptions } from "../options";

/** What the child process is sent, and what it answers. */
export interface FirstVectorRequest {
  readonly model: string;
  readonly load: LoadOptions;
  readonly text: string;
}

export interface FirstVector {
  /** From the call of load(), the addon's own loading included, until the model is there, and until its first vector. */
  readonly loadMilliseconds: number;
  readonly milliseconds: number;
  /** Most resident memory of that process. */
  readonly maxRssBytes: number;
}

export type FirstVectorAnswer = FirstVector | { readonly error: string };

/** Loads the model in a fresh process and embeds one text. */
export function firstVector(request: FirstVectorRequest, signal?: AbortSignal): Promise<FirstVector> {
  if (signal?.aborted) return Promise.reject(abortError(signal));
  const child = fork(join(__dirname, `first-vector-child${extname(__filename)}`), [], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    execArgv: loaderFlags(process.execArgv),
  });
  const stop = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", stop, { once: true });
  const answer = new Promise<FirstVector>((resolve, reject) => {
    child.once("error", reject);
    child.once("message", (message) => {
      const found = message as FirstVectorAnswer;
      if ("error" in found) reject(new GmeError("GME_ENGINE_CRASHED", found.error));
      else resolve(found);
    });
    child.once("exit", (code, by) => {
      const how = by === null ? `exit code ${code}` : `signal ${by}`;
      reject(
        signal?.aborted
          ? abortError(signal)
          : new GmeError("GME_ENGINE_CRASHED", `the process that loads the model ended (${how})`),
      );
    });
    child.send(request, (error) => error && reject(error));
  });
  return answer.finally(() => {
    signal?.removeEventListener("abort", stop);
    if (child.connected) child.disconnect();
  });
}

/** The flags that say how scripts are loaded (from their TypeScript source, for example). */
function loaderFlags(flags: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < flags.length; i++) {
    if (/^(--import|--require|-r|--loader|--experimental-loader)$/.test(flags[i])) kept.push(flags[i], flags[++i]);
    else if (/^(--import|--require|--loader|--experimental-loader)=/.test(flags[i])) kept.push(flags[i]);
  }
  return kept;
}
