import t from "tap";
import { binding } from "../../lib/binding";
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
  wait,
} from "./native-model";

t.test("L05 abort() at a random moment stops the call and leaves the model usable", async (t) => {
  const random = randomNumbers(5);
  const model = await open();
  const items = makeItems(200);
  const probe = makeItems(2);
  const expected = await embedNow(model, probe);
  const outcomes = new Map<string, number>();
  let slowest = 0;
  let correct = 0;
  for (let round = 0; round < 100; round++) {
    const job = model.embed(items, embedParams);
    const outcome = outcomeOf(job);
    await wait(random() * 20);
    const asked = performance.now();
    job.abort();
    const how = await outcome;
    slowest = Math.max(slowest, performance.now() - asked);
    outcomes.set(how, (outcomes.get(how) ?? 0) + 1);
    if (sameVectors(await embedNow(model, probe), expected)) correct++;
  }
  t.same(
    [...outcomes.keys()].filter((how) => how !== "GME_ABORTED" && how !== "fulfilled"),
    [],
  );
  t.ok((outcomes.get("GME_ABORTED") ?? 0) > 50, `aborted in the middle ${outcomes.get("GME_ABORTED")} times`);
  t.equal(correct, 100, "the next embed is right");
  t.ok(slowest < 500, `settles ${slowest.toFixed(0)} ms after abort() at most`);
  await model.close();
});

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
  const job = model.embed(makeItems(64), embedParams);
  job.abort();
  job.abort();
  t.equal(await outcomeOf(job), "GME_ABORTED");
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

t.test("L15 a load aborted at any progress rejects and the next one works", async (t) => {
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
  const immediately = binding().load(modelFile, loadParams);
  immediately.abort();
  t.equal(await outcomeOf(immediately), "GME_ABORTED");
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
