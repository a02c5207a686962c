// What a call leaves behind on the JS thread: the async context of its caller, no loose rejection, and floating point as it was.
import { AsyncLocalStorage } from "node:async_hooks";
import t from "tap";
import { type GmeModel, load } from "../../lib/index";
import { modelFile } from "./native-model";

const storage = new AsyncLocalStorage<string>();

t.test("L32 the caller's async context is there after every call and in every callback", async (t) => {
  const gme = await load(modelFile, { threads: 1 });
  const wrong: string[] = [];
  let checks = 0;
  const expect = (name: string, place: string) => {
    checks++;
    if (storage.getStore() !== name) wrong.push(`${place}: ${storage.getStore()} instead of ${name}`);
  };
  const use = async (name: string) => {
    const onProgress = () => expect(name, "onProgress");
    await gme.embed(name);
    expect(name, "embed");
    await gme.embedBatch([name, "b", "c"], { batchSize: 1, onProgress });
    expect(name, "embedBatch");
    for await (const { index } of gme.embedMany([name, "b"], { onProgress })) expect(name, `embedMany ${index}`);
    await gme.tokenize(name);
    await gme.countTokens(name);
    expect(name, "countTokens");
    await gme.embed(3 as unknown as string).catch(() => expect(name, "a refusal"));
    const controller = new AbortController();
    const stopped = gme.embed(name, { signal: controller.signal }).catch(() => expect(name, "an abort"));
    controller.abort();
    await stopped;
    const other = await load(modelFile, { threads: 1, onProgress: () => expect(name, "load's onProgress") });
    expect(name, "load");
    await other.close();
    expect(name, "close");
  };
  await Promise.all(Array.from({ length: 16 }, (_, i) => storage.run(`caller ${i}`, () => use(`caller ${i}`))));
  t.strictSame([...new Set(wrong)].slice(0, 20), []);
  t.equal(storage.getStore(), undefined);
  await gme.close();
  t.comment(`L32: ${checks} looks at the async context of 16 callers side by side, ${wrong.length} wrong`);
});

t.test("L32 no rejection is left unhandled, whatever fails, aborts or is closed", async (t) => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", note);
  const gme = await load(modelFile, { threads: 1 });
  const controller = new AbortController();
  const { signal } = controller;
  const calls: Promise<unknown>[] = [
    gme.embed(3 as unknown as string),
    gme.embed("word ".repeat(40_000)),
    gme.embed({ image: "missing.png" }),
    gme.embedBatch(["a", { image: "missing.png" }, "b"], { batchSize: 1 }),
    gme.embed("a", { signal: AbortSignal.abort() }),
    gme.embed("a", { signal }),
    gme.embedBatch(["a", "b", { text: "c", image: "missing.png" }], { signal, batchSize: 1 }),
    gme.countTokens({ image: "missing.png" }, { signal }),
    gme.embedBatch(["a", "b"], {
      batchSize: 1,
      onProgress: () => {
        throw new Error("thrown by the callback");
      },
    }),
    gme.embedMany(["a", "b", { image: "missing.png" }], { signal }).next(),
    load("missing.gguf"),
    load(modelFile, { signal: AbortSignal.abort() }),
  ];
  const settled = Promise.allSettled(calls);
  const stream = gme.embedMany(["a", "b", "c"], { batchSize: 1 });
  await stream.next();
  await stream.return();
  setImmediate(() => controller.abort());
  const outcomes = await settled;
  const closing = gme.close();
  outcomes.push(
    ...(await Promise.allSettled([gme.embed("late"), gme.tokenize("late"), gme.embedMany(["late"]).next()])),
  );
  await closing;
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  process.off("unhandledRejection", note);
  const rejected = outcomes.filter(({ status }) => status === "rejected").length;
  t.ok(rejected >= 12, `${rejected} of ${outcomes.length} calls rejected`);
  t.strictSame(unhandled, []);
  t.comment(`L32: ${rejected} rejected calls, ${unhandled.length} unhandled`);
});

/** Denormals, rounding of sums and products, and exceptions, as only the floating-point unit's state decides. */
function floatingPoint(): string {
  const [one, tiny, least] = [1, 2 ** -1022, 2 ** -1074].map((value) => value * (Date.now() > 0 ? 1 : 2));
  const results = [
    least / 1, // flushed to zero where denormals count as zero
    tiny / 2, // flushed to zero where results do
    Math.fround(1e-40) * 1,
    one + 2 ** -53, // 1 unless rounding upwards
    one + 2 ** -53 + 2 ** -54,
    one - 2 ** -54, // 1 unless rounding downwards or to zero
    -one - 2 ** -53,
    one / 3,
    -one / 3,
    2 ** 53 + one,
    0.1 + 0.2,
    Math.sqrt(2 * one),
    (one / 0) * 0,
    -one / 0,
  ];
  return Buffer.from(new Float64Array(results).buffer).toString("hex");
}

t.test("L34 denormals and rounding on the JS thread are the same before, during and after every call", async (t) => {
  const before = floatingPoint();
  const values = new Float64Array(Uint8Array.from(Buffer.from(before, "hex")).buffer);
  t.strictSame(
    [...values.subarray(0, 4)],
    [2 ** -1074, 2 ** -1023, Math.fround(1e-40), 1],
    "as IEEE 754 has them by default",
  );
  t.strictSame([...values.subarray(7, 9)], [1 / 3, -1 / 3]);
  let [looks, changed] = [0, 0];
  const look = () => {
    looks++;
    if (floatingPoint() !== before) changed++;
  };
  const use = async (gme: GmeModel) => {
    const running = gme.embedBatch(["a", "b", "c", { text: "d" }], { batchSize: 1, onProgress: look });
    for (let i = 0; i < 20; i++) {
      look();
      await new Promise(setImmediate);
    }
    await running;
    look();
    await gme.embed({ image: { data: new Uint8Array(84 * 56 * 3).fill(99), width: 84, height: 56 } });
    look();
    await gme.embed("word ".repeat(40_000)).catch(look);
    await gme.embed("a", { signal: AbortSignal.timeout(1) }).catch(look);
  };
  for (const threads of [1, 2]) {
    const gme = await load(modelFile, { threads, onProgress: look });
    look();
    for (let round = 0; round < 5; round++) await use(gme);
    await gme.close();
    look();
  }
  t.ok(looks > 200);
  t.equal(changed, 0);
  t.comment(
    `L34: 14 results of double precision looked at ${looks} times between calls with 1 and 2 threads, ${changed} changed`,
  );
});
