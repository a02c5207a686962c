import type { Embedder, EngineUse } from "../embed-tasks/embed-task";
import { TaskRunner } from "../embed-tasks/task-runner";
import { isSeveral } from "../device-names";
import { GmeError, printable } from "../errors";
import { EmbedderTeam } from "../isolated/embedder-team";
import { IsolatedEngine } from "../isolated/engine-client";
import { GmeModel, load } from "../model";
import { checkPin, pinFor } from "./content-key";
import type { IndexPin, OpenIndexOptions } from "./index-types";

/** The index's model, started at the first need: in a child process for writing, in this one for queries alone. */
export class IndexEngine {
  private starting: Promise<Embedder> | undefined;
  private started: Embedder | undefined;
  /** Set while somebody wants to hear of restarts. */
  onMessage: ((message: string) => void) | undefined;

  constructor(
    private readonly options: OpenIndexOptions,
    private readonly uri: string,
  ) {}

  /** Rejects with GME_OPTION_INVALID without a model, GME_MODEL_MISMATCH where `pin` is another one's. */
  async get(pin: IndexPin | undefined, signal?: AbortSignal): Promise<Embedder> {
    this.starting ??= this.start(signal);
    try {
      this.started = await this.starting;
    } catch (error) {
      this.starting = undefined; // the next call tries again
      throw error;
    }
    if (pin !== undefined) checkPin(pin, pinFor(this.started.info), printable(this.uri));
    return this.started;
  }

  get hasModel(): boolean {
    return this.options.model !== undefined;
  }

  use(): EngineUse | undefined {
    return this.started?.use();
  }

  async close(): Promise<void> {
    await this.starting?.then(
      (engine) => engine.close(),
      () => undefined,
    );
  }

  private async start(signal: AbortSignal | undefined): Promise<Embedder> {
    const { model, modelOptions = {}, readOnly } = this.options;
    if (model === undefined)
      throw new GmeError("GME_OPTION_INVALID", "this needs a model: give openIndex the option model", { field: "options.model", expected: "a GmeModel, a GGUF file or the name of a pulled model" }); // biome-ignore format: one line says it
    if (model instanceof GmeModel) return new TaskRunner(model);
    if (readOnly) return new TaskRunner(await load(model, { ...modelOptions, signal }), { closeModel: true });
    const settings = { signal, onMessage: (message: string) => this.onMessage?.(message) };
    const { device } = modelOptions;
    if (device !== undefined && isSeveral(device)) return EmbedderTeam.start(model, modelOptions, settings);
    return IsolatedEngine.start(model, modelOptions, settings);
  }
}
