import t from "tap";
import { binding } from "../../lib/binding";
import { load } from "../../lib/index";
import {
  embedNow,
  embedParams,
  loadParams,
  makeItems,
  modelFile,
  open,
  outcomeOf,
  randomNumbers,
  sameVectors,
  turnFor,
  wait,
} from "./native-model";
import { countMappings, countThreads } from "./process-state";
import { isSanitized, quantile, rounds, tally } from "./rounds";

const slowestAllowed = isSanitized ? 10_000 : 500;

t.test("L05 abort() at a random moment stops the call and leaves the model usable, a thousand times", async (t) => {
  const random = randomNumbers(5);
  const model = await open();
  const items = makeItems(100);
  const probe = makeItems(1);
  const expected = await embedNow(model, probe);
  const count = rounds(1000, 1000);
  const outcomes: string[] = [];
  const times: number[] = [];
  let correct = 0;
  for (let round = 0; round < count; round++) {
    const job = model.embed(items, embedParams);
    const outcome = outcomeOf(job);
    await turnFor(random() * 4);
    const asked = performance.now();
    job.abort();
    outcomes.push(await outcome);
    times.push(performance.now() - asked);
    if (sameVectors(await embedNow(model, probe), expected)) correct++;
  }
  const aborted = outcomes.filter((how) => how === "GME_ABORTED").length;
  t.same(
    outcomes.filter((how) => how !== "GME_ABORTED" && how !== "fulfilled"),
    [],
  );
  t.ok(aborted > count / 2, `aborted in the middle ${aborted} times`);
  t.equal(correct, count, "the next embed is right");
  const slowest = Math.max(...times);
  t.ok(slowest < slowestAllowed, `settles ${slowest.toFixed(0)} ms after abort() at most`);
  t.comment(
    `L05: ${count} aborts at random moments: ${tally(outcomes)}; settled after ${quantile(times, 0.5).toFixed(1)} ms (median), ${slowest.toFixed(0)} ms (worst); the next embed right ${correct} times`,
  );
  await model.close();
});

t.test(
  "L05 an AbortSignal stops the call before it starts, in the queue, in the vision tower and in the decoder",
  async (t) => {
    const random = randomNumbers(55);
    const options = { mmproj: loadParams.mmproj, threads: 1, minImageTokens: 4, maxImageTokens: 1024 };
    const gme = await load(modelFile, options);
    const picture = { data: new Uint8Array(896 * 896 * 3).map((_, i) => i % 251), width: 896, height: 896 };
    const long = "a long sentence about cats and dogs ".repeat(60);
    const expected = await gme.embed("a cat");
    const moments: Record<string, (controller: AbortController) => Promise<unknown>> = {
      "already aborted": (controller) => {
        controller.abort();
        return gme.embed("a cat", { signal: controller.signal });
      },
      "right after the call": (controller) => {
        const call = gme.embed(long, { signal: controller.signal });
        controller.abort();
        return call;
      },
      "in the queue": (controller) => {
        const running = gme.embed(long);
        const call = gme.embed("a cat", { signal: controller.signal });
        setImmediate(() => controller.abort());
        return Promise.all([call, running]);
      },
      "in the vision tower": (controller) => {
        const call = gme.embed({ image: picture }, { signal: controller.signal });
        void turnFor(5 + random() * 20).then(() => controller.abort());
        return call;
      },
      "in the decoder": (controller) => {
        const call = gme.embed(long, { signal: controller.signal });
        void turnFor(random() * 10).then(() => controller.abort());
        return call;
      },
    };
    const count = rounds(20, 200);
    for (const [moment, call] of Object.entries(moments)) {
      const outcomes: string[] = [];
      let [slowest, correct] = [0, 0];
      for (let round = 0; round < count; round++) {
        const controller = new AbortController();
        let asked = performance.now();
        controller.signal.addEventListener("abort", () => {
          asked = performance.now();
        });
        const how = await call(controller).then(
          () => "fulfilled",
          (error: Error & { code?: string }) => `${error.name} ${error.code}`,
        );
        outcomes.push(how);
        if (how !== "fulfilled") slowest = Math.max(slowest, performance.now() - asked);
        if (sameVectors(await gme.embed("a cat"), expected)) correct++;
      }
      const aborted = outcomes.filter((how) => how === "AbortError GME_ABORTED").length;
      const certain = !moment.startsWith("in the v") && !moment.startsWith("in the d");
      t.ok(certain ? aborted === count : aborted > count / 4, `${moment}: ${tally(outcomes)}`);
      t.equal(aborted + outcomes.filter((how) => how === "fulfilled").length, count);
      t.ok(slowest < slowestAllowed, `${moment}: settles after ${slowest.toFixed(0)} ms at most`);
      t.equal(correct, count, `${moment}: the next embed is right`);
      t.comment(`L05: ${moment}: ${tally(outcomes)}, at most ${slowest.toFixed(0)} ms after the abort`);
    }
    await gme.close();
  },
);

t.test("L05 a job aborted in the queue rejects at once and never runs", async (t) => {
  const model = await open();
  const running = model.embed(makeItems(400), embedParams);
  let reports = 0;
  const queued = model.embed(makeItems(4), embedParams, () => reports++);
  const behind = model.embed(makeItems(2), embedParams);
  let isRunning = true;
  const end = outcomeOf(running).then((how) => {
    isRunning = false;
    return how;
  });
  queued.abort();
  t.equal(await outcomeOf(queued), "GME_ABORTED");
  t.ok(isRunning, "while the job before it still runs");
  t.equal(await end, "fulfilled");
  t.equal(await outcomeOf(behind), "fulfilled");
  t.equal(reports, 0);
  await model.close();
});

t.test("L05 abort() right after the call, twice, and after the end", async (t) => {
  const model = await open();
  const before = embedNow(model, makeItems(256)); // so that the job cannot be done when this thread comes to abort it
  const job = model.embed(makeItems(64), embedParams);
  job.abort();
  job.abort();
  t.equal(await outcomeOf(job), "GME_ABORTED");
  await before;
  const done = model.embed(makeItems(2), embedParams);
  await done.promise;
  done.abort();
  t.equal(await outcomeOf(done), "fulfilled");
  const ahead = embedNow(model, makeItems(16));
  const others = [
    model.stages({ text: "a cat" }, embedParams),
    model.tokenize(["a cat"], false),
    model.countTokens([{ text: "a cat" }], false),
  ];
  for (const other of others) other.abort();
  t.same(await Promise.all(others.map(outcomeOf)), Array(3).fill("GME_ABORTED"));
  await ahead;
  await model.close();
  done.abort();
});

/** Threads end a moment after the promise that tells of it. */
async function settledThreads(target: number): Promise<number> {
  for (let i = 0; i < 200 && countThreads() > target; i++) await wait(5);
  return countThreads();
}

t.test("L15 a load aborted at each of its steps rejects and gives back memory and thread", async (t) => {
  const steps: number[] = [];
  await (await binding().load(modelFile, loadParams, (fraction) => steps.push(fraction)).promise).close();
  const threads = await settledThreads(0);
  const count = rounds(50, 400);
  const outcomes: string[] = [];
  for (let round = 0; round < count; round++) {
    let seen = 0;
    const job = binding().load(modelFile, { ...loadParams, mmap: round % 2 === 0 }, () => {
      if (seen++ === round % 4) job.abort();
    });
    if (round % 5 === 4) job.abort();
    const how = await outcomeOf(job);
    outcomes.push(how);
    if (how === "fulfilled") await (await job.promise).close();
  }
  t.same(
    outcomes.filter((how) => how !== "GME_ABORTED" && how !== "fulfilled"),
    [],
  );
  t.ok(outcomes.includes("GME_ABORTED"));
  t.equal(await settledThreads(threads), threads, "no thread stays behind");
  t.equal(countMappings(modelFile), 0, "no mapping either");
  t.comment(
    `L15: ${count} loads of ${steps.length} reported steps aborted at one of them: ${tally(outcomes)}; threads ${threads} before and after`,
  );
});

/** How a load ends that is aborted in the same turn; a tiny model may be loaded before that, and is closed. */
async function abortedLoad(): Promise<string> {
  const job = binding().load(modelFile, loadParams);
  job.abort();
  const how = await outcomeOf(job);
  if (how === "fulfilled") await (await job.promise).close();
  return how;
}

t.test("L15 the thread of a load that nobody gets ends: aborted at once, or its progress callback threw", async (t) => {
  const threads = await settledThreads(0);
  const early: string[] = [];
  for (let round = 0; round < 30; round++) {
    early.push(await abortedLoad());
    const thrown = binding().load(modelFile, loadParams, () => {
      throw new Error("from the callback");
    });
    t.equal(await outcomeOf(thrown), "Error: from the callback");
  }
  t.ok(
    early.every((how) => how === "GME_ABORTED" || how === "fulfilled"),
    tally(early),
  );
  t.ok(early.filter((how) => how === "GME_ABORTED").length >= 15, "most are aborted before they are done");
  t.equal(await settledThreads(threads), threads);
  t.equal(countMappings(modelFile), 0);
});

t.test("L15 a load aborted at a random moment rejects and the next one works", async (t) => {
  const random = randomNumbers(15);
  for (let round = 0; round < 20; round++) {
    const job = binding().load(modelFile, loadParams);
    const outcome = outcomeOf(job);
    await wait(random() * 4);
    job.abort();
    const how = await outcome;
    if (how === "fulfilled") await (await job.promise).close();
    else t.equal(how, "GME_ABORTED");
  }
  t.match(await abortedLoad(), /^(GME_ABORTED|fulfilled)$/);
  const model = await open();
  t.ok((await embedNow(model, makeItems(1))).length > 0);
  await model.close();
});

t.test("progress grows, ends with the whole, and never comes after the result", async (t) => {
  const fractions: number[] = [];
  const model = await binding().load(modelFile, loadParams, (fraction) => fractions.push(fraction)).promise;
  t.same(
    fractions,
    [...fractions].sort((a, b) => a - b),
  );
  t.equal(fractions.at(-1), 1);

  const counts: number[] = [];
  const job = model.embed(makeItems(32), embedParams, (done) => counts.push(done));
  await job.promise;
  const atTheEnd = counts.length;
  t.same(
    counts,
    [...new Set(counts)].sort((a, b) => a - b),
  );
  t.equal(counts.at(-1), 32);
  await wait(20);
  t.equal(counts.length, atTheEnd);
  await model.close();
});

t.test("a progress callback that throws stops its call with what it threw", async (t) => {
  const model = await open();
  const mistake = new Error("from the callback");
  const job = model.embed(makeItems(64), embedParams, () => {
    throw mistake;
  });
  await t.rejects(job.promise, mistake);
  t.ok((await embedNow(model, makeItems(1))).length > 0);
  await model.close();
});
