// Tasks computed in this process: what comes out, in which order, and what is dropped.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import t, { type Test } from "tap";
import { DecodeAhead } from "../../lib/decode-ahead";
import { load } from "../../lib/index";
import type { EmbedSuccess, EmbedTask } from "../../lib/embed-tasks/embed-task";
import { TaskClock } from "../../lib/embed-tasks/task-clock";
import { TaskRunner } from "../../lib/embed-tasks/task-runner";
import { imageFixture } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { emptyPdf, folder, hashed, model, pictures, samplePaths, sameVectors, texts } from "../isolated/engine-setup";

async function start(t: Test) {
  const loaded = await load(model, { threads: 1 });
  const runner = new TaskRunner(loaded);
  t.teardown(async () => {
    await runner.close();
    await loaded.close();
  });
  return { loaded, runner };
}

t.test("tokens, sizes and thumbnails", async (t) => {
  const { loaded, runner } = await start(t);
  const wide = imageFixture("exif6-480x360.jpg");
  const small = imageFixture("tiny-28x28.png");
  const [picture, caption, text, query, tiny] = (await runner.embed([
    { image: hashed(wide) },
    { image: hashed(wide), text: "a picture" },
    { text: "a picture" },
    { image: hashed(wide), query: { instruction: "Find it." } },
    { image: hashed(small) },
  ])) as EmbedSuccess[];
  t.match(picture, { width: 360, height: 480 });
  t.equal(picture.tokens, (await loaded.countTokens({ image: wide })).total);
  t.equal(caption.tokens, (await loaded.countTokens({ image: wide, text: "a picture" })).total);
  t.equal(text.tokens, (await loaded.countTokens("a picture")).total);
  t.equal(query.tokens, (await loaded.countTokens({ image: wide, prompt: "Find it." })).total);
  t.strictSame([text.width, text.thumbnail, query.thumbnail], [undefined, undefined, undefined]);
  t.match(await sharp(picture.thumbnail).metadata(), { format: "webp", width: 192, height: 256 });
  t.match(await sharp(tiny.thumbnail).metadata(), { format: "webp", width: 28, height: 28 });
  const asked = await loaded.embed({ image: wide }, { instruction: "Find it." });
  const document = await loaded.embed({ image: wide, text: "a picture" }, { isQuery: false, instruction: "unused" });
  const direct = [asked, document].map((embedding) => ({ embedding, tokens: 0 }));
  sameVectors(t, [query, caption], direct, "as the model itself computes them");
});

t.test("pages of two PDFs in turn, with their counts", async (t) => {
  const { runner } = await start(t);
  const [a, b] = [emptyPdf("a.pdf", 2), emptyPdf("b.pdf", 3)];
  const pages = [1, 2, 1, 2].map((number, i): EmbedTask => ({ page: { file: i % 2 === 0 ? a : b, number } }));
  const [outcomes, ...counts] = await Promise.all([
    runner.embed(pages),
    runner.countPages(a),
    runner.countPages(b),
    runner.countPages(emptyPdf("c.pdf", 4)),
  ]);
  t.strictSame(counts, [2, 3, 4]);
  for (const outcome of outcomes) t.match(outcome, { width: 595, height: 842, error: undefined });
  t.match(await sharp((outcomes[0] as EmbedSuccess).thumbnail).metadata(), { width: 181, height: 256 });
  sameVectors(t, outcomes.slice(1), Array(3).fill(outcomes[0]), "all pages are empty");
  const [missing] = await runner.embed([{ page: { file: a, number: 3 } }]);
  t.match(missing.error, { code: "GME_INPUT_INVALID", file: a.path });
});

t.test("what cannot be read is that task's error and names the file", async (t) => {
  const { runner } = await start(t);
  const fifo = join(folder, "fifo.png");
  if (process.platform !== "win32") execFileSync("mkfifo", [fifo]);
  const bad: [EmbedTask, string, string | undefined][] = [
    [{ image: { path: fifo, sha256: "" } }, "GME_IO_ERROR", fifo],
    [{ image: { path: folder, sha256: "" } }, "GME_IO_ERROR", folder],
    [{ image: hashed(__filename) }, "GME_IMAGE_FORMAT", __filename],
    [{ image: { path: samplePaths[0], sha256: "0" } }, "GME_CHANGED_WHILE_OPEN", samplePaths[0]],
    [{ page: { file: hashed(samplePaths[0]), number: 1 } }, "GME_PDF_CORRUPT", samplePaths[0]],
    [{ image: hashed(samplePaths[0]), text: "word ".repeat(40_000) }, "GME_TEXT_TOO_LONG", samplePaths[0]],
    [{ text: "word ".repeat(300_000) }, "GME_TEXT_TOO_LONG", undefined],
    [{ image: { source: "https://example.org/a.png" } }, "GME_URL_FETCH_DISABLED", undefined],
    [{}, "GME_INPUT_INVALID", undefined],
  ];
  const good = texts(bad.length);
  const outcomes = await runner.embed(bad.flatMap(([task], i) => [task, good[i]]));
  bad.forEach(([, code, file], i) => {
    t.match(outcomes[i * 2].error, { code }, outcomes[i * 2].error?.message ?? code);
    t.equal(outcomes[i * 2].error?.file, file);
    t.notMatch(outcomes[i * 2].error?.message, /<buffer>|inputs/);
    t.equal(outcomes[i * 2 + 1].error, undefined, "the task beside it");
  });
});

// The first computation is held until a picture is ready: what is shown is what runs beside it, not how fast the machine is.
t.test("files of a later call are decoded while an earlier one is computed", async (t) => {
  const { loaded, runner } = await start(t);
  const embedMany = loaded.embedMany.bind(loaded);
  let pictureReady = () => {};
  const ready = new Promise<string>((resolve) => {
    pictureReady = () => resolve("ready");
  });
  const held: unknown[] = [];
  loaded.embedMany = async function* (...given: Parameters<typeof embedMany>) {
    if (held.length === 0) held.push(await Promise.race([ready, sleep(20_000, "never ready", { ref: false })]));
    yield* embedMany(...given);
  };
  const events: string[] = [];
  const watch = (name: string) => ({
    stage: (index: number, stage: string) => {
      events.push(`${name}${index} ${stage}`);
      if (name === "picture" && stage === "ready") pictureReady();
    },
    outcome: () => void events.push(name),
  });
  await Promise.all([
    runner.embed(texts(40, "word ".repeat(200)), undefined, watch("text")),
    runner.embed(pictures(4), undefined, watch("picture")),
  ]);
  t.strictSame(held, ["ready"], "the first texts were being computed");
  const firstReady = events.findIndex((event) => /^picture\d ready$/.test(event));
  t.ok(firstReady < events.indexOf("text"), "ready before the first text's vector");
  t.ok(events.lastIndexOf("text") < events.indexOf("picture"), "computed in order");
});

t.test("an aborted call is dropped, close() rejects the rest, and the model stays open", async (t) => {
  const { loaded, runner } = await start(t);
  const long = Array.from({ length: 40 }, () => ({ text: "word ".repeat(10_000) }));
  const controller = new AbortController();
  const dropped = runner.embed(long, controller.signal);
  const next = runner.embed(texts(3));
  await sleep(100);
  controller.abort();
  const start_ = performance.now();
  await rejectsWith(t, () => dropped, "GME_ABORTED");
  t.equal((await next).length, 3);
  t.ok(performance.now() - start_ < 5_000, "the computation was stopped");
  const rest = runner.embed(long);
  await sleep(50);
  const [error] = await Promise.all([rejectsWith(t, () => rest, "GME_MODEL_CLOSED"), runner.close()]);
  t.ok(error);
  await rejectsWith(t, () => runner.embed(texts(1)), "GME_MODEL_CLOSED");
  t.equal((await loaded.embed("still there")).length, loaded.dimensions);
});

t.test("a model that is closed meanwhile rejects the calls", async (t) => {
  const { loaded, runner } = await start(t);
  await loaded.close();
  await rejectsWith(t, () => runner.embed(texts(3)), "GME_MODEL_CLOSED");
});

t.test("the clock counts pauses between tasks, but not the time without any", async (t) => {
  const clock = new TaskClock();
  clock.tasks(2);
  await sleep(60); // before the first computation
  clock.begin();
  await sleep(60);
  clock.end();
  await sleep(60); // a task is left
  clock.begin();
  clock.end();
  clock.tasks(-2);
  await sleep(60); // none is
  clock.tasks(1);
  clock.begin();
  clock.end();
  t.ok(clock.busySeconds > 0.05 && clock.busySeconds < 0.1, `busy ${clock.busySeconds}`);
  t.ok(clock.spanSeconds > 0.11 && clock.spanSeconds < 0.16, `span ${clock.spanSeconds}`);
});

t.test("DecodeAhead: a chunk waits to be full, but not in a hurry; pixels bound it", async (t) => {
  const picture = { data: new Uint8Array(300), width: 10, height: 10 };
  const ahead = new DecodeAhead(Array.from({ length: 12 }, () => ({ image: true }))[Symbol.iterator](), {
    read: (value) => value as { image: boolean },
    decode: async () => ({ ...picture }),
    batchSize: 8,
    patienceMs: Number.POSITIVE_INFINITY,
    pixelBudget: 500,
    chunkPixels: 250,
  });
  const first = await ahead.nextChunk();
  t.equal(first.length, 3, "no further item after 250 pixels");
  const second = ahead.nextChunk();
  t.equal(await Promise.race([second, sleep(50).then(() => "waits")]), "waits", "the budget is used up");
  ahead.hurry();
  const partial = await second;
  t.ok(partial.length > 0 && partial.length < 3, `${partial.length} in a hurry`);
  ahead.release(first);
  ahead.release(partial);
  t.equal((await ahead.nextChunk()).length, 3);
  await ahead.stop();
});

t.test("DecodeAhead: large photographs go one by one, the next are decoded meanwhile", async (t) => {
  let decodes = 0;
  const ahead = new DecodeAhead(Array.from({ length: 12 }, () => ({ image: true }))[Symbol.iterator](), {
    read: (value) => value as { image: boolean },
    decode: async () => {
      decodes++;
      return { data: new Uint8Array(1), width: 4_000, height: 3_000 };
    },
    batchSize: 8,
    patienceMs: Number.POSITIVE_INFINITY,
  });
  const first = await ahead.nextChunk();
  t.equal(first.length, 1);
  await sleep(20); // the engine runs; nothing is released
  t.ok(decodes >= 3 && decodes <= 6, `${decodes} decoded, the first among them`);
  t.equal((await ahead.nextChunk()).length, 1);
  await ahead.stop();
});
