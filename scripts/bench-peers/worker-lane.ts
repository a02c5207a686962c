import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { Answer, Item, Lane } from "./lane";

interface Reply {
  ready?: boolean;
  call?: number;
  result?: unknown;
  error?: string;
}

/** A lane whose work runs in a Node process of its own, one call at a time. */
export class WorkerLane implements Lane {
  readonly isSamePrompt = true;
  private calls = 0;
  private readonly waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();

  private constructor(
    readonly name: string,
    private readonly child: ChildProcess,
  ) {
    child.on("message", ({ call, result, error }: Reply) => {
      if (call === undefined) return;
      const { resolve, reject } = this.waiting.get(call) ?? {};
      this.waiting.delete(call);
      if (error === undefined) resolve?.(result);
      else reject?.(new Error(`${name}: ${error}`));
    });
    child.on("exit", (code) => {
      for (const { reject } of this.waiting.values()) reject(new Error(`${name}: ended with ${code}`));
    });
  }

  static start(name: string, script: string, args: readonly string[]): Promise<WorkerLane> {
    const child = fork(join(__dirname, script), args, {
      execArgv: [],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    let complaint = "";
    child.stderr?.on("data", (chunk) => {
      complaint = `${complaint}${chunk}`.slice(-2_000);
    });
    return new Promise((resolve, reject) => {
      child.once("message", () => resolve(new WorkerLane(name, child)));
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`${name}: ended with ${code} while it loaded\n${complaint}`)));
    });
  }

  get pid(): number {
    return this.child.pid as number;
  }

  embed(items: readonly Item[]): Promise<Answer> {
    return this.call("embed", items) as Promise<Answer>;
  }

  call(name: string, argument?: unknown): Promise<unknown> {
    const call = this.calls++;
    return new Promise((resolve, reject) => {
      this.waiting.set(call, { resolve, reject });
      this.child.send({ call, name, argument });
    });
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.disconnect();
    await ended;
  }
}

/** Our library. */
export class GmeLane implements Lane {
  readonly name = "gme";
  readonly isSamePrompt = true;

  private constructor(private readonly worker: WorkerLane) {}

  static async start(model: string, threads: number, packageFolder: string): Promise<GmeLane> {
    return new GmeLane(await WorkerLane.start("gme", "gme-worker.mjs", [model, String(threads), packageFolder]));
  }

  get pid(): number {
    return this.worker.pid;
  }

  embed(items: readonly Item[]): Promise<Answer> {
    return this.worker.embed(items);
  }

  async countTokens(texts: readonly string[]): Promise<number[]> {
    return (await this.counts(texts)).map(({ total }) => total);
  }

  /** Without the template. */
  async countBare(texts: readonly string[]): Promise<number[]> {
    return (await this.counts(texts)).map(({ text }) => text);
  }

  close(): Promise<void> {
    return this.worker.close();
  }

  private counts(texts: readonly string[]): Promise<{ text: number; total: number }[]> {
    return this.worker.call("count", texts) as Promise<{ text: number; total: number }[]>;
  }
}
