import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { readAhead } from "../../lib/index-store/read-ahead";

async function* counting(n: number, onYield: (i: number) => void = () => undefined, failAfter = false) {
  for (let i = 0; i < n; i++) {
    onYield(i);
    yield i;
  }
  if (failAfter) throw new Error("source");
}

t.test("the reader gets everything in order, in groups no larger than asked", async (t) => {
  const groups: number[][] = [];
  for await (const group of readAhead(counting(100), 10, 4)) {
    groups.push(group);
    if (groups.length % 3 === 0) await sleep(1);
  }
  t.same(
    groups.flat(),
    Array.from({ length: 100 }, (_, i) => i),
  );
  t.ok(groups.every((group) => group.length > 0 && group.length <= 4));
});

t.test("the source runs ahead by as much as asked, and no further", async (t) => {
  let last = -1;
  const reader = readAhead(
    counting(100, (i) => {
      last = i;
    }),
    10,
    1,
  );
  await reader.next();
  await sleep(20);
  t.ok(last >= 9 && last <= 11, `at ${last}`);
  await reader.return(undefined);
});

t.test("a value is handed over although the next one takes long", async (t) => {
  async function* slow() {
    yield 1;
    await sleep(500);
    yield 2;
  }
  const start = performance.now();
  const reader = readAhead(slow(), 10, 8);
  t.same((await reader.next()).value, [1]);
  t.ok(performance.now() - start < 300);
  await reader.return(undefined);
});

t.test("an error of the source comes after its values; a reader that stops ends the source", async (t) => {
  const seen: number[] = [];
  await t.rejects(async () => {
    for await (const group of readAhead(counting(5, undefined, true), 3, 2)) seen.push(...group);
  }, /source/);
  t.same(seen, [0, 1, 2, 3, 4]);
  let ended = false;
  async function* endless() {
    try {
      for (let i = 0; ; i++) {
        await sleep(0);
        yield i;
      }
    } finally {
      ended = true;
    }
  }
  for await (const group of readAhead(endless(), 3, 2)) if (group[0] > 4) break;
  await sleep(30);
  t.ok(ended);
});
