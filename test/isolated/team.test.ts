// load(model, { device: [several] }): an engine per device, with two on the processor in the place of two graphics cards.
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type EmbedResult, type GmeError, type GmeInput, type GmeModel, load, type LoadOptions } from "../../lib";
import { EmbedderTeam } from "../../lib/isolated/embedder-team";
import { IsolatedEngine } from "../../lib/isolated/engine-client";
import { maxDelta } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";
import { enginePids } from "./engine-pids";
import { folder, model as file, pictures, poison, poisonProcesses, samplePaths, sameVectors, texts } from "./engine-setup"; // biome-ignore format: one line says it

const two: LoadOptions = { device: ["cpu", "cpu"], threads: 1 };
/** What is computed beside it moves an f16 model's vectors by some 1e-5. */
const tolerance = 1e-4;

async function openTwo(t: Test, options: LoadOptions = {}): Promise<GmeModel> {
  const model = await load(file, { ...two, ...options });
  t.teardown(() => model.close());
  return model;
}

async function collect(results: AsyncIterable<EmbedResult>): Promise<EmbedResult[]> {
  const all: EmbedResult[] = [];
  for await (const result of results) all.push(result);
  return all;
}

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    ({ code }: GmeError) => code,
  );
}

/** The engines' processes that are started until the test ends answer only once both have an answer; the items that each got since. */
function meeting(t: Test, name: string): () => number[] {
  const place = join(folder, name);
  mkdirSync(place);
  const { NODE_OPTIONS } = process.env;
  process.env.NODE_OPTIONS = `${NODE_OPTIONS ?? ""} --require ${JSON.stringify(join(__dirname, "children", "meeting.cjs"))}`;
  process.env.GME_TEST_MEETING = `2 ${place}`;
  t.teardown(() => {
    if (NODE_OPTIONS === undefined) delete process.env.NODE_OPTIONS;
    else process.env.NODE_OPTIONS = NODE_OPTIONS;
    delete process.env.GME_TEST_MEETING;
  });
  const itemsOf = (mark: string) => readFileSync(join(place, mark), "utf8").split("\n").reduce((sum, line) => sum + Number(line), 0); // biome-ignore format: one line says it
  return () => readdirSync(place).map(itemsOf);
}

const inputs: GmeInput[] = [
  ...Array.from({ length: 30 }, (_, i): GmeInput => `text number ${i}`),
  ...samplePaths.slice(0, 6).map((image) => ({ image })),
  { text: "both", image: readFileSync(samplePaths[7]) },
];

let expected: Float32Array[] = [];
t.before(async () => {
  const one = await load(file, { threads: 1, device: "cpu" });
  expected = await one.embedBatch(inputs);
  await one.close();
});

function sameAsOne(t: Test, vectors: readonly (Float32Array | undefined)[], title: string): void {
  const deltas = vectors.map((vector, i) => maxDelta(vector ?? new Float32Array(0), expected[i]));
  const worst = Math.max(...deltas);
  t.ok(vectors.length === expected.length && worst <= tolerance, `${title}: ${vectors.length} vectors in order, worst |Δ| ${worst}`); // biome-ignore format: one line says it
}

t.test("two engines answer as one does, in order, both at the same time", { timeout: 240_000 }, async (t) => {
  const itemsOfEach = meeting(t, "calls");
  const model = await openTwo(t);
  t.equal(enginePids().length, 2);
  t.match(model.info, {
    device: "cpu,cpu",
    visionDevice: "cpu,cpu",
    deviceDescription: "",
    deviceNote: "",
    threads: 2,
  });
  const first = await model.embedBatch(inputs);
  t.equal(itemsOfEach().length, 2, "neither answered before the other had an answer too");
  sameAsOne(t, first, "embedBatch");
  t.strictSame(await model.embedBatch(inputs), first, "the same batch again has the same bits, whoever computes what");
  const results = await collect(model.embedMany(inputs.map((input, id) => ({ id, ...(typeof input === "string" ? { text: input } : input) })), { batchSize: 4 })); // biome-ignore format: one line says it
  t.strictSame(results.map(({ index, id }) => [index, id]), inputs.map((_, i) => [i, i])); // biome-ignore format: one line says it
  sameAsOne(t, results.map(({ embedding }) => embedding), "embedMany"); // biome-ignore format: one line says it
  sameAsOne(t, await Promise.all(inputs.map((input) => model.embed(input))), "single calls");
  const [a, b] = itemsOfEach();
  t.ok(a > 20 && b > 20, `of the items of three more rounds the engines took ${a} and ${b}`);
  t.match(await model.countTokens("a cat"), { image: 0 });
  t.ok((await model.tokenize("a cat")).length > 0);
  t.equal((await model.profile(inputs.slice(0, 3))).embeddings.length, 3);
  t.ok((await model.inspectStages("a cat")).length > 3);
  const { mappedBytes } = model.info.memory;
  t.ok(mappedBytes > 13e6, `the memory of both: ${mappedBytes} mapped`);
});

t.test(
  "errors keep their item, progress their sum, an abort reaches all, close() waits",
  { timeout: 240_000 },
  async (t) => {
    const model = await load(file, two);
    const bad = (at: number) => inputs.map((input, i) => (i === at ? { image: "/missing.png" } : input));
    for (const at of [0, 17, 36]) {
      const error = await rejectsWith(t, () => model.embedBatch(bad(at)), "GME_IO_ERROR", `item ${at}`);
      t.match(error, { item: at, file: "/missing.png", message: new RegExp(`^item ${at}: `) });
    }
    const pair = await rejectsWith(t, () => model.embedBatch(["a", { image: "/missing.png" }]), "GME_IO_ERROR");
    t.match(pair, { item: 1, message: /^item 1: / }, "alone in its piece");
    const long = await rejectsWith(
      t,
      () => model.embedBatch(["a", "b", "c", "word ".repeat(40_000)]),
      "GME_TEXT_TOO_LONG",
    );
    t.match(long, { item: 3 });
    const results = await collect(model.embedMany(bad(17)));
    t.strictSame(results.flatMap(({ index, error }) => (error === undefined ? [] : [[index, error.code]])), [[17, "GME_IO_ERROR"]]); // biome-ignore format: one line says it
    const seen: { done: number; total?: number }[] = [];
    await model.embedBatch(inputs, { batchSize: 4, onProgress: (progress) => void seen.push(progress) });
    t.match(seen.at(-1), { done: inputs.length, total: inputs.length });
    const failing = () => {
      throw new Error("no");
    };
    await rejectsWith(t, () => model.embedBatch(inputs, { onProgress: failing }), "GME_OPTION_INVALID");
    const abort = new AbortController();
    const calls = [model.embedBatch(inputs, { signal: abort.signal }), model.embedBatch(inputs), collect(model.embedMany(inputs, { signal: abort.signal }))]; // biome-ignore format: one line says it
    const codes = Promise.all(calls.map(codeOf));
    setImmediate(() => abort.abort());
    t.strictSame(await codes, ["GME_ABORTED", undefined, "GME_ABORTED"]);
    const last = [model.embedBatch(inputs), model.embed("a")];
    const closing = model.close();
    t.equal(model.close(), closing, "one promise for all");
    await rejectsWith(t, () => model.embed("late"), "GME_MODEL_CLOSED");
    await closing;
    sameAsOne(t, (await last[0]) as Float32Array[], "accepted before close()");
    t.strictSame([enginePids(), model.info.memory.mappedBytes], [[], 0], "nothing is left");
  },
);

t.test(
  "an engine that dies costs its own calls; what kills two is refused by both",
  { timeout: 240_000 },
  async (t) => {
    poisonProcesses(t);
    const model = await openTwo(t);
    const items: GmeInput[] = inputs.map((input, i) => (i === 3 ? "poison-kill" : input));
    items[33] = { image: poison("segv", "team").path };
    const results = await collect(model.embedMany(items));
    t.strictSame(results.map(({ index }) => index), items.map((_, i) => i)); // biome-ignore format: one line says it
    for (const at of [3, 33]) t.match(results[at].error, { code: "GME_ENGINE_CRASHED" });
    sameAsOne(t, results.map(({ embedding }, i) => ([3, 33].includes(i) ? expected[i] : embedding)), "the others"); // biome-ignore format: one line says it
    t.equal(await codeOf(model.embed("poison-exit")), "GME_ENGINE_CRASHED");
    t.equal(await codeOf(model.embed("poison-exit")), "GME_ENGINE_CRASHED");
    const before = enginePids();
    const refused = await rejectsWith(t, () => model.embed("poison-exit"), "GME_ENGINE_CRASHED");
    t.match(refused.message, /twice and is refused/);
    t.strictSame(enginePids(), before, "no process was harmed by it");
    const stream = model.embedMany(
      Array.from({ length: 200 }, (_, i) => inputs[i % inputs.length]),
      { batchSize: 8 },
    );
    const found = [(await stream.next()).value as EmbedResult];
    process.kill(enginePids()[0], "SIGKILL");
    found.push(...(await collect(stream)));
    t.strictSame(found.map(({ index, error }) => [index, error]), found.map((_, i) => [i, undefined])); // biome-ignore format: one line says it
    const worst = Math.max(...found.map(({ embedding }, i) => maxDelta(embedding as Float32Array, expected[i % inputs.length]))); // biome-ignore format: one line says it
    t.ok(
      found.length === 200 && worst <= tolerance,
      `a process killed in the middle of a stream: 200 vectors, worst |Δ| ${worst}`,
    );
  },
);

t.test("devices that there are not, and choices that are none", { timeout: 240_000 }, async (t) => {
  for (const device of ["cpu,cuda:7", ["cuda:7", "cpu"]]) {
    const error = await rejectsWith(t, () => load(file, { device, threads: 1 }), "GME_DEVICE_UNAVAILABLE");
    t.match(error, { value: "cuda:7", message: /there is no device cuda:7/ });
  }
  await rejectsWith(t, () => load(__filename, two), "GME_GGUF_BAD_MAGIC");
  const signal = AbortSignal.abort();
  await rejectsWith(t, () => load(file, { ...two, signal }), "GME_ABORTED");
  const failing = () => {
    throw new Error("no");
  };
  await rejectsWith(t, () => load(file, { ...two, onProgress: failing }), "GME_OPTION_INVALID");
  t.strictSame(enginePids(), [], "no process is left");
});

t.test(
  "an index's tasks: outcomes in order by both engines at once, a poisoned one set aside",
  { timeout: 240_000 },
  async (t) => {
    const one = await IsolatedEngine.start(file, { threads: 1 });
    const [words, images] = [texts(24), pictures(16)];
    const wanted = [await one.embed(words), await one.embed(images)];
    await one.close();
    const itemsOfEach = meeting(t, "tasks");
    poisonProcesses(t);
    const messages: string[] = [];
    const team = await EmbedderTeam.start(file, two, { onMessage: (text) => void messages.push(text) });
    t.teardown(() => team.close());
    t.match([team.info.device, team.engines, messages], ["cpu,cpu", 2, ["the model runs on cpu,cpu"]]);
    const found = await Promise.all([team.embed(words), team.embed(images)]);
    t.equal(itemsOfEach().length, 2, "neither answered before the other had an answer too");
    for (const i of [0, 1]) sameVectors(t, found[i], wanted[i], `call ${i}`);
    const bad = poison("kill", "tasks");
    const halves = await Promise.all([team.embed(images.map((task, i) => (i === 5 ? { image: bad } : task))), team.embed(words)]); // biome-ignore format: one line says it
    t.match(halves[0][5].error, { code: "GME_ENGINE_CRASHED", file: bad.path });
    const good = (_: unknown, i: number) => i !== 5;
    sameVectors(t, halves[0].filter(good), wanted[1].filter(good), "beside it");
    sameVectors(t, halves[1], wanted[0], "the other call");
    t.ok(
      team.use().restarts >= 2 && messages.some((text) => /^engine [12] \(cpu\): .*is set aside/.test(text)),
      `${messages}`,
    );
    const calls = [team.embed(words), team.embed(images), team.embed(words, AbortSignal.abort())].map(codeOf);
    await team.close();
    t.strictSame(await Promise.all(calls), ["GME_MODEL_CLOSED", "GME_MODEL_CLOSED", "GME_ABORTED"]);
    t.strictSame(enginePids(), []);
  },
);
