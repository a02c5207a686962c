// Files and texts that end the engine's process: each costs its own outcome and nothing else.
import t from "tap";
import type { EmbedOutcome, EmbedTask } from "../../lib/embed-tasks/embed-task";
import { IsolatedEngine } from "../../lib/isolated/engine-client";
import { rejectsWith } from "../helpers/rejects";
import { emptyPdf, hashed, model, pictures, poison, sameVectors, startEngine, texts } from "./engine-setup";

let expected: EmbedOutcome[] = [];

t.before(async () => {
  const engine = await IsolatedEngine.start(model, { threads: 1 });
  expected = await engine.embed(pictures(16));
  await engine.close();
});

function withPoison(at: { [index: number]: EmbedTask }): EmbedTask[] {
  return pictures(16).map((task, i) => at[i] ?? task);
}

/** The outcomes besides those of `bad` are the expected vectors. */
function othersRight(t: Parameters<typeof sameVectors>[0], outcomes: EmbedOutcome[], bad: number[]): void {
  const good = (_: unknown, i: number) => !bad.includes(i);
  sameVectors(t, outcomes.filter(good), expected.filter(good), "the others");
}

for (const [fault, value] of [
  ["kill", "SIGKILL"],
  ["segv", "SIGSEGV"],
  ["exit", 7],
] as const) {
  t.test(`one picture of 16 that ends the process (${value}) is set aside, the others are embedded`, async (t) => {
    const { engine, messages } = await startEngine(t);
    const file = poison(fault);
    const outcomes = await engine.embed(withPoison({ 6: { image: file } }));
    othersRight(t, outcomes, [6]);
    const { error } = outcomes[6];
    t.match(error, { code: "GME_ENGINE_CRASHED", file: file.path, value });
    t.match(error?.message, /set aside .*deliberate end: .*poison/);
    t.ok(engine.use().restarts >= 2 && engine.use().restarts <= 4, `${engine.use().restarts} restarts`);
    t.equal(messages.filter((text) => /started again/.test(text)).length, engine.use().restarts);
    t.equal(messages.filter((text) => /is set aside/.test(text)).length, 1);
    t.notOk(messages.some((text) => text.includes("\n")));
    sameVectors(t, await engine.embed(pictures(16)), expected, "afterwards");
  });
}

t.test("a picture over which the process hangs is set aside", async (t) => {
  const { engine } = await startEngine(t, { hangMs: 8_000 });
  const outcomes = await engine.embed(withPoison({ 3: { image: poison("hang") } }));
  othersRight(t, outcomes, [3]);
  t.match(outcomes[3].error, { code: "GME_ENGINE_CRASHED", value: "hang", message: /no sign of life for 8 s/ });
});

t.test("two poison pictures in two calls that overlap", async (t) => {
  const { engine } = await startEngine(t);
  const calls = [withPoison({ 0: { image: poison("kill", "a") } }), withPoison({ 15: { image: poison("exit", "b") } })];
  const [first, second] = await Promise.all(calls.map((tasks) => engine.embed(tasks)));
  othersRight(t, first, [0]);
  othersRight(t, second, [15]);
  t.match(first[0].error, { code: "GME_ENGINE_CRASHED", value: "SIGKILL" });
  t.match(second[15].error, { code: "GME_ENGINE_CRASHED", value: 7 });
});

t.test("three poison pictures in a row do not stop the run", async (t) => {
  const { engine } = await startEngine(t);
  const bad = [0, 1, 2];
  const outcomes = await engine.embed(withPoison(Object.fromEntries(bad.map((i) => [i, { image: poison("kill", `${i}`) }])))); // biome-ignore format: one line says it
  othersRight(t, outcomes, bad);
  for (const i of bad) t.match(outcomes[i].error, { code: "GME_ENGINE_CRASHED" });
});

t.test("the poison is found by halving alone when the process reports nothing", async (t) => {
  const { engine } = await startEngine(t, { fault: "mute" });
  const outcomes = await engine.embed(withPoison({ 9: { image: poison("kill", "mute") } }));
  othersRight(t, outcomes, [9]);
  t.match(outcomes[9].error, { code: "GME_ENGINE_CRASHED", value: "SIGKILL" });
});

t.test("a text whose computation ends the process is found among 40 that are computed together", async (t) => {
  const { engine } = await startEngine(t);
  const tasks = texts(40);
  const right = await engine.embed(tasks);
  const outcomes = await engine.embed(tasks.map((task, i) => (i === 21 ? { text: "poison-segv" } : task)));
  const good = (_: unknown, i: number) => i !== 21;
  sameVectors(t, outcomes.filter(good), right.filter(good), "the others");
  t.match(outcomes[21].error, { code: "GME_ENGINE_CRASHED", value: "SIGSEGV", message: /the text “poison-segv”/ });
});

t.test("a PDF whose pages cannot be counted without a crash rejects; a call beside it is not harmed", async (t) => {
  const { engine } = await startEngine(t);
  const [bad, good] = [emptyPdf("poison-kill.pdf", 1), emptyPdf("good.pdf", 3)];
  const beside = engine.embed(pictures(16));
  const count = engine.countPages(good);
  const error = await rejectsWith(t, () => engine.countPages(bad), "GME_ENGINE_CRASHED");
  t.match(error, { file: bad.path, value: "SIGKILL" });
  t.equal(await count, 3);
  sameVectors(t, await beside, expected, "beside");
  const outcomes = await engine.embed([{ page: { file: bad, number: 1 } }, { page: { file: good, number: 3 } }]);
  t.match(outcomes[0].error, { code: "GME_ENGINE_CRASHED", message: /poison-kill\.pdf page 1/ });
  t.match(outcomes[1], { width: 595, height: 842, error: undefined });
});

t.test("an engine that ends at every computation is given up, with its last words", async (t) => {
  const { engine } = await startEngine(t, { fault: "always" });
  const error = await rejectsWith(t, () => engine.embed(texts(20)), "GME_ENGINE_CRASHED");
  t.match(error.message, /5 times in a row .*signal SIGKILL.*deliberate end/);
  t.equal(error.file, undefined);
});

t.test("an engine that ends while it loads is not started again", async (t) => {
  const error = await rejectsWith(t, () => startEngine(t, { fault: "loading" }), "GME_ENGINE_CRASHED");
  t.match(error.message, /while the model was loaded .*deliberate end: loading/);
});

t.test("a process that dies with nothing to do is started again at the next call", async (t) => {
  const { engine, messages } = await startEngine(t);
  const before = engine.pid as number;
  process.kill(before, "SIGKILL");
  while (engine.pid === before) await new Promise((resolve) => setTimeout(resolve, 10));
  t.equal(engine.pid, undefined);
  t.match(messages, [/with nothing to do \(signal SIGKILL\); it is started again when it is needed/]);
  sameVectors(t, await engine.embed(pictures(16)), expected, "afterwards");
  t.match(await engine.embed([{ image: hashed(__filename) }]), [{ error: { code: "GME_IMAGE_FORMAT" } }]);
});
