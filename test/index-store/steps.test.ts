// Random changes to a folder between runs, kills among them, against a plain model of what the rows must be.
// GME_TEST_STEPS: how many (200 by default), GME_TEST_SEED: which.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs"; // biome-ignore format: one line says it
import { extname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { openIndex } from "../../lib/index-store/index";
import { temporaryFolder } from "../helpers/fixtures";
import { ContentEmbedder, contentName, flakyMark, runWith, vectorOfContent } from "./content-embedder";
import { checkOf, randomFrom, smallCommits, startRun, storedRows, whole, writeSamples } from "./index-setup";

const steps = Number(process.env.GME_TEST_STEPS ?? 200);
const seed = Number(process.env.GME_TEST_SEED ?? Date.now() % 1e9);

const hexOf = (vector: Float32Array) => Buffer.from(vector.slice().buffer).toString("hex");

/** What a file's rows are made of: kind and content of each. */
function contentsOf(path: string, bytes: Buffer): string[] {
  const text = bytes.toString();
  if (path.endsWith(".png")) return [`image ${contentName.picture(bytes)}`];
  if (path.endsWith(".txt")) return [`text ${contentName.text(text)}`];
  if (path.endsWith(".jsonl"))
    return text.split("\n").filter((line) => line !== "").map((line) => `text ${contentName.text(JSON.parse(line).text)}`); // biome-ignore format: one line says it
  const pages = Number(/pages=(\d+)/.exec(text)?.[1]);
  return Array.from({ length: pages }, (_, i) => `page ${contentName.page(bytes, i + 1)}`);
}

/** A row's identity: a table's text and a file's text are two rows even where they are equal. */
const rowName = (path: string, content: string) => `${path.endsWith(".jsonl") ? "table" : "file"} ${content}`;

class Walk {
  readonly folder: string;
  readonly db: string;
  /** Per path what the index holds of it. */
  private indexed = new Map<string, string[]>();
  private readonly failed = new Map<string, string>();
  private clock = Date.now() - 1e9;
  private names = 0;
  private isUncertain = false;
  readonly done: string[] = [];

  constructor(
    private readonly t: Test,
    private readonly random: () => number,
  ) {
    const base = temporaryFolder();
    this.folder = join(base, "files");
    this.db = join(base, "index");
    mkdirSync(this.folder);
  }

  async step(): Promise<void> {
    const actions: [string, number, () => void | Promise<void>][] = [
      ["add", 8, () => this.write(this.newPath())],
      ["change", 4, () => this.withFile((path) => this.write(path))],
      ["delete", 2, () => this.withFile((path) => rmSync(path))],
      ["move", 3, () => this.withFile((path) => renameSync(path, this.newPath(extname(path))))],
      ["copy", 3, () => this.withFile((path) => this.copy(path, this.newPath(extname(path))))],
      ["swap", 3, () => this.swap()],
      ["touch", 2, () => this.withFile((path) => this.touch(path))],
      ["run", 4, () => this.run(false)],
      ["retry", 1, () => this.run(true)],
      ["prune", 1, () => this.prune()],
      ["kill", 1.5, () => this.kill()],
    ];
    let at = this.random() * actions.reduce((sum, [, weight]) => sum + weight, 0);
    const isChosen = ([, weight]: (typeof actions)[number]) => {
      at -= weight;
      return at < 0;
    };
    const [name, , act] = actions.find(isChosen) ?? actions[0];
    this.done.push(name);
    await act();
  }

  /** A run over the folder; then rows, and vectors computed, must be the model's. */
  async run(retryFailed: boolean): Promise<void> {
    const before = new Set(this.rows().keys());
    this.settle(retryFailed, before);
    if (this.isUncertain) this.dropVanished();
    const wanted = this.rows();
    const embedder = new ContentEmbedder();
    embedder.isIll = !retryFailed;
    const { embedded } = await runWith(embedder, { db: this.db, paths: [this.folder], limits: smallCommits }, { retryFailed }); // biome-ignore format: one line says it
    if (this.isUncertain) await this.pruneIndex();
    else {
      const fresh = [...wanted.keys()].filter((name) => !before.has(name)).length;
      this.t.equal(embedded, fresh, "each new content is embedded once, nothing else");
    }
    this.isUncertain = false;
    await this.compare(wanted);
  }

  private async compare(wanted: ReadonlyMap<string, Set<string>>): Promise<void> {
    const actual = (await storedRows(this.db)).map(({ kind, vector, paths }) => `${kind} ${hexOf(vector)} ${paths}`);
    const expected = [...wanted].map(([name, paths]) => {
      const [, kind] = name.split(" ");
      const content = name.slice(name.indexOf(kind) + kind.length + 1);
      return `${kind} ${hexOf(vectorOfContent(content))} ${[...paths].sort()}`;
    });
    const isEqual = this.t.strictSame(actual.sort(), expected.sort(), `${expected.length} rows after ${this.last}`);
    if (!isEqual) throw new Error(`the rows differ after ${this.done.length} steps (seed ${seed})`);
  }

  private get last(): string {
    return this.done.slice(-6).join(", ");
  }

  /** The model's run: each file gets its present content, a picture that fails keeps what it had. */
  private settle(retryFailed: boolean, present: ReadonlySet<string>): void {
    for (const path of this.files()) {
      const bytes = readFileSync(path);
      const contents = contentsOf(path, bytes);
      if (this.fails(path, bytes, contents, retryFailed, present)) continue;
      this.failed.delete(path);
      this.indexed.set(path, contents);
    }
  }

  /** A flaky picture whose content is there already by another name needs no engine. */
  private fails(
    path: string,
    bytes: Buffer,
    contents: string[],
    retry: boolean,
    present: ReadonlySet<string>,
  ): boolean {
    const state = `${this.times.get(path)} ${bytes}`;
    if (retry || !path.endsWith(".png") || !bytes.includes(flakyMark)) return false;
    if (this.isSettled(path, contents, state)) return false;
    if (this.failed.get(path) === state) return true;
    if (present.has(rowName(path, contents[0]))) return false;
    this.failed.set(path, state);
    return true;
  }

  private isSettled(path: string, contents: string[], state: string): boolean {
    return this.failed.get(path) !== state && this.indexed.get(path)?.[0] === contents[0];
  }

  private rows(): Map<string, Set<string>> {
    const rows = new Map<string, Set<string>>();
    for (const [path, contents] of this.indexed)
      for (const content of contents) {
        const name = rowName(path, content);
        rows.set(name, (rows.get(name) ?? new Set()).add(path));
      }
    return rows;
  }

  /** A kill leaves the model in doubt about files that vanish before the next run: that one prunes. */
  private async kill(): Promise<void> {
    const request = { db: this.db, paths: [this.folder], limits: smallCommits, byContent: true };
    const { child, opened, ended } = startRun(request);
    await opened;
    await sleep(this.random() * 120);
    child.kill("SIGKILL");
    const { code, signal, stderr } = await ended;
    this.t.ok(signal === "SIGKILL" || code === 0, `a killed run ends by the kill or whole ${stderr}`);
    this.isUncertain = true;
  }

  private async prune(): Promise<void> {
    if (!existsSync(this.db) || this.isUncertain) return this.run(false);
    await this.pruneIndex();
    this.dropVanished();
    await this.compare(this.rows());
  }

  private async pruneIndex(): Promise<void> {
    const index = await openIndex(this.db);
    await index.prune({ force: true }).finally(() => index.close());
  }

  private dropVanished(): void {
    this.indexed = new Map([...this.indexed].filter(([path]) => existsSync(path)));
  }

  private files(): string[] {
    return readdirSync(this.folder).sort().map((name) => join(this.folder, name)); // biome-ignore format: one line says it
  }

  private withFile(act: (path: string) => void): void {
    const files = this.files();
    if (files.length > 0) act(files[Math.floor(this.random() * files.length)]);
  }

  private newPath(extension?: string): string {
    const extensions = [".png", ".png", ".txt", ".pdf", ".jsonl"];
    const name = extension ?? extensions[Math.floor(this.random() * extensions.length)];
    return join(this.folder, `${this.names++}${name}`);
  }

  private readonly times = new Map<string, number>();

  /** Each change has a time of its own, as changes by hand have. */
  private touch(path: string): void {
    this.clock += 1_000;
    utimesSync(path, this.clock / 1_000, this.clock / 1_000);
    this.times.set(path, this.clock);
  }

  /** One of few contents, so that files often have the same one. */
  private write(path: string): void {
    const number = Math.floor(this.random() * 30);
    const picture = number % 7 === 0 ? `${flakyMark} ${number}` : `picture ${number}`;
    const rows = Array.from({ length: 1 + (number % 4) }, () => ({ text: `row ${Math.floor(this.random() * 20)}` }));
    const contents: { [extension: string]: string } = {
      ".png": picture,
      ".txt": `text ${number}`,
      ".pdf": `number ${number} pages=${1 + (number % 5)}`,
      ".jsonl": rows.map((row) => `${JSON.stringify(row)}\n`).join(""),
    };
    writeFileSync(path, contents[extname(path)]);
    this.touch(path);
  }

  private copy(from: string, to: string): void {
    copyFileSync(from, to);
    this.touch(to);
  }

  /** Contents and times change places, as `mv` does it. */
  private swap(): void {
    this.withFile((first) => {
      const others = this.files().filter((path) => path !== first && extname(path) === extname(first));
      if (others.length === 0) return;
      const second = others[Math.floor(this.random() * others.length)];
      renameSync(first, `${this.folder}.swap`);
      renameSync(second, first);
      renameSync(`${this.folder}.swap`, second);
    });
  }
}

t.test(`${steps} random steps (seed ${seed})`, { timeout: 60_000 + steps * 2_000 }, async (t) => {
  const walk = new Walk(t, randomFrom(seed));
  for (let i = 0; i < steps; i++) await walk.step();
  await walk.run(true);
  t.match(await checkOf(walk.db), { duplicates: 0, bad: 0, missing: 0 });
  const counts: { [action: string]: number } = {};
  for (const name of walk.done) counts[name] = (counts[name] ?? 0) + 1;
  t.comment(JSON.stringify(counts));
});

t.test("a reader that searches while a writer indexes sees one committed version each time", async (t) => {
  const base = temporaryFolder();
  const [folder, db] = [join(base, "files"), join(base, "index")];
  writeSamples(folder);
  const { child, ended } = startRun({ db, paths: [folder], limits: smallCommits });
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  let output = "";
  child.stdout?.on("data", (data) => {
    output += data;
  });
  while (!output.includes('"committed"') && !isOver) await sleep(5);
  const index = await openIndex(db, { readOnly: true });
  const embedding = new Float32Array(index.pin?.dimensions ?? 0);
  embedding[0] = 1;
  const counts: number[] = [];
  while (!isOver) {
    const results = await index.search(undefined, { embedding, limit: 1_000 });
    t.ok(results.length === new Set(results.map(({ key }) => key)).size, "no key twice");
    counts.push(results.length);
  }
  await index.close();
  const { code, lines } = await ended;
  t.equal(code, 0);
  const versions = new Set<number>();
  let rows = 0;
  for (const line of lines) {
    if (line.type === "merging") rows += line.rows;
    versions.add(rows);
  }
  t.strictSame(
    counts.filter((count) => !versions.has(count)),
    [],
    "each answer has the rows of a commit",
  );
  t.ok(
    counts.every((count, i) => i === 0 || count >= counts[i - 1]),
    "never fewer than before",
  );
  t.ok(new Set(counts).size > 1, `${counts.length} searches saw ${new Set(counts).size} of ${versions.size} versions`);
  t.match(await checkOf(db), whole);
});
