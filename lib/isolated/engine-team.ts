import type { EngineProcessReport, ModelInfo, ModelMemory } from "../model-info";
import type { LoadOptions } from "../options";
import { closedError } from "../queue";
import { CallRecord } from "./call-line";
import type { CallRequest } from "./call-request";
import { type CallTaker, type CallWatch, EngineCalls, noMemory } from "./engine-calls";
import { otherModel } from "./engine-launch";
import { EngineRota } from "./engine-rota";
import { IsolatedWork, withLiveMemory } from "./isolated-work";
import { openEngines } from "./team-devices";

/** One request that an engine computes, and one whose pictures it decodes meanwhile. */
const requestsAtOnce = 2;

/** The engines of one model on several devices, each in a process of its own, that share the requests. */
class EngineTeam implements CallTaker {
  private readonly rota: EngineRota<EngineCalls>;
  private closing: Promise<void> | undefined;

  constructor(private readonly members: readonly EngineCalls[]) {
    this.rota = new EngineRota(members, requestsAtOnce, (engine, error) => engine.launchError === error);
  }

  get engines(): number {
    return this.members.length;
  }

  get isClosed(): boolean {
    return this.closing !== undefined;
  }

  submit(request: CallRequest, watch: CallWatch): Promise<unknown> {
    if (this.isClosed) return Promise.reject(closedError());
    return this.rota.run((engine) => engine.submit(request, watch), watch.signal);
  }

  memory(): ModelMemory {
    const sum = { ...noMemory } as { -readonly [name in keyof ModelMemory]: number };
    for (const member of this.members) {
      const part = member.memory();
      for (const name of Object.keys(sum) as (keyof ModelMemory)[]) sum[name] += part[name];
    }
    return sum;
  }

  processes(): EngineProcessReport[] {
    return this.members.flatMap((member) => member.processes());
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    await this.rota.drained();
    await Promise.all(this.members.map((member) => member.close()));
  }
}

/** A model with an engine per device of `options.device`. Rejects as `load` does. */
export async function openTeam(model: string, options: LoadOptions): Promise<{ work: IsolatedWork; info: ModelInfo }> {
  const record = new CallRecord();
  const { engines: opened, note } = await openEngines(options, async (own) => {
    const { engine, info } = await EngineCalls.open(model, own, record);
    return { engine, info, close: () => engine.close() };
  });
  const infos = opened.map(({ info }) => info);
  const other = infos.find(({ fingerprint }) => fingerprint !== infos[0].fingerprint);
  if (other !== undefined) {
    await Promise.all(opened.map(({ engine }) => engine.close()));
    throw otherModel(infos[0], other.fingerprint);
  }
  const team = new EngineTeam(opened.map(({ engine }) => engine));
  return { work: new IsolatedWork(team, options), info: withLiveMemory(teamInfo(infos, note), team) };
}

/** What the engines say of themselves, each device in its place; the threads of all. */
export function teamInfo(infos: readonly ModelInfo[], note: string): ModelInfo {
  const list = (name: "device" | "visionDevice") => infos.map((info) => info[name]).join(",");
  const texts = (name: "deviceDescription" | "deviceNote") => infos.map((info) => info[name]).filter((text) => text !== ""); // biome-ignore format: one line says it
  return {
    ...infos[0],
    device: list("device"),
    visionDevice: list("visionDevice"),
    deviceDescription: texts("deviceDescription").join(", "),
    deviceNote: [note, ...texts("deviceNote")].filter((text) => text !== "").join("; "),
    threads: infos.reduce((sum, { threads }) => sum + threads, 0),
  };
}
