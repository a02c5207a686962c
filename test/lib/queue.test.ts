import t from "tap";
import { batchCall, type EmbedResult, streamCall } from "../../lib/embed-run";
import { type GmeInput, readInputs } from "../../lib/input";
import { type EmbedOptions, embedOptions, type ReadEmbedOptions, readOptions } from "../../lib/options";
import { CallQueue } from "../../lib/queue";
import { type FakeEngine, fakeEngine } from "../helpers/fake-native";
import { imageFixture } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";

const read = (options?: EmbedOptions) => readOptions<ReadEmbedOptions>(embedOptions, options);

function embedBatch(engine: FakeEngine, inputs: GmeInput[], options?: EmbedOptions): Promise<Float32Array[]> {
  return engine.queue.add(batchCall(engine, readInputs(inputs), read(options)));
}

async function collect(results: AsyncIterable<EmbedResult>): Promise<EmbedResult[]> {
  const list: EmbedResult[] = [];
  for await (const result of results) list.push(result);
  return list;
}

t.test("overlapping calls run one at a time in the order of the calls", async (t) => {
  const engine = fakeEngine(3);
  const finished: number[] = [];
  const inputs: GmeInput[] = [
    { image: imageFixture("photo-1600x1200.jpg") },
    "b",
    { image: imageFixture("one-pixel.png") },
    "d",
  ];
  await Promise.all(inputs.map(async (input, i) => embedBatch(engine, [input]).then(() => finished.push(i))));
  t.strictSame(finished, [0, 1, 2, 3]);
  t.strictSame(
    engine.calls.map(([item]) => item.image?.width ?? item.text),
    [1600, "b", 1, "d"],
  );
});

t.test("a batch goes to the engine in parts of batchSize and keeps its order", async (t) => {
  const engine = fakeEngine();
  const inputs = Array.from(
    { length: 10 },
    (_, i): GmeInput => (i % 3 === 1 ? { image: imageFixture("tiny-28x28.png") } : "x".repeat(i)),
  );
  const progress: unknown[] = [];
  const vectors = await embedBatch(engine, inputs, { batchSize: 4, onProgress: (p) => progress.push(p) });
  t.strictSame(
    vectors.map(([text, image]) => (image === 28 ? "image" : text)),
    inputs.map((input) => (typeof input === "string" ? input.length : "image")),
  );
  t.strictSame(
    engine.calls.map((items) => items.length),
    [4, 4, 2],
  );
  t.ok(
    vectors.every((vector) => vector.buffer.byteLength === 8),
    "each vector has memory of its own",
  );
});

t.test(
  "the default instruction is forced on documents, an item's prompt goes before the call's instruction",
  async (t) => {
    const engine = fakeEngine();
    const inputs: GmeInput[] = ["a", { text: "b", prompt: "mine" }];
    await embedBatch(engine, inputs, { instruction: "ours" });
    await embedBatch(engine, inputs, { instruction: "ours", isQuery: false });
    await embedBatch(engine, inputs);
    t.strictSame(
      engine.calls.map((items) => items.map(({ instruction }) => instruction)),
      [
        ["ours", "mine"],
        [undefined, undefined],
        [undefined, "mine"],
      ],
    );
  },
);

t.test("a bad item rejects the batch, naming its index in the call", async (t) => {
  const engine = fakeEngine();
  const texts = ["a", "b", "c", "d", "bad", "f"];
  const refused = await rejectsWith(t, () => embedBatch(engine, texts, { batchSize: 3 }), "GME_TEXT_TOO_LONG");
  t.match(refused, { item: 4, message: /item 4/ });
  const missing = await rejectsWith(t, () => embedBatch(engine, ["a", { image: "/missing.png" }]), "GME_IO_ERROR");
  t.match(missing, { item: 1, message: /item 1/, file: "/missing.png" });
  t.equal((await embedBatch(engine, ["usable"])).length, 1, "the model stays usable");
});

t.test("embedMany puts a bad item's error in its place and goes on", async (t) => {
  const engine = fakeEngine();
  async function* source() {
    yield "a";
    yield { id: "x", text: "bad one" };
    yield { id: "y" } as GmeInput;
    yield { id: 4, image: imageFixture("tiny-28x28.png") };
    yield { id: 5, image: "/missing.png" };
    yield "bbb";
  }
  const results = await collect(streamCall(engine, source(), read({ batchSize: 4 })));
  const short = results.map(({ index, id, embedding, error }) => [index, id, embedding ? [...embedding] : error?.code]);
  t.strictSame(short, [
    [0, undefined, [1, 0]],
    [1, "x", "GME_TEXT_TOO_LONG"],
    [2, "y", "GME_INPUT_INVALID"],
    [3, 4, [0, 28]],
    [4, 5, "GME_IO_ERROR"],
    [5, undefined, [3, 0]],
  ]);
});

t.test("embedMany answers a slow source at once and reads a fast one only a bounded way ahead", async (t) => {
  const engine = fakeEngine();
  let pulled = 0;
  async function* endless() {
    for (;;) yield `text ${pulled++}`;
  }
  const results = streamCall(engine, endless(), read({ batchSize: 4 }));
  for (let i = 0; i < 10; i++) await results.next();
  await results.return();
  t.ok(pulled <= 12 + 8 + 1, `${pulled} pulled for 10 results`);
  async function* slow() {
    yield "first";
    await new Promise((resolve) => setTimeout(resolve, 2_000).unref());
    yield "second";
  }
  const start = performance.now();
  const answers = streamCall(engine, slow(), read());
  await answers.next();
  t.ok(performance.now() - start < 1_000);
  await answers.return();
});

t.test("pictures go to the engine a few at a time, texts together, and few pictures are read ahead", async (t) => {
  const engine = fakeEngine();
  const raw = (width: number, height: number): GmeInput => ({
    image: { data: new Uint8Array(width * height * 3), width, height, channels: 3 },
  });
  const sizes = async (inputs: GmeInput[]) => {
    engine.calls.length = 0;
    await embedBatch(engine, inputs);
    return engine.calls.map(({ length }) => length);
  };
  t.strictSame(await sizes(Array.from({ length: 7 }, () => raw(640, 480))), [3, 3, 1]);
  t.strictSame(await sizes(Array.from({ length: 7 }, () => raw(28, 28))), [5, 2], "small ones are enlarged");
  t.strictSame(await sizes([raw(1600, 1200), raw(1600, 1200), "a", "b"]), [1, 1, 2]);
  t.strictSame(await sizes(Array.from({ length: 70 }, () => "a")), [64, 6]);
  let pulled = 0;
  function* pictures() {
    for (;;) {
      pulled++;
      yield raw(640, 480);
    }
  }
  const results = streamCall(engine, pictures(), read());
  await results.next();
  await new Promise((resolve) => setTimeout(resolve, 20));
  await results.return();
  t.ok(pulled <= 3 + 3 + 16 + 1, `${pulled} pictures pulled for one result`);
});

t.test("embedMany ends with the source's own error after the items before it", async (t) => {
  const engine = fakeEngine();
  function* failing() {
    yield "a";
    throw new Error("the disk is gone");
  }
  const results = streamCall(engine, failing(), read());
  t.match((await results.next()).value, { index: 0 });
  t.match(await rejectsWith(t, () => results.next(), "GME_INPUT_INVALID"), { message: /the disk is gone/ });
  await rejectsWith(t, () => streamCall(engine, 3, read()).next(), "GME_INPUT_INVALID", "not iterable");
});

t.test("an aborted call rejects before, in and behind the queue GME_ABORTED", async (t) => {
  const engine = fakeEngine(50);
  await rejectsWith(
    t,
    () => embedBatch(engine, ["a"], { signal: AbortSignal.abort() }),
    "GME_ABORTED",
    "already aborted",
  );
  const [running, queued] = [new AbortController(), new AbortController()];
  const calls = [
    embedBatch(engine, ["running"], { signal: running.signal }),
    embedBatch(engine, ["queued"], { signal: queued.signal }),
    embedBatch(engine, ["last"]),
  ];
  for (const call of calls) call.catch(() => undefined);
  queued.abort();
  t.match(await rejectsWith(t, () => calls[1], "GME_ABORTED", "queued"), { name: "AbortError" });
  setTimeout(() => running.abort(), 10);
  await rejectsWith(t, () => calls[0], "GME_ABORTED", "running");
  t.equal((await calls[2]).length, 1, "the next call is served");
  t.strictSame(
    engine.calls.map(([item]) => item.text),
    ["running", "last"],
  );
});

t.test("an aborted embedMany rejects GME_ABORTED although its source still waits", async (t) => {
  const engine = fakeEngine();
  const controller = new AbortController();
  async function* waiting() {
    yield "a";
    await new Promise((resolve) => setTimeout(resolve, 60_000).unref());
  }
  const results = streamCall(engine, waiting(), read({ signal: controller.signal }));
  await results.next();
  setTimeout(() => controller.abort(), 5);
  await rejectsWith(t, () => results.next(), "GME_ABORTED");
});

t.test("an exception in onProgress rejects its call and nothing else", async (t) => {
  const engine = fakeEngine();
  (engine.native as { embed: unknown }).embed = (items: unknown[], _: unknown, onProgress?: (done: number) => void) => {
    onProgress?.(items.length);
    return { promise: Promise.resolve(new Float32Array(items.length * 2)), abort: () => undefined };
  };
  const onProgress = () => {
    throw new Error("mine");
  };
  t.match(await rejectsWith(t, () => embedBatch(engine, ["a"], { onProgress }), "GME_OPTION_INVALID"), {
    message: /mine/,
  });
  t.equal((await embedBatch(engine, ["a"])).length, 1);
});

t.test("close() refuses new calls, waits for the accepted ones, and frees once GME_MODEL_CLOSED", async (t) => {
  const queue = new CallQueue();
  const order: string[] = [];
  const call = (name: string) => ({
    prepare: async () => undefined,
    run: async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push(name);
    },
  });
  const calls = [queue.add(call("a")), queue.add(call("b"))];
  const free = async () => void order.push("free");
  const closes = Array.from({ length: 16 }, () => queue.close(free));
  await rejectsWith(t, () => queue.add(call("c")), "GME_MODEL_CLOSED");
  await Promise.all([...calls, ...closes]);
  t.strictSame(order, ["a", "b", "free"]);
});
