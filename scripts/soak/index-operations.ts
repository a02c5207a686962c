// Random changes of an index and searches in it, beside a Map that says what must be there.
import { readdirSync } from "node:fs";
import type { GmeModel } from "../../lib";
import { type GmeIndex, openIndex } from "../../lib/index-store";
import { distance } from "./expected-items";
import type { SoakRun } from "./soak-run";

const idsMost = 200;
const scoreTolerance = 1e-4;

export class IndexOperations {
  private readonly rows = new Map<string, { text: string; vector: Float32Array }>();
  private index: GmeIndex | undefined;
  private texts = 0;

  constructor(
    private readonly run: SoakRun,
    private readonly folder: string,
    private readonly model: GmeModel,
  ) {}

  /** One random operation; the index has one user at a time. */
  async next(): Promise<void> {
    this.index ??= await openIndex(this.folder, { model: this.model });
    const dice = this.run.random();
    if (dice < 0.4 || this.texts === 0)
      await this.add(this.index); // before its first row there is no index
    else if (dice < 0.55) await this.remove(this.index);
    else if (dice < 0.9) await this.search(this.index);
    else if (dice < 0.97) await this.check(this.index);
    else await this.close();
  }

  async close(): Promise<void> {
    await this.index?.close();
    this.index = undefined;
  }

  private async add(index: GmeIndex): Promise<void> {
    this.run.begin("index add");
    const ids = new Set(Array.from({ length: 1 + Math.floor(this.run.random() * 12) }, () => `note-${Math.floor(this.run.random() * idsMost)}`)); // biome-ignore format: one line says it
    const items = [...ids].map((id) => ({ id, text: `note ${this.texts++} about ${id}` }));
    const { embedded, failed } = await index.add(items);
    if (embedded !== items.length || failed !== 0) this.run.differs("index add", `${embedded} of ${items.length} embedded, ${failed} failed`); // biome-ignore format: one line says it
    for (const { id, text } of items) this.rows.set(id, { text, vector: await this.model.embed({ text }, { isQuery: false }) }); // biome-ignore format: one line says it
  }

  private async remove(index: GmeIndex): Promise<void> {
    if (this.rows.size === 0) return;
    this.run.begin("index remove");
    const ids = this.run.some([...this.rows.keys()], 5);
    const paths = [...new Set(ids)];
    const removed = await index.remove({ paths });
    if (removed !== paths.length) this.run.differs("index remove", `${removed} of ${paths.length} rows`);
    for (const id of paths) this.rows.delete(id);
  }

  /** The nearest rows must be those of a search through the Map; rows of equal score may change places. */
  private async search(index: GmeIndex): Promise<void> {
    this.run.begin("index search");
    const query = `note about ${Math.floor(this.run.random() * idsMost)}`;
    const limit = 1 + Math.floor(this.run.random() * 5);
    const found = await index.search(query, { limit });
    const vector = await this.model.embed(query);
    const scores = [...this.rows.values()].map((row) => dot(row.vector, vector)).sort((a, b) => b - a).slice(0, limit); // biome-ignore format: one line says it
    if (found.length !== scores.length) this.run.differs("index search", `${found.length} of ${scores.length} results`);
    const far = distance(
      Float32Array.from(found, ({ score }) => score),
      Float32Array.from(scores),
    );
    if (!(far <= scoreTolerance)) this.run.differs("index search", `scores differ by ${far}`);
    const unknown = found.filter(({ path, snippet }) => this.rows.get(path)?.text !== snippet);
    if (unknown.length > 0) this.run.differs("index search", `${unknown[0].path} is not there, or has another text`);
  }

  private async check(index: GmeIndex): Promise<void> {
    this.run.begin("index check");
    const { rows, duplicates, bad, missing } = await index.check();
    if (rows !== this.rows.size || duplicates + bad + missing > 0) this.run.differs("index check", `${rows} rows of ${this.rows.size}, ${duplicates} double, ${bad} bad, ${missing} missing`); // biome-ignore format: one line says it
  }

  /** Bytes on disk, which must not grow without bound either. */
  get files(): number {
    return readdirSync(this.folder, { recursive: true }).length;
  }
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, x, i) => sum + x * b[i], 0);
}
