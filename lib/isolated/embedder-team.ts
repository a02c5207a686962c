import type { Embedder, EmbedOutcome, EmbedTask, EngineUse, HashedFile } from "../embed-tasks/embed-task";
import { type GmeError, printable } from "../errors";
import type { ModelInfo } from "../model-info";
import type { LoadOptions } from "../options";
import { IsolatedEngine, type IsolatedEngineSettings } from "./engine-client";
import { otherModel } from "./engine-launch";
import { EngineRota } from "./engine-rota";
import { teamInfo } from "./engine-team";
import { openEngines } from "./team-devices";

/** The calls of an index that an engine has at once: it reads and decodes for the second while it computes the first. */
const callsAtOnce = 2;

/** A model in several child processes, one per device: each call goes to one that is free. */
export class EmbedderTeam implements Embedder {
  readonly info: ModelInfo;
  readonly engines: number;
  private readonly rota: EngineRota<IsolatedEngine>;

  /** Made by start(). */
  private constructor(
    private readonly members: readonly IsolatedEngine[],
    note: string,
    onMessage: (text: string) => void,
  ) {
    const infos = members.map(({ info }) => info);
    this.info = teamInfo(infos, note);
    this.engines = members.length;
    const onLost = (engine: IsolatedEngine, error: GmeError) =>
      onMessage(`the engine on ${engine.info.device} is done without: ${printable(error.message)}`);
    this.rota = new EngineRota(members, callsAtOnce, isUseless, onLost);
  }

  /** Rejects as `load` does, or with GME_ENGINE_CRASHED where a process dies meanwhile. */
  static async start(
    model: string,
    options: LoadOptions,
    { signal, onProgress, onMessage = () => undefined, ...settings }: IsolatedEngineSettings = {},
  ): Promise<EmbedderTeam> {
    const shared = { ...options, ...(signal && { signal }), ...(onProgress && { onProgress }) };
    let opened = 0;
    const { engines, note } = await openEngines(shared, (own) => {
      const name = `engine ${++opened} (${own.device})`;
      return IsolatedEngine.start(model, own, { ...settings, onMessage: (text) => onMessage(`${name}: ${text}`) });
    });
    const [first, ...others] = engines;
    const other = others.find(({ info }) => info.fingerprint !== first.info.fingerprint);
    if (other !== undefined) {
      await Promise.all(engines.map((engine) => engine.close()));
      throw otherModel(first.info, other.info.fingerprint);
    }
    const team = new EmbedderTeam(engines, note, onMessage);
    onMessage(`the model runs on ${team.info.device}${team.info.deviceNote === "" ? "" : `; ${team.info.deviceNote}`}`);
    return team;
  }

  embed(tasks: readonly EmbedTask[], signal?: AbortSignal): Promise<EmbedOutcome[]> {
    return this.rota.run((engine) => engine.embed(tasks, signal), signal);
  }

  countPages(file: HashedFile, signal?: AbortSignal): Promise<number> {
    return this.rota.runNow((engine) => engine.countPages(file, signal));
  }

  use(): EngineUse {
    const parts = this.members.map((member) => member.use());
    const sum = (name: keyof EngineUse) => parts.reduce((total, part) => total + part[name], 0);
    return { busySeconds: sum("busySeconds"), spanSeconds: sum("spanSeconds"), restarts: sum("restarts") };
  }

  /** Rejects the calls that are open with GME_MODEL_CLOSED. */
  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.close()));
  }
}

function isUseless(_: IsolatedEngine, error: unknown): boolean {
  const { code } = error as GmeError;
  return code !== "GME_ABORTED" && code !== "GME_MODEL_CLOSED";
}
