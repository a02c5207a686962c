import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import type { NativeModel } from "../../lib/binding";
import { countThreads } from "./process-state";
import { isSanitized, rounds } from "./rounds";
import { embedNow, embedParams, makeItems, open, sameVectors, wait } from "./native-model";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Collections of the last storm. */
let lastStorm = 0;

async function stormDuring<T>(work: Promise<T>): Promise<T> {
  let isOver = false;
  const result = work.finally(() => {
    isOver = true;
  });
  lastStorm = 0;
  while (!isOver) {
    collect();
    lastStorm++;
    await wait(1);
  }
  return result;
}

t.test("L03 embed() whose model nobody holds any more is right in a storm of collections", async (t) => {
  const first = await open();
  const items = makeItems(isSanitized ? 40 : 200);
  const expected = await embedNow(first, items);
  await first.close();
  let collections = 0;
  const count = rounds(10, 100);
  for (let round = 0; round < count; round++) {
    const result = await stormDuring(
      (async () => {
        const model = await open();
        return [model.embed(items, embedParams).promise, model.embed(items, embedParams).promise];
      })().then((promises) => Promise.all(promises)),
    );
    collections += lastStorm;
    t.ok(result.every((vectors) => sameVectors(vectors, expected)));
  }
  t.comment(
    `L03: ${count * 2} embeds of models that nobody holds, ${collections} full collections in between, all vectors right`,
  );
});

t.test("L03 inputs may be changed, detached and collected after the call", async (t) => {
  const model = await open();
  const make = () => ({ data: Uint8Array.from({ length: 84 * 56 * 3 }, (_, i) => i % 253), width: 84, height: 56 });
  const expected = await embedNow(model, [{ image: make() }]);
  const changed = make();
  const first = embedNow(model, [{ image: changed }]);
  changed.data.fill(0);
  const detached = make();
  const second = embedNow(model, [{ image: detached }]);
  structuredClone(detached.data.buffer, { transfer: [detached.data.buffer as ArrayBuffer] });
  t.ok(sameVectors(await stormDuring(first), expected));
  t.ok(sameVectors(await stormDuring(second), expected));
  await model.close();
});

t.test("L03 models that nobody closes are freed with their threads", async (t) => {
  const before = countThreads();
  let models: NativeModel[] = await Promise.all(Array.from({ length: 8 }, open));
  t.ok(countThreads() >= before + 8 || process.platform !== "linux");
  models = [];
  for (let i = 0; i < 200 && countThreads() > before; i++) {
    collect();
    await wait(5);
  }
  t.equal(models.length, 0);
  t.ok(countThreads() <= before, `${countThreads()} threads, ${before} before`);
});

t.test("L03 a collected model that is closing still settles its close()", async (t) => {
  const closing = (await open()).close();
  t.equal(await stormDuring(closing), undefined);
  const items = makeItems(8);
  const both = await (async () => {
    const model = await open();
    return [embedNow(model, items), model.close()] as const;
  })();
  const [vectors] = await stormDuring(Promise.all(both));
  t.ok(vectors.length > 0);
});
