import t from "tap";
import { binding } from "../../lib/binding";
import { load } from "../../lib/index";
import {
  embedNow,
  embedParams,
  itemsFor,
  loadParams,
  makeItems,
  modelFile,
  open,
  outcomeOf,
  randomNumbers,
  sameVectors,
  turnFor,
} from "./native-model";
import { rounds, tally } from "./rounds";

t.test("L01 close() at a random moment of an embed() waits for it, a thousand times", async (t) => {
  const random = randomNumbers(1);
  const first = await open();
  const items = await itemsFor(first, 4);
  const expected = await embedNow(first, items);
  const began = performance.now();
  await embedNow(first, items);
  const length = performance.now() - began;
  await first.close();
  const count = rounds(1000, 1000);
  let [settledFirst, correct, inTheMiddle] = [0, 0, 0];
  for (let round = 0; round < count; round++) {
    const model = await open();
    let settled = false;
    const running = embedNow(model, items).finally(() => {
      settled = true;
    });
    await turnFor(random() * length);
    if (!settled) inTheMiddle++;
    await model.close();
    if (settled) settledFirst++;
    if (sameVectors(await running, expected)) correct++;
  }
  t.equal(settledFirst, count, "the embed settles before its close");
  t.equal(correct, count, "with the right vectors");
  t.ok(inTheMiddle > count / 4, "many closes come while the engine computes");
  t.comment(
    `L01: ${count} closes, ${inTheMiddle} of them in the middle of an embed(); ${correct} settled with the right vectors`,
  );
});

t.test("L01 close() of the public API at a random moment lets every accepted call end", async (t) => {
  const random = randomNumbers(2);
  const count = rounds(50, 1000);
  const outcomes: string[] = [];
  for (let round = 0; round < count; round++) {
    const gme = await load(modelFile, { mmproj: loadParams.mmproj, threads: 1 });
    const accepted = [gme.embedBatch(["a cat", "a dog", "a horse"]), gme.embed("one more")];
    await turnFor(random() * 3);
    const closing = gme.close();
    const refused = outcomeOf(gme.embed("too late"));
    outcomes.push(...(await Promise.all(accepted.map(outcomeOf))), await refused);
    await closing;
  }
  t.equal(outcomes.filter((how) => how === "fulfilled").length, count * 2);
  t.equal(outcomes.filter((how) => how === "GME_MODEL_CLOSED").length, count);
  t.comment(`L01: public API, ${count} closes: ${tally(outcomes)}`);
});

t.test("L01 jobs called before close() still run, in order", async (t) => {
  const model = await open();
  const order: string[] = [];
  const note = (name: string) => (): unknown => order.push(name);
  const work = [
    embedNow(model, makeItems(4)).then(note("embed")),
    model.tokenize(["a cat"], false).promise.then(note("tokenize")),
    model.countTokens([{ text: "a cat" }], false).promise.then(note("countTokens")),
    model.stages({ text: "a cat" }, embedParams).promise.then(note("stages")),
    model.close().then(note("close")),
  ];
  await Promise.all(work);
  t.same(order, ["embed", "tokenize", "countTokens", "stages", "close"]);
});

t.test("L02 close() is idempotent, alone and sixteen at a time", async (t) => {
  const model = await open();
  const items = makeItems(8);
  const running = embedNow(model, items);
  const closes = Array.from({ length: 16 }, () => model.close());
  t.equal(new Set(closes).size, 1, "one promise for all");
  t.same(await Promise.all(closes), Array(16).fill(undefined));
  t.ok((await running).length > 0);
  t.equal(await model.close(), undefined, "also afterwards");
  t.comment("L02: 16 closes at once and one afterwards are one close");
});

t.test("L02 the end of a scope that holds the model closes it", async (t) => {
  const gme = await load(modelFile, { mmproj: loadParams.mmproj, threads: 1 });
  const running = gme.embed("a cat");
  await gme[Symbol.asyncDispose]();
  t.equal(await outcomeOf(running), "fulfilled");
  t.equal(await outcomeOf(gme.embed("a cat")), "GME_MODEL_CLOSED");
  t.equal(await outcomeOf(gme[Symbol.asyncDispose]()), "fulfilled", "twice is once");
});

t.test("L02 every method of a closed model rejects with GME_MODEL_CLOSED", async (t) => {
  const model = await open();
  const closing = model.close();
  t.equal(await outcomeOf(model.embed([{ text: "a" }], embedParams)), "GME_MODEL_CLOSED", "while it closes");
  await closing;
  const job = model.embed([{ text: "a" }], embedParams);
  t.doesNotThrow(() => job.abort(), "abort() of a refused job does nothing");
  t.equal(await outcomeOf(job), "GME_MODEL_CLOSED");
  t.equal(await outcomeOf(model.stages({ text: "a" }, embedParams)), "GME_MODEL_CLOSED");
  t.equal(await outcomeOf(model.tokenize(["a"], false)), "GME_MODEL_CLOSED");
  t.equal(await outcomeOf(model.countTokens([{ text: "a" }], false)), "GME_MODEL_CLOSED");
  t.same(model.memory(), { mappedBytes: 0, ownedBytes: 0, computeBytes: 0, keptBytes: 0 }, "it takes no memory");
  t.type(JSON.parse(model.info), "object", "info stays readable");
});

t.test("L14 three models close in every order and the others keep their vectors", async (t) => {
  const items = makeItems(8);
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  let compared = 0;
  for (const order of orders) {
    const models = await Promise.all([
      open(),
      open(),
      binding().load(modelFile, { ...loadParams, mmap: false }).promise,
    ]);
    const vectors = await Promise.all(models.map((model) => embedNow(model, items)));
    t.ok(vectors.every((vector) => sameVectors(vector, vectors[0] as Float32Array)));
    const left = new Set(models);
    for (const index of order) {
      const model = models[index];
      if (!model) throw new Error("no such model");
      await model.close();
      left.delete(model);
      for (const other of left) {
        t.ok(sameVectors(await embedNow(other, items), vectors[0] as Float32Array));
        compared++;
      }
    }
  }
  t.comment(`L14: three models, ${orders.length} orders of closing, ${compared} embeds of those left, all bit-equal`);
});
