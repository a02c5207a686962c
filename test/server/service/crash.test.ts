// The engine's process dies: what was with it, what waited, and what comes again.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import t from "tap";
import { BatchingService } from "../../../lib/server/service/batching-service";
import { type CrashEntry, CrashRecord } from "../../../lib/server/service/crash-record";
import type { ReadyItem } from "../../../lib/server/service/embed-service";
import { poisonProcesses, samplePaths } from "../../isolated/engine-setup";
import { openReal, outcomeOf, until } from "./real-service";
import { call, StubModel, texts } from "./stub-model";

const word = (text: string): ReadyItem => ({ field: "input", text, pixels: 0 });

for (const signal of ["SIGKILL", "SIGSEGV", "SIGABRT"] as const) {
  t.test(
    `S27 ${signal} under load: what is with the engine gets 503, what waits its vectors, and it is up again`,
    async (t) => {
      const { service, crashes, pid, loadMs } = await openReal(t, { maxBatchItems: 8 });
      await service.embed(texts(8), call());
      const calls = Array.from({ length: 40 }, (_, i) =>
        outcomeOf(service.embed(texts(8, `round ${i}`), call(`${i}`))),
      );
      await new Promise((resolve) => setTimeout(resolve, 10));
      process.kill(pid(), signal);
      await until(() => service.state !== "ready");
      t.equal(service.state, "restarting");
      t.equal(service.health.healthy, false);
      t.equal(
        await outcomeOf(service.embed(texts(1), call())),
        "GME_ENGINE_RESTARTED",
        "new work is refused meanwhile",
      );
      const restartMs = await until(() => service.health.healthy);
      const outcomes = await Promise.all(calls);
      const lost = outcomes.filter((outcome) => outcome === "GME_ENGINE_RESTARTED").length;
      t.ok(lost >= 1 && lost <= 3, `${lost} requests were with it`);
      t.equal(outcomes.filter((outcome) => outcome === "vector").length, 40 - lost, "all others have their vectors");
      t.ok(
        restartMs < loadMs + 2_000,
        `healthy again after ${restartMs.toFixed(0)} ms, loading took ${loadMs.toFixed(0)} ms`,
      );
      t.equal(crashes.length, 1);
      const named = crashes[0].digests.length;
      t.ok(named > 0 && named <= lost * 8, `${named} items are named`);
      t.match(crashes[0].reason, new RegExp(signal));
      const again = await Promise.all(Array.from({ length: 40 }, (_, i) => outcomeOf(service.embed(texts(8, `round ${i}`), call())))); // biome-ignore format: one line says it
      t.ok(
        again.every((outcome) => outcome === "vector"),
        "the suspects ran alone and did no harm",
      );
    },
  );
}

t.test(
  "S27 an item that ends the process twice is refused with 422 from then on, its neighbours are not harmed",
  async (t) => {
    poisonProcesses(t);
    const { service, crashes, model } = await openReal(t);
    const poison = word("poison-kill");
    const expected = (await service.embed([word("a cat")], call()))[0].embedding;
    const neighbours = () => ["one", "two", "three"].map((text) => service.embed([word(text)], call(text)));
    const first = [...neighbours(), service.embed([poison], call("bad"))].map(outcomeOf);
    t.match((await Promise.all(first)).at(-1), "GME_ENGINE_RESTARTED", "the first time");
    await until(() => service.health.healthy);
    const second = [...neighbours(), service.embed([poison], call("bad"))].map(outcomeOf);
    t.strictSame(await Promise.all(second), ["vector", "vector", "vector", "GME_ENGINE_RESTARTED"], "alone, the second time"); // biome-ignore format: one line says it
    await until(() => service.health.healthy);
    const ends = model.engineProcesses()[0].ends;
    for (let i = 0; i < 3; i++) {
      const third = [...neighbours(), service.embed([word("good"), { ...poison, field: "input[1]" }], call("bad"))];
      t.strictSame(await Promise.all(third.map(outcomeOf)), ["vector", "vector", "vector", "GME_ITEM_REFUSED"]);
      await t.rejects(third[3], { code: "GME_ITEM_REFUSED", field: "input[1]" });
    }
    t.equal(model.engineProcesses()[0].ends, ends, "no process was harmed by it");
    t.strictSame((await service.embed([word("a cat")], call()))[0].embedding, expected);
    t.equal(crashes.length, 2);
    t.strictSame(crashes[1].digests.length, 1);
    t.ok(crashes[0].digests.includes(crashes[1].digests[0]), "both times it is named by the same digest");
  },
);

t.test("S27 a client that goes away before its item ends the process leaves the item suspected", async (t) => {
  const model = new StubModel({ callMs: 60_000 });
  const crashes: CrashEntry[] = [];
  const service = new BatchingService(model, { onCrash: (entry) => crashes.push(entry) });
  t.teardown(() => service.stop(0));
  for (let i = 0; i < 2; i++) {
    await until(() => service.health.healthy);
    const abort = new AbortController();
    const gone = outcomeOf(service.embed([word("poison")], call("a", { signal: abort.signal })));
    await until(() => model.batches.length === i + 1);
    abort.abort();
    t.equal(await gone, "GME_ABORTED");
    model.ends++;
    await until(() => crashes.length === i + 1);
    t.equal(crashes[i].digests.length, 1);
  }
  await until(() => service.health.healthy);
  t.equal(await outcomeOf(service.embed([word("poison")], call())), "GME_ITEM_REFUSED");
});

t.test(
  "S27 S29 five crashes within the time break the circuit; it closes again after it",
  { timeout: 240_000 },
  async (t) => {
    const breakMs = 15_000;
    const { service, model, crashes } = await openReal(t, { breakMs });
    for (let i = 1; i <= 5; i++) {
      await until(() => model.engineProcesses()[0].pid !== undefined);
      process.kill(model.engineProcesses()[0].pid as number, "SIGKILL");
      await until(() => crashes.length === i);
      if (i < 5) t.equal(service.state, "restarting", `after crash ${i}`);
    }
    t.equal(service.state, "broken");
    t.match(service.health, { healthy: false, reason: /ended 5 times within 15 s/ });
    t.equal(await outcomeOf(service.embed(texts(1), call())), "GME_ENGINE_RESTARTED");
    const brokenMs = await until(() => service.state === "ready");
    t.ok(brokenMs > breakMs - 1_000, `broken for ${(brokenMs / 1000).toFixed(1)} s`);
    t.equal(await outcomeOf(service.embed(texts(1), call())), "vector");
  },
);

t.test("S27 of two engines the one that dies costs its own batches only", async (t) => {
  const { service, model } = await openReal(t, { maxBatchItems: 4 }, { device: ["cpu", "cpu"] });
  await service.embed(texts(8), call());
  const calls = Array.from({ length: 40 }, (_, i) => outcomeOf(service.embed(texts(4, `round ${i}`), call(`${i}`))));
  await new Promise((resolve) => setTimeout(resolve, 10));
  process.kill(model.engineProcesses()[1].pid as number, "SIGKILL");
  const outcomes = await Promise.all(calls);
  const lost = outcomes.filter((outcome) => outcome === "GME_ENGINE_RESTARTED").length;
  t.ok(lost <= 3, `${lost} requests were with it`);
  t.equal(outcomes.filter((outcome) => outcome === "vector").length, 40 - lost);
  await until(() => service.health.healthy);
});

t.test("a record knows an item by text, prompt, overflow and the picture's bytes, and forgets the oldest", (t) => {
  const record = new CrashRecord();
  const image = readFileSync(samplePaths[0]);
  const item = { text: "a", prompt: "b", image, overflow: "error" };
  const [digest] = record.countDeaths([item, { ...item }]);
  t.equal(record.deathsOf(item), 1, "the same item twice is one death");
  const parts = ["1:a", "1:b", "5:error"].map((part) => Buffer.from(part));
  const expected = createHash("sha256").update(Buffer.concat([...parts, Buffer.from(`${image.length}:`), image])).digest("hex"); // biome-ignore format: one line says it
  t.equal(digest, expected);
  const other = Buffer.from(image);
  other[other.length - 20] ^= 1;
  for (const near of [{ text: "ab", prompt: "" }, { prompt: undefined }, { overflow: "truncate" }, { image: other }, { image: undefined }]) // biome-ignore format: one line says it
    t.equal(record.deathsOf({ ...item, ...near }), 0);
  record.countDeaths([item]);
  t.ok(record.isFatal(item));
  for (let i = 0; i < 999; i++) record.countDeaths([{ text: `${i}`, overflow: "error" }]);
  t.ok(record.isFatal(item), "1,000 are known");
  record.countDeaths([{ text: "one more", overflow: "error" }]);
  t.equal(record.deathsOf(item), 0);
  t.equal(record.size, 1_000);
  record.clear({ text: "5", overflow: "error" });
  t.equal(record.deathsOf({ text: "5", overflow: "error" }), 0);
  t.end();
});
