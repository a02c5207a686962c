// load(model, { isolate: true }): the same API, and a crash of the engine costs only the calls that were with it.
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type EmbedResult, type GmeError, type GmeInput, type GmeModel, load } from "../../lib";
import { root } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { enginePids } from "./engine-pids";
import { folder, model as file, poison, poisonProcesses, samplePaths } from "./engine-setup";

const options = { threads: 1 };

async function openIsolated(t: Test): Promise<GmeModel> {
  const model = await load(file, { ...options, isolate: true });
  t.teardown(() => model.close());
  return model;
}

async function collect(results: AsyncIterable<EmbedResult>): Promise<EmbedResult[]> {
  const all: EmbedResult[] = [];
  for await (const result of results) all.push(result);
  return all;
}

/** What a call came to, as plain data. */
async function outcomeOf(work: Promise<unknown>): Promise<unknown> {
  try {
    return await work;
  } catch (error) {
    const { code, message, field, value, item, name } = error as GmeError;
    return { code, message, field, value, item, name };
  }
}

t.test("an isolated model answers every call as one of this process does", async (t) => {
  const there = await openIsolated(t);
  const here = await load(file, options);
  t.teardown(() => here.close());
  const picture = readFileSync(samplePaths[1]);
  const raw = { data: Uint8Array.from({ length: 60 * 40 * 3 }, (_, i) => (i * 31) % 256), width: 60, height: 40 };
  const inputs: GmeInput[] = ["a cat", { text: "a dog", prompt: "Find it." }, { image: samplePaths[0] }, { text: "both", image: picture }, { image: raw }]; // biome-ignore format: one line says it
  const same = async (title: string, call: (model: GmeModel) => Promise<unknown>) =>
    t.strictSame(await outcomeOf(call(there)), await outcomeOf(call(here)), title);
  t.strictSame(JSON.parse(JSON.stringify(there.info)), JSON.parse(JSON.stringify(here.info)), "info");
  await same("embedBatch", (model) => model.embedBatch(inputs));
  for (const input of inputs) await same("embed", (model) => model.embed(input, { instruction: "Say it." }));
  await same("a document, cut", (model) => model.embed("a", { isQuery: false, dimensions: 16, allowTruncation: true }));
  await same("embedMany", (model) => collect(model.embedMany([...inputs, { id: 9, text: "last" }], { batchSize: 2 })));
  await same("embedMany with tokens", (model) => collect(model.embedMany(inputs, { batchSize: 2, countTokens: true })));
  await same("countTokens", (model) => model.countTokens(inputs[3]));
  await same("tokenize", (model) => model.tokenize("hello world <|im_end|>", { specialTokens: "parse" }));
  await same("inspectStages", (model) => model.inspectStages({ image: samplePaths[2] }));
  await same("profile", async (model) => (await model.profile(inputs)).embeddings);
  await same("getFusedEmbeddings", (model) => model.getFusedEmbeddings({ texts: ["a"], images: [picture] }));
  const bad: unknown[] = [null, {}, { image: "/missing.png" }, { image: new Uint8Array(9) }, { image: "https://x/y.png" }, "a".repeat(2_000_000)]; // biome-ignore format: one line says it
  for (const input of bad) await same("a bad input", (model) => model.embedBatch(["a", input as GmeInput]));
  await same("a text that is too long", (model) => model.embed("word ".repeat(40_000)));
  await same("a misspelt option", (model) => model.embed("a", { instructoin: "b" } as object));
  const results = collect(there.embedMany(["a", { image: "/missing.png" }, 7 as unknown as string, "b"]));
  t.match(await results, [{ index: 0, error: undefined }, { error: { code: "GME_IO_ERROR", file: "/missing.png" } }, { error: { code: "GME_INPUT_INVALID" } }, { index: 3, error: undefined }]); // biome-ignore format: one line says it
});

t.test("a file that is no model rejects as without isolation", async (t) => {
  for (const path of [__filename, "/missing.gguf", join(root, "test/fixtures/gguf/mmproj-tiny-a-f32.gguf")]) {
    const expected = await outcomeOf(load(path));
    t.strictSame(await outcomeOf(load(path, { isolate: true })), expected, String((expected as GmeError).code));
  }
  const abort = new AbortController();
  const loading = load(file, { isolate: true, signal: abort.signal });
  setTimeout(() => abort.abort(), 50);
  await rejectsWith(t, () => loading, "GME_ABORTED");
  await t.rejects(load(file, { isolate: 1 as unknown as boolean }), { code: "GME_OPTION_INVALID" });
});

for (const [fault, value] of [
  ["segv", "SIGSEGV"],
  ["kill", "SIGKILL"],
  ["exit", 7],
] as const) {
  // biome-ignore format: one line says it
  t.test(`a call that ends the engine's process (${value}) rejects, and the second time is its last`, async (t) => {
    poisonProcesses(t);
    const model = await openIsolated(t);
    const expected = await model.embed("a cat");
    const poisoned = `poison-${fault}`;
    for (const title of ["the first time", "the second time"]) {
      const error = await rejectsWith(t, () => model.embed(poisoned), "GME_ENGINE_CRASHED", title);
      t.match(error, { value, field: "call" }, title);
      t.match(error.message, /during this call .*deliberate end: poison/);
      t.strictSame(await model.embed("a cat"), expected, `a new process has taken over after ${title}`);
    }
    const pids = enginePids();
    const refused = await rejectsWith(t, () => model.embed(poisoned), "GME_ENGINE_CRASHED", "the third time");
    t.match(refused.message, /twice and is refused/);
    t.strictSame(enginePids(), pids, "no process was harmed by it");
  });
}

t.test("calls that were with a process that died are cleared when they do no harm alone", async (t) => {
  poisonProcesses(t);
  const model = await openIsolated(t);
  const words = ["one", "two", "poison-kill beside", "three", "four", "five", "six", "seven"];
  let calls = words.map((word) => model.embed(word));
  const codes = new Map<string, number>();
  for (let round = 0; round < 3; round++) {
    const outcomes = await Promise.all(calls.map((call) => outcomeOf(call)));
    const crashed = words.filter((_, i) => (outcomes[i] as GmeError).code === "GME_ENGINE_CRASHED");
    t.ok(crashed.includes(words[2]), `round ${round}: the poison is among the ${crashed.length} that rejected`);
    for (const word of crashed) codes.set(word, (codes.get(word) ?? 0) + 1);
    if (round > 0) t.equal(crashed.length, 1, `round ${round}: the others are embedded`);
    else t.ok(crashed.length <= 3, "at most three calls are with the process");
    calls = words.map((word) => model.embed(word));
  }
  await Promise.all(calls.map((call) => outcomeOf(call)));
  t.strictSame(await outcomeOf(model.embed(words[1])), await model.embed(words[1]), "and they stay cleared");
});

t.test("one poison item of a stream is that item's error, the others get their vectors", async (t) => {
  poisonProcesses(t);
  const model = await openIsolated(t);
  const inputs = Array.from({ length: 12 }, (_, i): GmeInput => (i === 9 ? "poison-segv" : { text: `number ${i}` }));
  inputs[2] = { image: poison("kill", "stream").path };
  const results = await collect(model.embedMany(inputs, { batchSize: 6 }));
  const expected = await collect(model.embedMany(inputs.map((input, i) => ([2, 9].includes(i) ? "x" : input))));
  for (const [i, result] of results.entries()) {
    if ([2, 9].includes(i)) t.match(result, { index: i, error: { code: "GME_ENGINE_CRASHED" } });
    else {
      const [a, b] = [result.embedding ?? [], expected[i].embedding ?? []];
      const worst = Math.max(...Array.from(a, (x, at) => Math.abs(x - b[at])));
      t.ok(a.length > 0 && a.length === b.length && worst < 1e-4, `${i}: difference ${worst}`);
    }
  }
});

t.test("a stream that is kept together is one call of an engine, and a crash rejects it", async (t) => {
  poisonProcesses(t);
  const model = await openIsolated(t);
  const [before] = model.engineProcesses();
  t.match(before, { state: "ready", ends: 0 });
  t.strictSame([before.pid], enginePids());
  const inputs = ["one", "two", "poison-segv", "four"];
  const results = await collect(model.embedMany(["one", "", "three"], { keepTogether: true }));
  t.match(results, [{ index: 0, error: undefined }, { index: 1 }, { index: 2, error: undefined }]);
  const error = await rejectsWith(
    t,
    () => collect(model.embedMany(inputs, { keepTogether: true })),
    "GME_ENGINE_CRASHED",
  );
  t.match(error, { field: "call", value: "SIGSEGV" });
  t.match(model.engineProcesses()[0], { pid: undefined, ends: 1 }, "no item was tried again");
  await model.embed("again");
  const [after] = model.engineProcesses();
  t.match(after, { state: "ready", ends: 1 });
  t.ok(after.silentMs < 2_000, `a sign of life ${after.silentMs.toFixed(0)} ms ago`);
  const here = await load(file, options);
  t.strictSame(here.engineProcesses(), []);
  await here.close();
});

t.test("an aborted call rejects at once, its neighbours do not", async (t) => {
  const model = await openIsolated(t);
  const aborts = Array.from({ length: 12 }, () => new AbortController());
  const calls = aborts.map(({ signal }, i) => outcomeOf(model.embed({ text: `text ${i}`, image: samplePaths[i] }, { signal }))); // biome-ignore format: one line says it
  for (const i of [0, 3, 11]) aborts[i].abort();
  const outcomes = await Promise.all(calls);
  outcomes.forEach((outcome, i) => {
    if ([0, 3, 11].includes(i)) t.match(outcome, { code: "GME_ABORTED", name: "AbortError" });
    else t.ok(outcome instanceof Float32Array, `call ${i}`);
  });
  const stop = new AbortController();
  const stream = model.embedMany((function* () { for (;;) yield "again"; })(), { signal: stop.signal }); // biome-ignore format: one line says it
  await stream.next();
  stop.abort();
  await rejectsWith(t, () => collect(stream), "GME_ABORTED");
  for await (const { index } of model.embedMany(["a", "b", "c"])) if (index === 1) break;
  t.ok((await model.embed("after a stream that was left")).length > 0);
});

t.test("a listener of progress is heard, and one that throws rejects its call", async (t) => {
  const model = await openIsolated(t);
  const seen: number[] = [];
  await model.embedBatch(["a", "b", "c", "d"], { batchSize: 2, onProgress: ({ done }) => void seen.push(done) });
  t.equal(seen.at(-1), 4, `${seen}`);
  const failing = () => {
    throw new Error("no");
  };
  await rejectsWith(t, () => model.embedBatch(["a", "b"], { onProgress: failing }), "GME_OPTION_INVALID");
  await rejectsWith(t, () => load(file, { isolate: true, onProgress: failing }), "GME_OPTION_INVALID");
});

t.test("close() waits for the calls before it, also over a crash, and ends the process", async (t) => {
  poisonProcesses(t);
  const model = await load(file, { ...options, isolate: true });
  const before = enginePids();
  const calls = ["a", "poison-kill", "b", "c", "d", "e"].map((text) => outcomeOf(model.embed(text)));
  const closing = model.close();
  t.equal(model.close(), closing, "one promise for all");
  await rejectsWith(t, () => model.embed("late"), "GME_MODEL_CLOSED");
  await closing;
  const outcomes = await Promise.all(calls);
  t.ok(outcomes.slice(-2).every((outcome) => outcome instanceof Float32Array), "what waited is embedded"); // biome-ignore format: one line says it
  t.match(outcomes[1], { code: "GME_ENGINE_CRASHED" });
  t.ok(before.length >= 1);
  t.strictSame(enginePids(), [], "no process is left");
  t.strictSame({ ...model.info.memory }, { mappedBytes: 0, ownedBytes: 0, computeBytes: 0, keptBytes: 0 });
});

/** What a program prints that uses an isolated model and ends; `preload` is required before it. */
function runProgram(name: string, body: string, preload?: string): string {
  const script = join(folder, name);
  const library = JSON.stringify(join(root, "lib", "index.ts"));
  writeFileSync(script, `const { load } = require(${library});
    load(${JSON.stringify(file)}, { isolate: true, threads: 1 }).then(async (model) => { ${body} });`); // biome-ignore format: one line says it
  const flags = ["--import", require.resolve("tsx"), ...(preload === undefined ? [] : ["--require", preload])];
  const env = { ...process.env, NODE_OPTIONS: flags.map((flag) => JSON.stringify(flag)).join(" ") };
  return execFileSync(process.execPath, [script], { encoding: "utf8", timeout: 60_000, env });
}

t.test("a program ends by itself without close(), and its engine with it", async (t) => {
  t.match(runProgram("program.cjs", `console.log((await model.embed("a cat")).length)`).trim(), /^\d+$/);
  t.strictSame(enginePids(), []);
});

t.test("in Electron's main process (a stand-in for it) the engine is a utility process", async (t) => {
  const output = runProgram("app.cjs", `console.log("vector", (await model.embed("a cat")).length);
    const { readdirSync, readFileSync } = require("node:fs");
    const pids = readdirSync("/proc").filter((pid) => /^\\d+$/.test(pid) && Number(pid) !== process.pid && (() => { try { return /\\) [RSD] (\\d+) /.exec(readFileSync("/proc/" + pid + "/stat", "utf8"))?.[1] === String(process.pid); } catch { return false; } })());
    const pending = model.embed({ text: "b", image: ${JSON.stringify(samplePaths[0])} });
    for (const pid of pids) process.kill(Number(pid), "SIGKILL");
    console.log("killed", pids.length, await pending.then((v) => v.length, (error) => error.code));
    console.log("again", (await model.embed("a cat")).length);
    await model.close(); console.log("closed");`, join(__dirname, "children", "electron-stand-in.cjs")); // biome-ignore format: one line says it
  t.match(
    output,
    /^utility process gme-embed engine\nvector 192\nkilled 1 (GME_ENGINE_CRASHED|192)\nutility process gme-embed engine\nagain 192\nclosed/,
  );
});

t.test("a model file that was replaced meanwhile is not taken for the old one", async (t) => {
  poisonProcesses(t);
  const path = join(folder, "replaced.gguf");
  copyFileSync(file, path);
  const model = await load(path, { ...options, isolate: true });
  t.teardown(() => model.close());
  rmSync(path);
  copyFileSync(join(root, "test/fixtures/gguf/tiny-a-f32.gguf"), path);
  await rejectsWith(t, () => model.embed("poison-kill"), "GME_ENGINE_CRASHED");
  await rejectsWith(t, () => model.embed("a"), "GME_MODEL_MISMATCH");
  rmSync(path);
  await rejectsWith(t, () => model.embed("a"), "GME_IO_ERROR");
  copyFileSync(file, path);
  t.ok((await model.embed("a")).length > 0, "with the right file it works again");
});
