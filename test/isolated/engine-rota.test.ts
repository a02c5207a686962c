// How work is shared by several engines, with engines that do nothing but wait.
import t from "tap";
import type { Device } from "../../lib/devices";
import { GmeError } from "../../lib/errors";
import { dealItems, embedDealt } from "../../lib/isolated/batch-pieces";
import { EngineRota } from "../../lib/isolated/engine-rota";
import { everyCard, threadsOfEach } from "../../lib/isolated/team-devices";
import { rejectsWith } from "../helpers/rejects";

interface Piece {
  readonly name: string;
  readonly engine: string;
  end(): void;
  fail(error: Error): void;
}

const lost = new GmeError("GME_DEVICE_UNAVAILABLE", "the card is gone");

function setUp(engines: string[], atOnce: number) {
  const pieces: Piece[] = [];
  const told: string[] = [];
  const rota = new EngineRota(engines, atOnce, (_, error) => error === lost, (engine) => void told.push(engine)); // biome-ignore format: one line says it
  const work = (name: string) => (engine: string) =>
    new Promise<string>((resolve, reject) => {
      pieces.push({ name, engine, end: () => resolve(`${name} by ${engine}`), fail: reject });
    });
  const run = (name: string, signal?: AbortSignal) => rota.run(work(name), signal);
  const open = () => pieces.map(({ name, engine }) => `${name} ${engine}`);
  const take = (name: string) =>
    pieces.splice(
      pieces.findIndex((piece) => piece.name === name),
      1,
    )[0];
  return { rota, run, work, open, take, told };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

t.test("whoever is free takes the next piece, in the order of the calls", async (t) => {
  const { run, open, take, rota } = setUp(["a", "b"], 1);
  const calls = ["1", "2", "3", "4", "5"].map((name) => run(name));
  t.strictSame(open(), ["1 a", "2 b"], "both at the same time");
  take("2").end();
  await settled();
  take("3").end();
  await settled();
  t.strictSame(open(), ["1 a", "4 b"], "b was quicker and has done two more");
  take("1").end();
  await settled();
  t.strictSame(open(), ["4 b", "5 a"]);
  const drained = rota.drained();
  for (const name of ["4", "5"]) take(name).end();
  await drained;
  t.strictSame(await Promise.all(calls), ["1 by a", "2 by b", "3 by b", "4 by b", "5 by a"]);
});

t.test("two at once: the second goes to the one with less to do; what goes past the queue goes at once", async (t) => {
  const { run, work, open, take, rota } = setUp(["a", "b"], 2);
  for (const name of ["1", "2", "3", "4", "5"]) void run(name);
  t.strictSame(open(), ["1 a", "2 b", "3 a", "4 b"]);
  void rota.runNow(work("now"));
  t.strictSame(open().at(-1), "now a");
  for (const name of ["2", "4"]) take(name).end();
  await settled();
  t.strictSame(open(), ["1 a", "3 a", "now a", "5 b"]);
});

t.test("bad work fails, a lost engine's work goes to another, and all lost are tried again", async (t) => {
  const { run, open, take, told } = setUp(["a", "b"], 1);
  const [first, second, third] = ["1", "2", "3"].map((name) => run(name));
  const bad = new Error("bad work");
  take("2").fail(bad);
  await t.rejects(second, bad);
  take("1").fail(lost);
  await settled();
  t.strictSame([open(), told], [["3 b"], ["a"]], "1 waits for b");
  take("3").end();
  t.equal(await third, "3 by b");
  await settled();
  t.strictSame(open(), ["1 b"]);
  const fourth = run("4");
  t.strictSame(open(), ["1 b"], "a gets nothing while there is b");
  take("1").fail(lost);
  await rejectsWith(t, () => first, "GME_DEVICE_UNAVAILABLE", "both have tried it");
  t.strictSame(open(), ["4 a"]);
  take("4").end();
  t.equal(await fourth, "4 by a");
  void run("5");
  t.strictSame(open(), ["5 a"], "a has come back");
  t.strictSame(told, ["a", "b"]);
});

t.test("what waits rejects at once when it is aborted", async (t) => {
  const { run, open, take, rota } = setUp(["a"], 1);
  const abort = new AbortController();
  const [first, second, third] = [run("1"), run("2", abort.signal), run("3")];
  abort.abort();
  await rejectsWith(t, () => second, "GME_ABORTED");
  await rejectsWith(t, () => run("4", abort.signal), "GME_ABORTED");
  take("1").end();
  await first;
  t.strictSame(open(), ["3 a"]);
  take("3").end();
  await third;
  await rota.drained();
});

t.test("a batch is dealt into pieces that are whole and in order", async (t) => {
  const sizes = (count: number, engines: number, batchSize: number, image?: string) => {
    const items = Array.from({ length: count }, (_, i) => ({ i, image }));
    const pieces = dealItems(items, engines, batchSize);
    t.strictSame(pieces.flatMap((piece) => piece.items), items); // biome-ignore format: one line says it
    for (const { first, items: part } of pieces) t.equal(part[0]?.i ?? 0, first);
    return pieces.map(({ items: part }) => part.length);
  };
  t.strictSame(sizes(40, 1, 8), [40], "one engine has it whole");
  t.strictSame(sizes(0, 2, 8), [0]);
  t.strictSame(sizes(1, 2, 64), [1]);
  t.strictSame(sizes(40, 2, 64), [20, 20], "texts share passes");
  t.strictSame(sizes(40, 2, 16), [16, 16, 8], "no more than a batch");
  t.strictSame(sizes(16, 2, 64, "a.png"), [2, 2, 2, 2, 2, 2, 2, 2], "pictures go a few at a time");
});

t.test("of several pieces that fail the first names the error, and those after it are stopped", async (t) => {
  const items: { i: number; image?: string }[] = Array.from({ length: 6 }, (_, i) => ({ i }));
  const seen: string[] = [];
  const embed = (fails: number[]) =>
    embedDealt(items, 3, { batchSize: 64 }, async (part, { first, total }, { signal }) => {
      t.equal(total, 6);
      if (first === 0) await settled(); // the last to end
      if (fails.includes(first)) throw new Error(`piece ${first}`);
      if (first === 4 && fails.length > 0) await new Promise((resolve) => signal?.addEventListener("abort", resolve));
      if (signal?.aborted) seen.push(`${first} stopped`);
      return part.map(({ i }) => Float32Array.of(i));
    });
  t.strictSame((await embed([])).map(([x]) => x), [0, 1, 2, 3, 4, 5]); // biome-ignore format: one line says it
  await t.rejects(embed([2]), { message: "piece 2" });
  await t.rejects(embed([0, 2]), { message: "piece 0" });
  t.strictSame(seen, ["4 stopped", "4 stopped"]);
});

function device(name: string, about: Partial<Device> = {}): Device {
  const plain = { description: name, id: "", library: `/lib/libggml-${name.split(":")[0]}.so`, memoryFree: 1, memoryTotal: 1 }; // biome-ignore format: one line says it
  return { name, ...plain, discrete: true, software: false, ...about };
}

t.test('"all" is each graphics card once', async (t) => {
  const names = (devices: Device[]) => everyCard(devices).map(({ name }) => name);
  const shared = { discrete: false };
  t.strictSame(names([]), []);
  t.strictSame(names([device("vulkan:0", { software: true })]), [], "a software driver is no card");
  t.strictSame(names([device("cuda:0"), device("cuda:1"), device("vulkan:0", shared)]), ["cuda:0", "cuda:1"]);
  t.strictSame(names([device("vulkan:0", shared)]), ["vulkan:0"], "one that shares the processor's memory, if there is no other"); // biome-ignore format: one line says it
  const one = { id: "0000:C1:00.0", description: "by Vulkan" };
  t.strictSame(names([device("vulkan:0", one), device("cuda:0", { id: "0000:c1:00.0" }), device("vulkan:1", { id: "0000:41:00.0" })]), ["cuda:0", "vulkan:1"], "two libraries for one card"); // biome-ignore format: one line says it
  const twin = { description: "The same card" };
  t.strictSame(names([device("cuda:0", twin), device("cuda:1", twin), device("vulkan:0", twin)]), ["cuda:0", "cuda:1"]);
});

t.test("threads are shared by the engines unless they are given", async (t) => {
  t.strictSame(threadsOfEach({ threads: 3 }, 2), { threads: 3 });
  t.strictSame(threadsOfEach({}, 1), {});
  t.strictSame(threadsOfEach({}, 500), { threads: 1 });
});
