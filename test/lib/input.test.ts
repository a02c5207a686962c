import { pathToFileURL } from "node:url";
import t from "tap";
import { maxItems, maxTextLength, readInput, readInputs } from "../../lib/input";
import { rejectsWith } from "../helpers/rejects";

t.test("a string is a text and an object may hold text, image, id and prompt", async (t) => {
  t.strictSame(readInput("cat.png"), { text: "cat.png" });
  t.strictSame(readInput(""), { text: "" }, "the empty text is a text");
  t.strictSame(readInput({ id: 7, text: "a", prompt: "p", image: "f.png" }), {
    id: 7,
    text: "a",
    prompt: "p",
    image: { kind: "path", path: "f.png" },
  });
});

t.test("T23: what is neither text nor item is refused GME_INPUT_INVALID", async (t) => {
  const values = [
    undefined,
    null,
    3,
    3n,
    true,
    Symbol("x"),
    () => 1,
    [],
    ["a"],
    new Uint8Array(3),
    new String("a"),
    new URL("file:///a"),
  ];
  for (const value of values) await rejectsWith(t, () => readInput(value), "GME_INPUT_INVALID", typeof value);
  for (const text of [null, 3, ["a"], { toString: () => "a" }]) {
    const error = await rejectsWith(t, () => readInput({ text }), "GME_INPUT_INVALID", `text: ${typeof text}`);
    t.equal(error.field, "input.text");
  }
  await rejectsWith(t, () => readInput({}), "GME_INPUT_INVALID", "neither text nor image");
  await rejectsWith(t, () => readInput({ id: {}, text: "a" }), "GME_INPUT_INVALID", "id");
});

t.test("T23: getters are called once", async (t) => {
  let reads = 0;
  const input = {
    get text() {
      reads++;
      return "a";
    },
  };
  readInput(input);
  t.equal(reads, 1);
});

t.test("a misspelt key is refused with the nearest one GME_INPUT_INVALID", async (t) => {
  const error = await rejectsWith(t, () => readInput({ text: "a", imgae: "b.png" }), "GME_INPUT_INVALID");
  t.match(error, { field: "input.imgae", expected: "image" });
});

t.test("an array of pictures is refused with the reason GME_INPUT_INVALID", async (t) => {
  const error = await rejectsWith(t, () => readInput({ image: ["a.png", "b.png"] }), "GME_INPUT_INVALID");
  t.match(error.message, /one picture per item/);
});

t.test("T02: lone surrogates become U+FFFD as TextEncoder does", async (t) => {
  for (const text of ["a\ud800", "\udc00b", "\udc00\ud800", "\ud83d\ude00 ok", "\ud800".repeat(10_000)]) {
    const expected = new TextDecoder().decode(new TextEncoder().encode(text));
    t.equal(readInput(text).text, expected);
  }
});

t.test(
  "T12, T13: a text over the limit of characters is refused before it is looked at GME_TEXT_TOO_LONG",
  async (t) => {
    t.equal(readInput("x".repeat(maxTextLength)).text?.length, maxTextLength);
    const start = performance.now();
    const error = await rejectsWith(t, () => readInput("x".repeat(2 ** 28)), "GME_TEXT_TOO_LONG");
    t.ok(performance.now() - start < 250, "at once");
    t.match(error, { value: 2 ** 28, expected: /1048576/ });
    t.equal(
      readInput("x".repeat(maxTextLength + 1), "input", true).text?.length,
      maxTextLength + 1,
      "unless it will be cut",
    );
    await rejectsWith(
      t,
      () => readInput({ text: "a", prompt: "x".repeat(maxTextLength + 1) }),
      "GME_TEXT_TOO_LONG",
      "T25: prompt",
    );
  },
);

t.test("T24: holes, nested arrays and too many entries are refused, naming the index", async (t) => {
  t.strictSame(readInputs([]), []);
  // biome-ignore lint/suspicious/noSparseArray: the hole is the point
  t.equal((await rejectsWith(t, () => readInputs(["a", , "b"]), "GME_INPUT_INVALID", "hole")).item, 1);
  const nested = await rejectsWith(t, () => readInputs(["a", "b", ["c"]]), "GME_INPUT_INVALID", "nested");
  t.match(nested, { item: 2, field: "inputs[2]", message: /item 2/ });
  await rejectsWith(t, () => readInputs(new Array(maxItems + 1).fill("a")), "GME_INPUT_INVALID", "too many");
  await rejectsWith(t, () => readInputs("abc"), "GME_INPUT_INVALID", "not an array");
  await rejectsWith(
    t,
    () => readInputs(new Array(10_000).fill({ image: "a.png" })),
    "GME_INPUT_INVALID",
    "I31: 10,000 pictures",
  );
});

t.test("I28: the bytes of a picture are copied at the door", async (t) => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
  const { image } = readInput({ image: bytes.subarray(10, 20) });
  bytes.fill(0);
  t.match(image, { kind: "bytes", bytes: Uint8Array.of(10, 11, 12, 13, 14, 15, 16, 17, 18, 19) });
  const shared = new Uint8Array(new SharedArrayBuffer(4));
  t.match(readInput({ image: shared }).image, { kind: "bytes" });
  const detached = new Uint8Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  await rejectsWith(t, () => readInput({ image: detached }), "GME_IMAGE_TRUNCATED", "a detached buffer is empty");
});

t.test("I29: views of other types give their bytes", async (t) => {
  const words = Uint16Array.of(0x0201, 0x0403);
  t.match(readInput({ image: words as unknown as Uint8Array }).image, { bytes: Uint8Array.of(1, 2, 3, 4) });
  const view = new DataView(Uint8Array.of(9, 8, 7).buffer, 1);
  t.match(readInput({ image: view as unknown as Uint8Array }).image, { bytes: Uint8Array.of(8, 7) });
});

t.test("I32: raw pixels are RGB or RGBA of the length that width and height say", async (t) => {
  const rgba = new Uint8ClampedArray([1, 2, 3, 0, 4, 5, 6, 255]);
  t.match(readInput({ image: { data: rgba, width: 2, height: 1 } }).image, {
    kind: "pixels",
    data: Uint8Array.of(1, 2, 3, 4, 5, 6),
    width: 2,
    height: 1,
  });
  const data = new Uint8Array(12);
  const bad = [
    { data, width: 2, height: 3 },
    { data, width: -2, height: 2 },
    { data, width: 0, height: 2 },
    { data, width: 1.5, height: 2 },
    { data, width: Number.NaN, height: 2 },
    { data, width: 2, height: 2, channels: 4 },
    { data, width: 2, height: 2, channels: 1 },
    { data, width: 4, height: 3, channels: 1 },
    { data: Array.from(data), width: 2, height: 2 },
    { data: new Uint16Array(12), width: 2, height: 2 },
    { width: 2, height: 2 },
  ];
  for (const image of bad)
    await rejectsWith(t, () => readInput({ image }), "GME_INPUT_INVALID", JSON.stringify(image).slice(0, 60));
  await rejectsWith(t, () => readInput({ image: { data, width: 2 ** 31, height: 2 ** 31 } }), "GME_IMAGE_TOO_LARGE");
});

t.test("file: and data: URLs are read, http(s) is not fetched", async (t) => {
  const path = process.platform === "win32" ? "C:\\a b.png" : "/a b.png";
  t.strictSame(readInput({ image: pathToFileURL(path) }).image, { kind: "path", path });
  t.match(readInput({ image: new URL("data:image/png;base64,AQID") }).image, {
    kind: "bytes",
    bytes: Uint8Array.of(1, 2, 3),
  });
  for (const image of [new URL("https://example.com/a.png"), "http://example.com/a.png"]) {
    await rejectsWith(t, () => readInput({ image }), "GME_URL_FETCH_DISABLED", String(image));
  }
  for (const image of ["ftp://a/b", "blob:abc"].map((text) => new URL(text))) {
    await rejectsWith(t, () => readInput({ image }), "GME_INPUT_INVALID", String(image));
  }
});

t.test("I30: base64 of data: URLs is strict", async (t) => {
  for (const rest of [
    ";base64",
    ";base64,A",
    ";base64,AQI",
    ";base64,A-_D",
    ";base64,AQ==AQ==",
    ",plain",
    ";base64,%41QID",
  ]) {
    await rejectsWith(t, () => readInput({ image: new URL(`data:image/png${rest}`) }), "GME_INPUT_INVALID", rest);
  }
  const long = `data:image/png;base64,${"A".repeat(100 * 1024 * 1024)}`;
  await rejectsWith(t, () => readInput({ image: long }), "GME_IMAGE_TOO_LARGE", "100 MB");
});
