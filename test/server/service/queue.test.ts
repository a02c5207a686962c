// The queue and its batches, with a stub in the engine's place.
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { GmeError } from "../../../lib";
import { BatchingService } from "../../../lib/server/service/batching-service";
import { BusyError } from "../../../lib/server/service/busy-error";
import type { ServiceSettings } from "../../../lib/server/service/service-settings";
import { rejectsWith } from "../../helpers/rejects";
import { call, picture, StubModel, type StubSettings, texts } from "./stub-model";

function open(t: Test, stub: StubSettings = {}, settings: Partial<ServiceSettings> = {}) {
  const model = new StubModel(stub);
  const service = new BatchingService(model, settings);
  t.teardown(() => service.stop(0));
  return { model, service };
}

/** Holds the engine's first batch until `release()`. */
function hold(model: StubModel): () => void {
  let release!: () => void;
  model.gate = new Promise((resolve) => {
    release = resolve;
  });
  return release;
}

t.test("what waits together runs together, and each request gets its own vectors in order", async (t) => {
  const { model, service } = open(t, { callMs: 5 });
  const release = hold(model);
  const first = service.embed(texts(1), call());
  const calls = [3, 1, 5].map((count, i) => service.embed(texts(count, "x".repeat(i + 1)), call(`client ${i}`)));
  release();
  t.equal((await first).length, 1);
  for (const [i, found] of (await Promise.all(calls)).entries()) {
    t.strictSame([...found.map(({ embedding }) => embedding[0])], Array(found.length).fill(i + 3), `request ${i}`);
    t.match(found[0].tokens, { text: Number, image: Number, total: Number });
  }
  t.strictSame(model.batches.map(({ texts }) => texts.length), [1, 3, 6], "two with the engine, the rest in one"); // biome-ignore format: one line says it
});

t.test("an idle engine gets a request at once", async (t) => {
  const { service } = open(t);
  await service.embed(texts(1), call());
  const start = performance.now();
  for (let i = 0; i < 50; i++) await service.embed(texts(1), call());
  t.ok(performance.now() - start < 50 * 15, `${((performance.now() - start) / 50).toFixed(2)} ms each`);
});

t.test("a batch has at most so many items and tokens, of one kind of call", async (t) => {
  const { model, service } = open(t, {}, { maxBatchItems: 10, maxBatchTokens: 400 });
  const release = hold(model);
  const calls = [
    service.embed(texts(30), call()),
    service.embed(texts(5), call("b", { overflow: "truncate" })),
    service.embed(texts(5), call("b", { dimensions: 2 })),
    service.embed([{ field: "input", text: "word ".repeat(600), pixels: 0 }], call("c")),
  ];
  release();
  await Promise.all(calls);
  for (const { texts, options } of model.batches) {
    t.ok(texts.length <= 10);
    if (texts.some((text) => text.length > 1000)) t.equal(texts.length, 1, "a long text goes alone");
    if (options.overflow === "truncate") t.equal(texts.length, 5);
    if (options.dimensions === 2) t.match(options, { allowTruncation: true, overflow: "error" });
  }
  t.equal(model.batches.filter(({ options }) => options.dimensions === 2).length, 1);
});

t.test("one bad item rejects its own request, and the error names its place in the body", async (t) => {
  const { model, service } = open(t);
  const release = hold(model);
  const before = service.embed(texts(1), call());
  const bad = service.embed([...texts(2), { field: "input[2].content", text: "bad", pixels: 0 }], call("b"));
  const good = service.embed(texts(4), call("c"));
  release();
  const error = await rejectsWith(t, () => bad, "GME_TEXT_TOO_LONG");
  t.match(error, { field: "input[2].content.text", value: 9, expected: "at most 8", item: undefined });
  t.notMatch(error.message, /inputs\[/);
  t.equal((await good).length, 4);
  t.equal((await before).length, 1);
});

t.test(
  "the queue is bounded by tokens, pixels and bytes; what alone is too large is the request's fault",
  async (t) => {
    const bounds = { maxQueuedTokens: 5_000, maxQueuedPixels: 4e6, maxQueuedBytes: 5_000 };
    const { model, service } = open(t, { callMs: 2 }, bounds);
    const release = hold(model);
    const running = [1, 2].map(() => service.embed(texts(1), call())).concat(service.embed([picture(1e5)], call()), service.embed([picture(1e5)], call())); // biome-ignore format: one line says it
    const waiting = service.embed(texts(100), call());
    const image = service.embed([picture(3e6)], call());
    const { tokens, items } = service.depth;
    t.ok(items === 101 || items === 102, `${items} items wait`);
    const full: [string, () => Promise<unknown>][] = [
      ["tokens", () => service.embed(texts(100), call("b"))],
      ["pixels", () => service.embed([picture(2e6)], call("b"))],
      ["bytes", () => service.embed([picture(10, 4_950)], call("b"))],
    ];
    for (const [title, embed] of full) {
      const start = performance.now();
      const error = await rejectsWith(t, embed, "GME_QUEUE_FULL", title);
      t.ok(performance.now() - start < 50, `${title}: at once`);
      t.ok(error instanceof BusyError && error.retryAfterSeconds >= 1, "with a time to try again");
    }
    await rejectsWith(t, () => service.embed(texts(250), call("b")), "GME_INPUT_INVALID");
    await rejectsWith(t, () => service.embed([picture(5e6)], call("b")), "GME_INPUT_INVALID");
    t.equal(service.depth.tokens, tokens, "a refused request leaves nothing behind");
    release();
    await Promise.all([...running, waiting, image]);
    t.strictSame({ ...service.depth }, { items: 0, tokens: 0, pixels: 0, bytes: 0, cost: 0 });
  },
);

t.test("work that would wait longer than it may is refused", async (t) => {
  const { service } = open(t, { textMs: 20 }, { maxWaitSeconds: 0.5, maxBatchItems: 4, maxBatchTokens: 200 });
  for (let i = 0; i < 4; i++) await service.embed(texts(1), call());
  const accepted = service.embed(texts(80), call());
  await rejectsWith(t, () => service.embed(texts(1), call("b")), "GME_QUEUE_FULL");
  t.equal((await accepted).length, 80, "what was accepted is answered");
});

t.test(
  "S23 a request that is given up leaves the queue at once, and stops the batch that only it wanted",
  async (t) => {
    const { model, service } = open(t, { callMs: 200 }, { maxBatchItems: 8 });
    const aborts = Array.from({ length: 4 }, () => new AbortController());
    const calls = aborts.map(({ signal }) => service.embed(texts(8), call("a", { signal })).catch((error) => error));
    await sleep(5);
    t.equal(service.depth.items, 16, "two batches are with the engine");
    const start = performance.now();
    aborts[3].abort();
    t.equal(service.depth.items, 8);
    t.match(await calls[3], { code: "GME_ABORTED" });
    aborts[2].abort(new GmeError("GME_DEADLINE_EXCEEDED", "too late"));
    t.match(await calls[2], { code: "GME_DEADLINE_EXCEEDED" });
    t.equal(service.depth.items, 0);
    aborts[0].abort();
    t.match(await calls[0], { code: "GME_ABORTED" });
    t.ok(performance.now() - start < 50, "at once");
    await sleep(10);
    t.equal(model.batches[0].wasAborted, true, "the batch was stopped");
    t.equal((await calls[1]).length, 8);
    t.equal(model.batches[1].wasAborted, false, "its neighbour was not");
    await rejectsWith(t, () => service.embed(texts(1), call("a", { signal: AbortSignal.abort() })), "GME_ABORTED");
  },
);

t.test("S23 after 1,000 requests that were given up nothing is left, and the others were answered", async (t) => {
  const { service } = open(t, { textMs: 0.05 });
  let answered = 0;
  for (let i = 0; i < 1_000; i++) {
    const abort = new AbortController();
    const given = service.embed(texts(3), call(`${i % 7}`, { signal: abort.signal }));
    given.catch(() => undefined);
    const kept = service.embed(texts(1), call(`${i % 5}`)).then(() => answered++);
    if (i % 3 === 0) await sleep(0);
    abort.abort();
    if (i % 50 === 0) await kept;
  }
  while (answered < 1_000) await sleep(5);
  t.equal(answered, 1_000);
  t.equal(service.depth.items, 0);
});

t.test("S24 a batch that two clients share goes on when one of them has gone", async (t) => {
  const { model, service } = open(t, { callMs: 50 });
  const release = hold(model);
  const first = [service.embed(texts(1), call()), service.embed(texts(1), call())];
  const abort = new AbortController();
  const gone = service.embed(texts(2), call("a", { signal: abort.signal }));
  const stays = service.embed(texts(2), call("b"));
  release();
  while (model.batches.length < 3) await sleep(1);
  t.equal(model.batches[2].texts.length, 4, "they share a batch");
  await sleep(5);
  abort.abort();
  await rejectsWith(t, () => gone, "GME_ABORTED");
  t.equal((await stays).length, 2);
  t.equal(model.batches[2].wasAborted, false);
  await Promise.all(first);
});

t.test("S26 on a stop what runs is finished, what waits is refused, and new work is", async (t) => {
  const { service } = open(t, { callMs: 100 }, { maxBatchItems: 25 });
  const running = [1, 2].map(() => service.embed(texts(25), call()));
  const waiting = Array.from({ length: 100 }, () => service.embed(texts(1), call("b")).catch(({ code }) => code));
  await sleep(10);
  const start = performance.now();
  const stopped = service.stop(10_000);
  t.equal(service.state, "stopping");
  t.equal(service.health.healthy, false);
  await rejectsWith(t, () => service.embed(texts(1), call()), "GME_SERVER_STOPPING");
  t.strictSame([...new Set(await Promise.all(waiting))], ["GME_SERVER_STOPPING"]);
  t.ok(performance.now() - start < 50, "what waits hears of it at once");
  t.strictSame(
    (await Promise.all(running)).map(({ length }) => length),
    [25, 25],
  );
  await stopped;
  t.ok(performance.now() - start < 2_000, "and it does not wait for the grace to end");
});

t.test("S26 what does not finish in the grace is given up", async (t) => {
  const { model, service } = open(t, { callMs: 60_000 });
  const running = service.embed(texts(2), call()).catch(({ code }) => code);
  await sleep(20);
  const start = performance.now();
  await service.stop(100);
  t.equal(await running, "GME_SERVER_STOPPING");
  t.ok(performance.now() - start < 1_000);
  t.equal(model.batches[0].wasAborted, true);
});

t.test("S26 a second stop with less grace ends the first", async (t) => {
  const { service } = open(t, { callMs: 60_000 });
  const running = service.embed(texts(2), call()).catch(({ code }) => code);
  await sleep(20);
  const first = service.stop(60_000);
  await service.stop(0);
  await first;
  t.equal(await running, "GME_SERVER_STOPPING");
});
