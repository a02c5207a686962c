import t from "tap";
import { binding, type NativeItem, type NativeJob, type NativeModel } from "../../lib/binding";
import { embedNow, embedParams, loadParams, makeItems, modelFile, open, sameVectors } from "./native-model";

// The addon checks again what TypeScript has checked: a mistake of ours must become an error, not a crash.
const wrong = (value: unknown) => value as never;
const pixels = (n: number) => new Uint8Array(n);

async function rejection(job: NativeJob<unknown>): Promise<Record<string, unknown>> {
  return job.promise.then(
    () => ({ code: "fulfilled" }),
    (error) => ({ ...error, message: error.message, isError: error instanceof Error }),
  );
}

const badItems: { title: string; item: unknown; field: string }[] = [
  { title: "a text that is a number", item: { text: 5 }, field: "item.text" },
  { title: "a text that is a String object", item: { text: Object("a") }, field: "item.text" },
  { title: "a text that is null", item: { text: null }, field: "item.text" },
  {
    title: "an instruction that is a symbol",
    item: { text: "a", instruction: Symbol("a") },
    field: "item.instruction",
  },
  { title: "no text and no image", item: {}, field: "item" },
  { title: "an item that is a string", item: "a", field: "item" },
  { title: "an item that is null", item: null, field: "item" },
  { title: "too few pixels", item: { image: { data: pixels(11), width: 2, height: 2 } }, field: "image.data" },
  { title: "too many pixels", item: { image: { data: pixels(16), width: 2, height: 2 } }, field: "image.data" },
  { title: "a width of 0", item: { image: { data: pixels(0), width: 0, height: 2 } }, field: "image.width" },
  { title: "a height of -1", item: { image: { data: pixels(0), width: 1, height: -1 } }, field: "image.height" },
  { title: "a width of NaN", item: { image: { data: pixels(3), width: Number.NaN, height: 1 } }, field: "image.width" },
  { title: "a width of 1.5", item: { image: { data: pixels(3), width: 1.5, height: 1 } }, field: "image.width" },
  { title: "a width of 2^32", item: { image: { data: pixels(3), width: 2 ** 32, height: 1 } }, field: "image.width" },
  {
    title: "sides whose product overflows",
    item: { image: { data: pixels(3), width: 2 ** 31 - 1, height: 2 ** 31 - 1 } },
    field: "image.data",
  },
  { title: "pixels in an array", item: { image: { data: [1, 2, 3], width: 1, height: 1 } }, field: "image.data" },
  {
    title: "pixels in an ArrayBuffer",
    item: { image: { data: new ArrayBuffer(3), width: 1, height: 1 } },
    field: "image.data",
  },
  {
    title: "pixels of 32 bit",
    item: { image: { data: new Float32Array(3), width: 1, height: 1 } },
    field: "image.data",
  },
  {
    title: "pixels in shared memory",
    item: { image: { data: new Uint8Array(new SharedArrayBuffer(3)), width: 1, height: 1 } },
    field: "image.data",
  },
];

t.test("a bad item rejects with GME_INPUT_INVALID, its field and its index, and leaves the model usable", async (t) => {
  const model = await open();
  const probe = makeItems(2);
  const expected = await embedNow(model, probe);
  for (const { title, item, field } of badItems) {
    const error = await rejection(model.embed([{ text: "a" }, wrong(item)], embedParams));
    t.match(error, { code: "GME_INPUT_INVALID", field, item: 1, isError: true, expected: String }, title);
  }
  const detached = pixels(3);
  structuredClone(detached.buffer, { transfer: [detached.buffer as ArrayBuffer] });
  const error = await rejection(model.embed([{ image: { data: detached, width: 1, height: 1 } }], embedParams));
  t.match(error, { code: "GME_INPUT_INVALID", field: "image.data", expected: /detached/ });
  t.match(await rejection(model.embed(wrong("a"), embedParams)), { code: "GME_INPUT_INVALID", field: "items" });
  t.match(await rejection(model.tokenize(wrong(["a", 1]), false)), {
    code: "GME_INPUT_INVALID",
    field: "text",
    item: 1,
  });
  t.ok(sameVectors(await embedNow(model, probe), expected));
  await model.close();
});

t.test("bad parameters reject with GME_OPTION_INVALID", async (t) => {
  const model = await open();
  const params: [string, unknown][] = [
    ["params", undefined],
    ["overflow", { ...embedParams, overflow: "cut" }],
    ["overflow", { ...embedParams, overflow: 1 }],
    ["parseSpecial", { ...embedParams, parseSpecial: 1 }],
    ["batchTokens", { ...embedParams, batchTokens: -1 }],
  ];
  for (const [field, value] of params) {
    t.match(await rejection(model.embed([{ text: "a" }], wrong(value))), { code: "GME_OPTION_INVALID", field });
  }
  for (const threads of [0, -1, 1.5, Number.NaN, 513, 1e6, "2", undefined]) {
    const error = await rejection(binding().load(modelFile, { ...loadParams, threads: wrong(threads) }));
    t.match(error, { code: "GME_OPTION_INVALID", field: "threads" }, `L20 threads ${threads}`);
  }
  t.match(await rejection(binding().load("a\0b", loadParams)), { code: "GME_INPUT_INVALID", field: "path" });
  t.match(await rejection(binding().load("", loadParams)), { code: "GME_INPUT_INVALID", field: "path" });
  await model.close();
});

t.test("a getter that throws rejects with what it threw", async (t) => {
  const model = await open();
  const mistake = new Error("from the getter");
  const item: NativeItem = {
    get text(): string {
      throw mistake;
    },
  };
  await t.rejects(model.embed([item], embedParams).promise, mistake);
  t.ok((await embedNow(model, makeItems(1))).length > 0);
  await model.close();
});

t.test("a native method refuses a `this` that is not a model", async (t) => {
  const model = await open();
  const { embed, close } = model;
  t.throws(() => embed.call({} as NativeModel, [], embedParams));
  t.throws(() => embed.call(binding() as unknown as NativeModel, [], embedParams));
  t.throws(() => close.call(Object.create(model)));
  const Class = model.constructor as new () => NativeModel;
  t.throws(() => new Class().embed([], embedParams), { code: "GME_INPUT_INVALID", field: "this" });
  t.throws(() => new Class().memory(), { code: "GME_INPUT_INVALID", field: "this" });
  await model.close();
});

t.test("no items give no vectors; a vector is fresh memory of its own", async (t) => {
  const model = await open();
  t.equal((await embedNow(model, [])).length, 0);
  const first = await embedNow(model, makeItems(1));
  const second = await embedNow(model, makeItems(1));
  t.not(first.buffer, second.buffer);
  first.fill(0);
  t.ok(second.some((value) => value !== 0));
  await model.close();
});

t.test("work without a model checks its arguments too", async (t) => {
  const options = { loaderResize: true, minImageTokens: 4, maxImageTokens: 16 };
  t.throws(() => binding().planImage(0, 10, options), { code: "GME_INPUT_INVALID", field: "width" });
  t.throws(() => binding().planImage(10, 10, wrong({})), { code: "GME_OPTION_INVALID", field: "loaderResize" });
  const image = { data: pixels(5), width: 1, height: 1 };
  t.match(await rejection(binding().preprocessImage(image, options)), {
    code: "GME_INPUT_INVALID",
    field: "image.data",
  });
  t.match(await rejection(binding().convertNumbers("f32", pixels(6), "f16")), {
    code: "GME_INPUT_INVALID",
    field: "source",
  });
  t.match(await rejection(binding().convertNumbers("f32", pixels(4), wrong("f64"))), {
    code: "GME_INPUT_INVALID",
    field: "to",
  });
  t.match(await rejection(binding().inspectFile(wrong(5))), { code: "GME_INPUT_INVALID", field: "path" });
  t.same(
    await binding().convertNumbers("f32", new Uint8Array(new Float32Array([1]).buffer), "bf16").promise,
    [0x80, 0x3f],
  );
  t.equal((await binding().convertNumbers("f32", pixels(0), "f16").promise).length, 0);
});
