// Whether the engine answers, as /health and /metrics will say it.
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { BatchingService } from "../../../lib/server/service/batching-service";
import { ServerMetrics } from "../../../lib/server/service/metrics";
import { openReal, outcomeOf, until } from "./real-service";
import { call, StubModel, texts } from "./stub-model";

async function figure(metrics: ServerMetrics, name: string): Promise<number> {
  const line = (await metrics.text()).split("\n").find((text) => text.startsWith(`${name} `));
  return Number(line?.split(" ")[1]);
}

t.test(
  "S29 an idle engine is asked for a real vector now and then, and health tells how long ago it answered",
  async (t) => {
    const model = new StubModel();
    const service = new BatchingService(model, { probeEveryMs: 600 });
    t.teardown(() => service.stop(0));
    t.match(service.health, { healthy: false, reason: /not answered yet/ });
    await until(() => service.health.healthy);
    t.equal(model.probes, 1);
    await sleep(2_500);
    t.ok(model.probes >= 3 && model.probes <= 5, `${model.probes} probes`);
    t.ok((service.health.answerAgeMs as number) <= 1_500);
    const busy = Array.from({ length: 20 }, async () => {
      for (let i = 0; i < 20; i++) await service.embed(texts(1), call());
    });
    const before = model.probes;
    await Promise.all(busy);
    t.ok(model.probes <= before + 1, "none while it works");
  },
);

t.test("S29 an engine that takes its time over a batch is healthy", async (t) => {
  const service = new BatchingService(new StubModel({ callMs: 2_500 }), { probeEveryMs: 200, probeMs: 300 });
  t.teardown(() => service.stop(0));
  await until(() => service.health.healthy);
  const work = service.embed(texts(1), call());
  let sick = 0;
  for (let i = 0; i < 22; i++) {
    await sleep(100);
    if (!service.health.healthy) sick++;
  }
  t.equal(sick, 0);
  t.equal((await work).length, 1);
});

t.test(
  "S28 S29 a process that hangs while idle is unhealthy within 5 s, and healthy when it goes on",
  { timeout: 240_000 },
  async (t) => {
    const { service, pid, metrics, crashes } = await openReal(t);
    t.equal(await figure(metrics, "gme_healthy"), 1);
    process.kill(pid(), "SIGSTOP");
    const sickMs = await until(() => !service.health.healthy);
    t.ok(sickMs < 5_000, `unhealthy after ${sickMs.toFixed(0)} ms`);
    t.match(service.health.reason, /no sign of life|does not answer/);
    t.equal(service.state, "restarting");
    t.equal(await figure(metrics, "gme_healthy"), 0);
    t.equal(await outcomeOf(service.embed(texts(1), call())), "GME_ENGINE_RESTARTED");
    process.kill(pid(), "SIGCONT");
    const wellMs = await until(() => service.health.healthy);
    t.ok(wellMs < 5_000, `healthy after ${wellMs.toFixed(0)} ms`);
    t.equal(await outcomeOf(service.embed(texts(1), call())), "vector");
    t.equal(crashes.length, 0, "no process was lost");
  },
);

t.test(
  "S28 S29 a process that hangs at work is unhealthy within 5 s and ended after maxJobMs",
  { timeout: 240_000 },
  async (t) => {
    const { service, pid, metrics, crashes } = await openReal(t, {
      maxJobMs: 7_000,
      probeEveryMs: 1_000,
      maxBatchItems: 4,
    });
    await service.embed(texts(4), call());
    const calls = Array.from({ length: 10 }, (_, i) => outcomeOf(service.embed(texts(4, `round ${i}`), call(`${i}`))));
    process.kill(pid(), "SIGSTOP");
    const start = performance.now();
    await until(() => !service.health.healthy);
    const sickMs = performance.now() - start;
    t.ok(sickMs < 5_000, `unhealthy after ${sickMs.toFixed(0)} ms`);
    await until(() => crashes.length > 0);
    const killMs = performance.now() - start;
    t.ok(killMs > 5_000 && killMs < 12_000, `ended after ${killMs.toFixed(0)} ms`);
    t.equal(await figure(metrics, "gme_engine_ends"), 1);
    await until(() => service.health.healthy);
    const outcomes = await Promise.all(calls);
    const lost = outcomes.filter((outcome) => outcome === "GME_ENGINE_RESTARTED").length;
    t.ok(lost >= 1 && lost <= 4, `${lost} requests were with it`);
    t.equal(outcomes.filter((outcome) => outcome === "vector").length, 10 - lost, "what waited was answered");
    t.equal(await figure(metrics, "gme_healthy"), 1);
  },
);

t.test("S28 an engine in this process that finishes nothing costs the requests that it has", async (t) => {
  const model = new StubModel({ callMs: 600_000 });
  model.engineProcesses = () => [];
  const service = new BatchingService(model, { maxJobMs: 1_000 });
  t.teardown(() => service.stop(0));
  await until(() => service.health.healthy);
  t.equal(await outcomeOf(service.embed(texts(1), call())), "GME_ENGINE_RESTARTED");
  t.equal(model.batches[0].wasAborted, true);
});

t.test("S26 S29 a service that stops is unhealthy while it finishes its work", async (t) => {
  const service = new BatchingService(new StubModel({ callMs: 300 }));
  await until(() => service.health.healthy);
  const work = service.embed(texts(1), call());
  const stopped = service.stop(5_000);
  t.match(service.health, { healthy: false, reason: /stopping/ });
  t.equal((await work).length, 1);
  await stopped;
});

t.test("S40 no clock of the day is read: a jump of an hour changes nothing", async (t) => {
  const service = new BatchingService(new StubModel({ callMs: 20 }), { probeEveryMs: 300 });
  t.teardown(() => service.stop(0));
  await until(() => service.health.healthy);
  const { now } = Date;
  t.teardown(() => {
    Date.now = now;
  });
  for (const jump of [3_600_000, -3_600_000]) {
    Date.now = () => now() + jump;
    t.equal(await outcomeOf(service.embed(texts(3), call())), "vector");
    await sleep(700);
    t.match(service.health, { healthy: true });
    t.ok((service.health.answerAgeMs as number) < 1_500);
  }
});

t.test("S42 metrics count what was done, and no name that a client chose is a label", async (t) => {
  const metrics = new ServerMetrics();
  const service = new BatchingService(new StubModel(), { metrics });
  t.teardown(() => service.stop(0));
  for (let i = 0; i < 500; i++) await service.embed(texts(2), call(`client ${i}`));
  await sleep(20); // a batch is counted when its call has ended, just after its last item
  metrics.answered({ route: "/v1/embeddings", status: 200, seconds: 0.02 });
  metrics.answered({ route: "/v1/embeddings", status: 429, seconds: 0.001, code: "GME_QUEUE_FULL" });
  const text = await metrics.text();
  t.match(text, /^gme_items_total\{kind="text"\} 1000$/m);
  t.match(text, /^gme_batch_items_count\{kind="text"\} 500$/m);
  t.match(text, /^gme_requests_total\{route="\/v1\/embeddings",status="429"\} 1$/m);
  t.match(text, /^gme_refusals_total\{code="GME_QUEUE_FULL"\} 1$/m);
  t.match(text, /^gme_queue_tokens 0$/m);
  t.notMatch(text, /client/);
  t.ok(text.split("\n").length < 150, `${text.split("\n").length} lines`);
  t.equal(
    new Set((await new ServerMetrics().text()).match(/^gme_items_total.*/m) ?? []).size,
    0,
    "a server has its own",
  );
});
