import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Answer, Item, Lane } from "./lane";

/** PyTorch in a process of its own; gets only the lengths of the texts, since its weights are random. */
export class TorchLane implements Lane {
  readonly name = "PyTorch f32";
  readonly isSamePrompt = false;
  private readonly ended: Promise<never>;

  private constructor(
    private readonly child: ChildProcess,
    private readonly lines: Interface,
    private readonly countTemplated: (texts: readonly string[]) => Promise<number[]>,
  ) {
    this.ended = once(child, "exit").then(([code]) => {
      throw new Error(`PyTorch ended with ${code}`);
    });
    this.ended.catch(() => {}); // wanted only where an answer is waited for
  }

  static async start(
    python: string,
    threads: number,
    countTemplated: (texts: readonly string[]) => Promise<number[]>,
  ): Promise<TorchLane> {
    const child = spawn(python, [join(__dirname, "torch_worker.py"), String(threads)], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    let complaint = "";
    child.stderr.on("data", (chunk) => {
      complaint = `${complaint}${chunk}`.slice(-2_000);
    });
    const lines = createInterface({ input: child.stdout });
    await new Promise<void>((resolve, reject) => {
      lines.once("line", () => resolve());
      child.once("error", reject);
      child.once("exit", () => reject(new Error(complaint.trim().split("\n").at(-1))));
    });
    return new TorchLane(child, lines, countTemplated);
  }

  get pid(): number {
    return this.child.pid as number;
  }

  async embed(items: readonly Item[]): Promise<Answer> {
    const texts = items.map((item) => ("text" in item ? item.text : ""));
    const lengths = await this.countTemplated(texts);
    const line = once(this.lines, "line");
    this.child.stdin?.write(`${JSON.stringify(lengths)}\n`);
    const [answer] = await Promise.race([line, this.ended]);
    const { vectors, first } = JSON.parse(answer) as { vectors: number; first: number[] };
    return { vectors, first: Float32Array.from(first) };
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.stdin?.end();
    await ended;
  }
}
