// Values that are no texts, and objects whose reading runs the caller's code: typed errors that name the argument, each property read once.
import t from "tap";
import { type EmbedOptions, GmeError, type GmeInput, type GmeModel } from "../../lib/index";
import { loadReference, maxDelta, pairPath } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";

let gme: GmeModel;
let golden: Float32Array;
t.before(async () => {
  gme = await loadReference(pairPath("tiny-a"));
  golden = await gme.embed("hello");
});
t.after(() => gme.close());

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

const thrower = () => {
  throw new RangeError("the caller's own");
};
const throwUndefined = () => {
  const nothing: unknown = undefined;
  throw nothing;
};
const hostileError = () => {
  throw new Proxy(new GmeError("GME_OUT_OF_MEMORY", "forged"), { getPrototypeOf: thrower, get: thrower });
};
const tagged = Object.defineProperty(new Uint8Array(3), Symbol.toStringTag, { get: thrower });

const noTexts: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["a number", 3],
  ["NaN", Number.NaN],
  ["a bigint", 3n],
  ["a boolean", true],
  ["a symbol", Symbol("text")],
  ["a function", () => "a"],
  ["a String object", new String("a")],
  ["an object with toString", { toString: () => "a" }],
  ["an object with toPrimitive", { [Symbol.toPrimitive]: () => "a" }],
  ["an array", ["a"]],
  ["bytes", new Uint8Array(3)],
  ["bytes with a throwing tag", tagged],
  ["a Date", new Date(0)],
  ["a Map", new Map([["text", "a"]])],
  ["a promise", Promise.resolve("a")],
  ["a proxy of a String object", new Proxy(new String("a"), {})],
  ["a revoked proxy", revoked({})],
  ["a revoked proxy of a list", revoked([])],
];

t.test("T23 what is no text is refused in every place, naming it", async (t) => {
  let refusals = 0;
  const expectField = async (title: string, field: string, call: () => unknown, code = "GME_INPUT_INVALID") => {
    const error = await rejectsWith(t, call, code, title);
    t.equal(error.field, field, title);
    refusals++;
  };
  for (const [title, value] of noTexts) {
    const input = value as GmeInput;
    if (value !== undefined) {
      await expectField(`text: ${title}`, "input.text", () => gme.embed({ text: value as string }));
      await expectField(`prompt: ${title}`, "input.prompt", () => gme.embed({ text: "a", prompt: value as string }));
      await expectField(
        `instruction: ${title}`,
        "options.instruction",
        () => gme.embed("a", { instruction: value as string }),
        "GME_OPTION_INVALID",
      );
    }
    await expectField(`tokenize: ${title}`, "text", () => gme.tokenize(value as string));
    await rejectsWith(t, () => gme.embed(input), "GME_INPUT_INVALID", `embed: ${title}`);
    await rejectsWith(t, () => gme.countTokens(input), "GME_INPUT_INVALID", `countTokens: ${title}`);
    if (title !== "an array") await rejectsWith(t, () => gme.encode(input), "GME_INPUT_INVALID", `encode: ${title}`);
    const inBatch = await rejectsWith(
      t,
      () => gme.embedBatch(["a", { text: "b" }, input]),
      "GME_INPUT_INVALID",
      `embedBatch: ${title}`,
    );
    t.equal(inBatch.item, 2, title);
    t.match(inBatch.field, /^inputs\[2\]/, title);
    refusals += 4;
  }
  t.equal(maxDelta(await gme.embed("hello"), golden), 0, "the model is as before");
  t.comment(`T23: ${refusals} calls with ${noTexts.length} kinds of values that are no text, each a typed error`);
});

t.test("T23 getters and proxies are read once per property", async (t) => {
  const reads: string[] = [];
  const getter = {
    get id() {
      reads.push("id");
      return 1;
    },
    get text() {
      reads.push("text");
      return "hello";
    },
    get prompt() {
      reads.push("prompt");
      return "Be brief.";
    },
  };
  const expected = await gme.embed({ text: "hello", prompt: "Be brief." });
  t.equal(maxDelta(await gme.embed(getter), expected), 0);
  t.strictSame(reads, ["id", "text", "prompt"]);
  reads.length = 0;
  const proxy = new Proxy(
    { text: "hello", prompt: "Be brief." },
    {
      get: (target, key: "text" | "prompt") => {
        reads.push(key);
        return reads.filter((each) => each === key).length === 1 ? target[key] : "another text the second time";
      },
    },
  );
  t.equal(maxDelta(await gme.embed(proxy), expected), 0);
  t.strictSame(reads, ["text", "prompt"]);
  reads.length = 0;
  const [, second] = await gme.embedBatch([getter, proxy]);
  t.equal(second.length, expected.length);
  t.strictSame(reads, ["id", "text", "prompt", "text", "prompt"]);
  reads.length = 0;
  const options = new Proxy({ instruction: "Be brief." } as EmbedOptions, {
    get: (target, key: "instruction") => {
      reads.push(key);
      return target[key];
    },
  });
  t.equal(maxDelta(await gme.embed("hello", options), expected), 0);
  t.strictSame(reads, ["instruction"]);
  t.comment("T23: 11 properties behind getters and proxies, each read once");
});

t.test("T23 what a getter, a trap or a method throws comes back as the cause of a typed error", async (t) => {
  const inputs: [string, unknown][] = [
    ["a getter", Object.defineProperty({}, "text", { get: thrower, enumerable: true })],
    ["a getter that throws undefined", Object.defineProperty({}, "text", { get: throwUndefined, enumerable: true })],
    ["a getter that throws a proxy", Object.defineProperty({}, "text", { get: hostileError, enumerable: true })],
    ["ownKeys", new Proxy({}, { ownKeys: thrower })],
    ["getPrototypeOf", new Proxy({}, { getPrototypeOf: thrower })],
    ["get", new Proxy({ text: "a" }, { get: thrower })],
    ["getOwnPropertyDescriptor", new Proxy({ text: "a" }, { getOwnPropertyDescriptor: thrower })],
    ["a picture's getter", { image: Object.defineProperty({}, "data", { get: thrower }) }],
    ["a picture's proxy", { image: { data: new Proxy(new Uint8Array(12), {}), width: 2, height: 2 } }],
    ["a URL's prototype alone", { image: Object.create(URL.prototype) }],
    ["a view's length", { image: Object.defineProperty(new Uint8Array(8), "byteLength", { get: thrower }) }],
  ];
  for (const [title, input] of inputs) {
    const error = await rejectsWith(t, () => gme.embed(input as GmeInput), "GME_INPUT_INVALID", title);
    t.match(error.field, /^input/);
    t.ok(error.cause !== undefined || title.endsWith("undefined"), title);
    const batch = await rejectsWith(t, () => gme.embedBatch(["a", input as GmeInput]), "GME_INPUT_INVALID", title);
    t.equal(batch.item, 1);
    const { value } = await gme.embedMany([input as GmeInput]).next();
    t.equal(value?.error?.code, "GME_INPUT_INVALID", `${title} in a stream`);
  }
  for (const options of [
    revoked({}),
    new Proxy({}, { ownKeys: thrower }),
    Object.defineProperty({}, "instruction", { get: thrower, enumerable: true }),
  ])
    await rejectsWith(t, () => gme.embed("a", options), "GME_OPTION_INVALID");
  for (const list of [revoked([]), new Proxy(["a"], { get: thrower })])
    await rejectsWith(t, () => gme.embedBatch(list as string[]), "GME_INPUT_INVALID");
  t.equal(maxDelta(await gme.embed("hello"), golden), 0);
  t.comment(
    `T23: ${inputs.length} inputs, 3 options and 2 lists whose reading throws, each a typed error with its cause`,
  );
});

t.test("T24 empty, sparse, nested and endless lists", async (t) => {
  t.strictSame(await gme.embedBatch([]), []);
  t.strictSame(await gme.encode([]), []);
  const sparse = ["a", "b"];
  sparse[3] = "d";
  t.equal((await rejectsWith(t, () => gme.embedBatch(sparse), "GME_INPUT_INVALID", "a hole")).item, 2);
  t.equal((await rejectsWith(t, () => gme.embedBatch(new Array(3)), "GME_INPUT_INVALID", "holes only")).item, 0);
  const nested = [["a"], ["b", ["c"]]] as unknown as string[];
  t.equal((await rejectsWith(t, () => gme.encode(["x", ...nested]), "GME_INPUT_INVALID", "nested")).item, 1);
  const cyclic: unknown[] = ["a"];
  cyclic.push(cyclic);
  t.equal(
    (await rejectsWith(t, () => gme.embedBatch(cyclic as string[]), "GME_INPUT_INVALID", "a list in itself")).item,
    1,
  );
  let worst = 0;
  for (const list of [new Array(1e6).fill("a"), new Array(2 ** 32 - 1), new Array(65_537).fill("a")]) {
    const start = performance.now();
    const error = await rejectsWith(t, () => gme.embedBatch(list), "GME_INPUT_INVALID", `${list.length} entries`);
    worst = Math.max(worst, performance.now() - start);
    t.equal(error.value, list.length);
    t.equal(error.field, "inputs.length");
  }
  t.ok(worst <= 100, `${worst} ms`);
  t.comment(
    `T24: lists of 65,537, 1e6 and 2^32-1 entries refused in ${worst.toFixed(1)} ms; holes, nested and cyclic lists name the item`,
  );
});

t.test("T24 a list is taken as it is at the call, whatever happens to it afterwards or while it is read", async (t) => {
  const [a, b] = await gme.embedBatch(["first text", "second text"]);
  const list: GmeInput[] = ["first text", { text: "second text" }];
  const running = gme.embedBatch(list);
  (list[1] as { text: string }).text = "changed";
  list[0] = "changed";
  list.length = 1;
  list.push("x", "y", "z");
  const vectors = await running;
  t.equal(vectors.length, 2);
  t.equal(maxDelta(vectors[0], a) + maxDelta(vectors[1], b), 0, "the texts of the call");

  const growing: GmeInput[] = ["first text"];
  growing.push({
    get text() {
      growing.push("more");
      return "second text";
    },
  });
  t.equal((await gme.embedBatch(growing)).length, 2, "a list that grows while it is read");
  let lengths = 0;
  const liar = new Proxy(["first text"], {
    get: (target, key, receiver) =>
      key === "length" ? (lengths++ === 0 ? 1 : 1e9) : Reflect.get(target, key, receiver),
  });
  t.equal((await gme.embedBatch(liar)).length, 1, "a proxy whose length grows");
  t.equal(lengths, 1);
  for (const length of [Number.NaN, Number.POSITIVE_INFINITY, 1.5, 1e9, "2", { valueOf: thrower }]) {
    const proxy = new Proxy(["a"], {
      get: (target, key, receiver) => (key === "length" ? length : Reflect.get(target, key, receiver)),
    });
    await rejectsWith(t, () => gme.embedBatch(proxy), "GME_INPUT_INVALID", `a length of ${typeof length} type`);
  }
  const many: Float32Array[] = [];
  const source = ["first text", "second text", "first text"];
  for await (const { embedding } of gme.embedMany(source, { batchSize: 1 })) {
    if (embedding !== undefined) many.push(embedding);
    if (many.length === 1) source.length = 2;
  }
  t.ok(
    many.length >= 2 && maxDelta(many[0], a) < 1e-5 && maxDelta(many[1], b) < 1e-5,
    "a stream reads its source as it goes",
  );
  t.comment(
    "T24: a list changed after the call, one that grows while it is read, and 7 proxies that lie about their length",
  );
});
