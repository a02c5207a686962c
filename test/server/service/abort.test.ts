// Clients that go away in the middle, with the real engine behind them.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { ReadyItem } from "../../../lib/server/service/embed-service";
import { samplePaths } from "../../isolated/engine-setup";
import { openReal, outcomeOf } from "./real-service";
import { call, texts } from "./stub-model";

t.test(
  "S23 S24 300 requests that are given up anywhere on their way cost no other its vector",
  { timeout: 240_000 },
  async (t) => {
    const { service, crashes, model } = await openReal(t);
    const pictures = samplePaths.slice(0, 8).map((path): ReadyItem => ({ field: "input", image: new Uint8Array(readFileSync(path)), pixels: 4e5 })); // biome-ignore format: one line says it
    const expected = (await service.embed(texts(2, "kept"), call()))[1].embedding;
    const outcomes = new Map<string, number>();
    const kept: Promise<string>[] = [];
    let worst = 0;
    for (let i = 0; i < 300; i++) {
      const abort = new AbortController();
      const items = i % 2 === 0 ? pictures.slice(0, 1 + (i % 8)) : texts(1 + (i % 20), `gone ${i}`);
      const gone = outcomeOf(service.embed(items, call(`gone ${i % 5}`, { signal: abort.signal })));
      if (i % 3 === 0) kept.push(service.embed(texts(2, "kept"), call("kept")).then((found) => `${Math.max(...found[1].embedding.map((x, at) => Math.abs(x - expected[at]))) < 1e-4}`, ({ code }) => code)); // biome-ignore format: one line says it
      await sleep(Math.random() * 12);
      const start = performance.now();
      abort.abort();
      const outcome = await gone;
      worst = Math.max(worst, performance.now() - start);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    t.strictSame([...new Set(await Promise.all(kept))], ["true"], `${kept.length} others have the right vectors`);
    t.ok((outcomes.get("GME_ABORTED") ?? 0) > 100, JSON.stringify([...outcomes]));
    t.strictSame(
      [...outcomes.keys()].filter((outcome) => !/vector|GME_ABORTED/.test(outcome)),
      [],
    );
    t.ok(worst < 500, `heard of within ${worst.toFixed(1)} ms`);
    t.strictSame({ ...service.depth }, { items: 0, tokens: 0, pixels: 0, bytes: 0, cost: 0 });
    const start = performance.now();
    await service.embed(texts(1), call());
    t.ok(performance.now() - start < 2_000, `the next is answered after ${(performance.now() - start).toFixed(0)} ms`);
    t.equal(crashes.length, 0);
    t.equal(model.engineProcesses()[0].ends, 0);
  },
);
