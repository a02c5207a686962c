// Starts and keeps the two sides for one type of weights.
import { statSync } from "node:fs";
import { dirname, basename, join } from "node:path";
import { Inputs } from "./inputs";
import type { Lane } from "./lane";
import { LlamaServer, type ServerOptions } from "./llama-server";
import { GmeLane } from "./worker-lane";
import type { ServerKind } from "./works";

export interface Settings {
  /** `${modelPrefix}${type}.gguf`, and beside it the pair that `gme convert --split` makes of it. */
  readonly modelPrefix: string;
  readonly server: string;
  readonly threads: number;
  /** Folder of our package, with dist and the addon. */
  readonly packageFolder: string;
  readonly rounds: number;
  readonly seed: number;
  /** A side that would take longer for one call is left out. */
  readonly patienceMs: number;
}

export interface ModelFiles {
  readonly own: string;
  readonly decoder: string;
  readonly mmproj: string;
}

export function modelFiles({ modelPrefix }: Settings, type: string): ModelFiles {
  const own = `${modelPrefix}${type}.gguf`;
  const decoder = `${modelPrefix}${type}-decoder.gguf`;
  const mmproj = join(dirname(decoder), `mmproj-${basename(decoder)}`);
  for (const file of [own, decoder, mmproj]) statSync(file);
  return { own, decoder, mmproj };
}

export function fileBytes(...files: string[]): number {
  return files.reduce((sum, file) => sum + statSync(file).size, 0);
}

export class Sides {
  readonly inputs: Inputs;
  private readonly servers = new Map<number, LlamaServer>();
  private readonly others: Lane[] = [];

  private constructor(
    private readonly settings: Settings,
    readonly files: ModelFiles,
    readonly gme: GmeLane,
  ) {
    this.inputs = new Inputs((texts) => gme.countBare(texts), settings.seed);
  }

  static async start(settings: Settings, type: string): Promise<Sides> {
    const files = modelFiles(settings, type);
    return new Sides(settings, files, await startGme(settings, files));
  }

  async server(kind: ServerKind): Promise<Lane> {
    const slots = kind.startsWith("16") ? 16 : 1;
    const server =
      this.servers.get(slots) ?? (await LlamaServer.start(serverOptions(this.settings, this.files, slots)));
    this.servers.set(slots, server);
    return server.lane(kind.endsWith("on"), `llama-server, ${kind}`);
  }

  add(lane: Lane): Lane {
    this.others.push(lane);
    return lane;
  }

  async close(): Promise<void> {
    await Promise.all([this.gme, ...this.servers.values(), ...this.others].map((side) => side.close()));
  }
}

export function startGme({ threads, packageFolder }: Settings, { own }: ModelFiles): Promise<GmeLane> {
  return GmeLane.start(own, threads, packageFolder);
}

export function serverOptions(
  settings: Settings,
  { decoder, mmproj }: ModelFiles,
  slots: number,
  more: readonly string[] = [],
): ServerOptions {
  return { program: settings.server, threads: settings.threads, decoder, mmproj, slots, more };
}
