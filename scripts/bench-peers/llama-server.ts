// llama.cpp's server as a lane: items -> GME's template around them -> POST /v1/embeddings -> vectors.
//
// In the pinned version neither --no-cache-prompt nor a field of the request reaches the embeddings endpoint: a slot always
// starts from the tokens that the prompt shares with the slot's previous one. "Cache off" therefore sends prompts of the
// same length whose first token differs from prompt to prompt, so that nothing is shared and every token is computed.
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, type Item, type Lane, leadingToken, templateTail } from "./lane";

export interface ServerOptions {
  readonly program: string;
  readonly decoder: string;
  readonly mmproj: string;
  readonly threads: number;
  readonly slots: number;
  readonly more?: readonly string[];
}

const mediaMarker = "<__media__>";
/** Ids of ordinary tokens, whatever they mean. */
const firstOrdinary = 1_000;
const ordinaryTokens = 50_000;
/** In pictures' prompts, which must be strings, one of these stands in for the first token. */
const standIns = ["<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"];

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

interface EmbeddingsReply {
  data: { embedding: string }[];
  usage: { prompt_tokens: number };
}

export class LlamaServer {
  /** Its log, the last part of it. */
  log = "";
  private prompts = 0;
  private hasEnded = false;

  private constructor(
    private readonly child: ChildProcess,
    private readonly address: string,
  ) {
    child.stdout?.on("data", (chunk) => this.keep(chunk));
    child.stderr?.on("data", (chunk) => this.keep(chunk));
    child.once("exit", () => {
      this.hasEnded = true;
    });
  }

  /** Resolves when it answers. */
  static async start(options: ServerOptions): Promise<LlamaServer> {
    const { program, decoder, mmproj, threads, slots, more = [] } = options;
    const port = await freePort();
    const args = ["-m", decoder, "--mmproj", mmproj, "--embedding", "--pooling", "last", "-t", `${threads}`];
    args.push("-tb", `${threads}`, "-c", "2048", "-b", "2048", "-ub", "512", "-np", `${slots}`, "--no-ui");
    args.push("--host", "127.0.0.1", "--port", `${port}`, ...more);
    const child = spawn(program, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, LLAMA_MEDIA_MARKER: mediaMarker },
    });
    const failed = new Promise<never>((_, reject) => child.once("error", reject));
    const server = new LlamaServer(child, `http://127.0.0.1:${port}`);
    await Promise.race([server.ready(), failed]);
    return server;
  }

  get pid(): number {
    return this.child.pid as number;
  }

  async embed(items: readonly Item[], isCached: boolean): Promise<Answer & { tokens: number }> {
    const input = items.map((item) => (isCached ? this.prompt(item) : this.unsharedPrompt(item)));
    const reply = (await this.post("/v1/embeddings", { input, encoding_format: "base64" })) as EmbeddingsReply;
    const bytes = Uint8Array.from(Buffer.from(reply.data[0].embedding, "base64"));
    return { vectors: reply.data.length, first: new Float32Array(bytes.buffer), tokens: reply.usage.prompt_tokens };
  }

  async countTokens(texts: readonly string[]): Promise<number[]> {
    const counts: number[] = [];
    for (const text of texts) {
      const content = leadingToken + templateTail(text);
      const reply = await this.post("/tokenize", { content, add_special: true, parse_special: true });
      counts.push((reply as { tokens: number[] }).tokens.length);
    }
    return counts;
  }

  lane(isCached: boolean, name: string): Lane {
    const { pid } = this;
    return {
      name,
      pid,
      isSamePrompt: isCached,
      embed: (items) => this.embed(items, isCached),
      countTokens: (texts) => this.countTokens(texts),
      close: () => this.close(),
    };
  }

  async close(): Promise<void> {
    if (this.hasEnded) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGTERM");
    await ended;
  }

  private prompt(item: Item): unknown {
    if ("text" in item) return leadingToken + templateTail(item.text);
    return picturePrompt(leadingToken, item.image);
  }

  private unsharedPrompt(item: Item): unknown {
    const turn = this.prompts++;
    if ("text" in item) return [firstOrdinary + (turn % ordinaryTokens), templateTail(item.text)];
    return picturePrompt(standIns[turn % standIns.length], item.image);
  }

  private async ready(): Promise<void> {
    while (!this.hasEnded) {
      const answers = await fetch(`${this.address}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
      if (answers) return;
      await sleep(5);
    }
    throw new Error(`llama-server ended while it loaded:\n${this.log.slice(-2_000)}`);
  }

  private async post(path: string, body: unknown): Promise<unknown> {
    const response = await fetch(this.address + path, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`llama-server ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  private keep(chunk: Buffer): void {
    this.log = `${this.log}${chunk}`.slice(-200_000);
  }
}

// The server puts the tokens for start and end of the picture around the marker itself.
function picturePrompt(first: string, image: Buffer): unknown {
  return { prompt_string: first + templateTail(mediaMarker), multimodal_data: [image.toString("base64")] };
}
