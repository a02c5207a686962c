import { ProblemError } from "./problem";
import type { Answer, EngineEvent, EngineMethod, EngineParams, EngineResult, FromEngine, ToEngine } from "./protocol";

/** What is used of Electron's UtilityProcess. */
export interface EngineHost {
  postMessage(message: ToEngine): void;
  on(event: "message", listener: (message: FromEngine) => void): unknown;
  on(event: "exit", listener: (code: number) => void): unknown;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Calls to the engine's process. It is started by the first call, and anew by the next one after it has ended. */
export class EngineClient {
  private host: EngineHost | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  private hasAnswered = false;
  private device = "auto";

  constructor(
    private readonly start: (device: string) => EngineHost,
    private readonly onEvent: (event: EngineEvent) => void,
  ) {}

  call<M extends EngineMethod>(method: M, ...params: EngineParams<M>): Promise<EngineResult<M>> {
    this.host ??= this.startHost();
    const { host } = this;
    const id = ++this.lastId;
    return new Promise<EngineResult<M>>((resolve, reject) => {
      this.waiting.set(id, { resolve: (value) => resolve(value as EngineResult<M>), reject });
      host.postMessage({ id, method, params });
    });
  }

  /** Ends the process, if there is one, after what it is at has been written. */
  async close(): Promise<void> {
    if (this.host !== undefined) await this.call("close").catch(() => undefined);
  }

  private startHost(): EngineHost {
    this.hasAnswered = false;
    const host = this.start(this.device);
    host.on("message", (message) => this.receive(message));
    host.on("exit", (code) => this.ended(host, code));
    return host;
  }

  private receive(message: FromEngine): void {
    if ("event" in message) this.onEvent(message.event);
    else this.settle(message.id, message.answer);
  }

  private settle(id: number, answer: Answer<unknown>): void {
    this.hasAnswered = true;
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if ("problem" in answer) waiting?.reject(new ProblemError(answer.problem));
    else waiting?.resolve(answer.value);
  }

  /** A process that ends before its first answer may have met a broken driver: the next one does without. */
  private ended(host: EngineHost, code: number): void {
    if (host !== this.host) return;
    this.host = undefined;
    if (!this.hasAnswered) this.device = "cpu";
    const message = `The engine's process ended with code ${code}`;
    for (const { reject } of this.waiting.values()) reject(new ProblemError({ code: "GME_ENGINE_CRASHED", message }));
    this.waiting.clear();
  }
}
