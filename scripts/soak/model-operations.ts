// Random calls of models that are opened, closed, aborted and killed meanwhile; each outcome is held against what it must be.
import { setTimeout as wait } from "node:timers/promises";
import { type GmeError, type GmeModel, load } from "../../lib";
import { type BadItem, distance, type GoodItem, tolerance } from "./expected-items";
import type { SoakRun } from "./soak-run";

/** A model and what is known of it: the in-memory side of the comparison. */
interface Handle {
  readonly model: GmeModel;
  readonly isIsolated: boolean;
  isClosing: boolean;
  /** How often its process was killed from outside. */
  kills: number;
}

export interface ModelFile {
  readonly path: string;
  readonly mmproj: string;
}

const handlesMin = 2;
const handlesMax = 4;

export class ModelOperations {
  private readonly handles: Handle[] = [];
  private kills = 0;

  constructor(
    private readonly run: SoakRun,
    private readonly file: ModelFile,
    private readonly good: readonly GoodItem[],
    private readonly bad: readonly BadItem[],
    private readonly killEngine: () => boolean,
  ) {}

  /** One random operation; resolves when its outcome is known. */
  async next(): Promise<void> {
    const { run } = this;
    if (this.handles.length < handlesMin) return this.open();
    const handle = run.pick(this.handles);
    const dice = run.random();
    if (dice < 0.35) return this.embed(handle);
    if (dice < 0.5) return this.embedBatch(handle);
    if (dice < 0.65) return this.embedMany(handle);
    if (dice < 0.75) return this.count(handle);
    if (dice < 0.85) return this.badInput(handle);
    if (dice < 0.94) return this.abort(handle);
    if (dice < 0.95) return this.kill(handle);
    if (dice < 0.975) return this.close(handle);
    return this.handles.length < handlesMax ? this.open() : this.embed(handle);
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.handles.splice(0).map(({ model }) => model.close()));
  }

  private async open(): Promise<void> {
    const { run, file } = this;
    const isIsolated = run.random() < 0.3;
    const options = { mmproj: file.mmproj, threads: 1 + Math.floor(run.random() * 2), mmap: run.random() < 0.7, isolate: isIsolated }; // biome-ignore format: one line says it
    run.begin("open");
    const killsBefore = this.kills;
    try {
      this.handles.push({ model: await load(file.path, options), isIsolated, isClosing: false, kills: 0 });
    } catch (error) {
      const isHit = isIsolated && this.kills > killsBefore && (error as GmeError).code === "GME_ENGINE_CRASHED";
      if (isHit) run.note("killed while it loaded");
      else run.differs("open", `a good model did not load: ${error}`);
    }
  }

  /** A closed handle takes nothing any more; what it was given before is still answered. */
  private async close(handle: Handle): Promise<void> {
    this.run.begin("close");
    handle.isClosing = true;
    this.handles.splice(this.handles.indexOf(handle), 1);
    await handle.model.close();
    const late = await outcomeOf(handle.model.embed("late"));
    if (late.code !== "GME_MODEL_CLOSED") this.run.differs("close", `a closed model answered ${late.code}`);
  }

  private async kill(handle: Handle): Promise<void> {
    if (!handle.isIsolated) return;
    this.run.begin("kill");
    for (const other of this.handles) if (other.isIsolated) other.kills++; // the one that is hit is not known
    this.kills++;
    if (!this.killEngine()) this.run.note("nothing to kill");
  }

  private async embed(handle: Handle): Promise<void> {
    const item = this.run.pick(this.good);
    await this.expect("embed", handle, (model) => model.embed(item.input), (vector) => this.compare("embed", item, vector)); // biome-ignore format: one line says it
  }

  private async embedBatch(handle: Handle): Promise<void> {
    const items = this.run.some(this.good, 12);
    const inputs = items.map(({ input }) => input);
    await this.expect("embedBatch", handle, (model) => model.embedBatch(inputs), (vectors) => {
      if (vectors.length !== items.length) this.run.differs("embedBatch", `${vectors.length} of ${items.length} vectors`);
      items.forEach((item, i) => void this.compare("embedBatch", item, vectors[i]));
    }); // biome-ignore format: the two sides stand apart
  }

  private async embedMany(handle: Handle): Promise<void> {
    const items = this.run.some<GoodItem | BadItem>([...this.good, ...this.bad], 16);
    const collect = async (model: GmeModel) => {
      const results = [];
      for await (const result of model.embedMany(items.map(({ input }) => input), { batchSize: 4 })) results.push(result); // biome-ignore format: one line says it
      return results;
    };
    await this.expect("embedMany", handle, collect, (results) => {
      if (results.length !== items.length)
        this.run.differs("embedMany", `${results.length} of ${items.length} results`);
      items.forEach((item, i) => {
        const { index, embedding, error } = results[i] ?? {};
        if (index !== i) this.run.differs("embedMany", `result ${i} has index ${index}`);
        if (error?.code === "GME_ENGINE_CRASHED" && handle.kills > 0) return;
        if ("code" in item && error?.code !== item.code) this.run.differs("embedMany", `${item.code} became ${error?.code ?? "a vector"}`); // biome-ignore format: one line says it
        if ("vector" in item) this.compare("embedMany", item, embedding);
      });
    });
  }

  private async count(handle: Handle): Promise<void> {
    const item = this.run.pick(this.good);
    await this.expect("countTokens", handle, (model) => model.countTokens(item.input), ({ total }) => {
      if (total !== item.tokens) this.run.differs("countTokens", `${total} instead of ${item.tokens}`);
    }); // biome-ignore format: the two sides stand apart
  }

  private async badInput(handle: Handle): Promise<void> {
    const item = this.run.pick(this.bad);
    this.run.begin("bad input");
    const { code } = await outcomeOf(handle.model.embed(item.input));
    if (code !== item.code && !this.isExcused(handle, code))
      this.run.differs("bad input", `${item.code} became ${code}`);
  }

  /** An aborted call has its vectors or GME_ABORTED, nothing else. */
  private async abort(handle: Handle): Promise<void> {
    const abort = new AbortController();
    const items = this.run.some(this.good, 8);
    this.run.begin("abort");
    const call = outcomeOf(handle.model.embedBatch(items.map(({ input }) => input), { signal: abort.signal })); // biome-ignore format: one line says it
    await wait(this.run.random() * 12);
    abort.abort();
    const { code, value } = await call;
    if (code === undefined) items.forEach((item, i) => void this.compare("abort", item, (value as Float32Array[])[i]));
    else if (code !== "GME_ABORTED" && !this.isExcused(handle, code)) this.run.differs("abort", code);
  }

  private async expect<T>(
    name: string,
    handle: Handle,
    call: (model: GmeModel) => Promise<T>,
    check: (value: T) => void,
  ): Promise<void> {
    this.run.begin(name);
    const wasClosing = handle.isClosing;
    const { code, value } = await outcomeOf(call(handle.model));
    if (code === undefined && !wasClosing) check(value as T);
    else if (code === undefined) this.run.differs(name, "a closed model answered");
    else if (!this.isExcused(handle, code)) this.run.differs(name, code);
  }

  /** Calls of a model that was closed or whose process was killed meanwhile may say so. */
  private isExcused(handle: Handle, code: string | undefined): boolean {
    if (code === "GME_MODEL_CLOSED") return handle.isClosing;
    return code === "GME_ENGINE_CRASHED" && handle.kills > 0;
  }

  private compare(name: string, item: GoodItem, vector: Float32Array | undefined): void {
    const far = vector === undefined ? Number.NaN : distance(vector, item.vector);
    if (!(far <= tolerance)) this.run.differs(name, `a vector is ${far} away from the expected one`);
    this.run.worst(far);
  }
}

async function outcomeOf<T>(work: Promise<T>): Promise<{ code?: string; value?: T }> {
  try {
    return { value: await work };
  } catch (error) {
    return { code: (error as GmeError).code ?? String(error) };
  }
}
