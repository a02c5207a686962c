// Peers that install from registries, where they are there: npm packages in a folder, PyTorch in a Python. Texts only.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { type Answer, type Item, type Lane, leadingToken, templateTail } from "./lane";
import type { Sides } from "./sides";
import { TorchLane } from "./torch-lane";
import { WorkerLane } from "./worker-lane";

const packages = ["node-llama-cpp", "@fugood/llama.node"];

export interface PeerPlaces {
  /** Folder with node_modules. */
  readonly npm?: string;
  readonly python?: string;
}

class RegistryLane implements Lane {
  readonly isSamePrompt = true;

  constructor(
    readonly name: string,
    private readonly worker: WorkerLane,
  ) {}

  get pid(): number {
    return this.worker.pid;
  }

  embed(items: readonly Item[]): Promise<Answer> {
    const texts = items.map((item) => ("text" in item ? item.text : ""));
    return this.worker.call("embed", prompts(texts)) as Promise<Answer>;
  }

  countTokens(texts: readonly string[]): Promise<number[]> {
    return this.worker.call("count", prompts(texts)) as Promise<number[]>;
  }

  close(): Promise<void> {
    return this.worker.close();
  }
}

const prompts = (texts: readonly string[]) => texts.map((text) => leadingToken + templateTail(text));

/** Starts what is there; `skip` hears of the rest and why. */
export async function startPeers(
  sides: Sides,
  threads: number,
  places: PeerPlaces,
  skip: (message: string) => void,
): Promise<Lane[]> {
  const lanes: Lane[] = [];
  const attempt = async (name: string, start: () => Promise<Lane>) => {
    try {
      lanes.push(sides.add(await start()));
    } catch (error) {
      skip(`skipped ${name}: ${(error as Error).message.trim().split("\n")[0]}`);
    }
  };
  for (const name of packages) {
    const folder = places.npm;
    if (folder === undefined) {
      skip(`skipped ${name}: no --peers folder`);
      continue;
    }
    await attempt(name, async () => {
      const entry = createRequire(join(resolve(folder), "peers.js")).resolve(name);
      const args = [name, entry, sides.files.decoder, String(threads)];
      return new RegistryLane(name, await WorkerLane.start(name, "registry-worker.mjs", args));
    });
  }
  const { python } = places;
  if (python === undefined) skip("skipped PyTorch: no --python program");
  else await attempt("PyTorch", () => TorchLane.start(python, threads, (texts) => sides.gme.countTokens(texts)));
  return lanes;
}
