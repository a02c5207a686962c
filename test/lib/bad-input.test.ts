import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type GmeInput, load } from "../../lib/index";
import { fixture, imageFixture, temporaryFolder } from "../helpers/fixtures";
import { loadReference, maxDelta, pairPath, testThreads } from "../helpers/parity";
import { png } from "../helpers/png";
import { rejectsWith } from "../helpers/rejects";

const folder = temporaryFolder();
const good = { text: "a photo", image: imageFixture("tiny-28x28.png") };

/** A copy of a fixture, changed. */
function altered(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

t.test("a bad model file rejects, names the file, and the next load gives the same vector", async (t) => {
  const before = await loadReference(pairPath("tiny-a"));
  const golden = await before.embed(good);
  await before.close();
  const bytes = readFileSync(pairPath("tiny-a"));
  const mmproj = fixture("gguf", "mmproj-tiny-b-f32.gguf");
  const picture = imageFixture("one-pixel.png");
  const text = altered("long-text.gguf", Buffer.from("this is not a model ".repeat(99)));
  const cases: [string, string, string, object?][] = [
    ["a missing file", join(folder, "missing.gguf"), "GME_IO_ERROR"],
    ["a missing file without a folder", "missing.gguf", "GME_IO_ERROR"],
    ["a folder", folder, "GME_IO_ERROR"],
    ["a picture", picture, "GME_GGUF_"],
    ["a text", text, "GME_GGUF_BAD_MAGIC"],
    ["an empty file", altered("empty.gguf", new Uint8Array()), "GME_GGUF_TRUNCATED"],
    ["a file cut in its header", altered("header.gguf", bytes.subarray(0, 5_000)), "GME_GGUF_TRUNCATED"],
    [
      "a file cut in its weights",
      altered("weights.gguf", bytes.subarray(0, bytes.length - 90_000)),
      "GME_(TENSOR_BOUNDS|GGUF_TRUNCATED)",
    ],
    ["an mmproj of another width", pairPath("tiny-a"), "GME_MMPROJ_MISMATCH", { mmproj }],
    ["a missing mmproj", pairPath("tiny-a"), "GME_IO_ERROR", { mmproj: join(folder, "missing.gguf") }],
    ["a tower without a decoder", fixture("gguf", "mmproj-tiny-a-f32.gguf"), "GME_MODEL_UNSUPPORTED"],
  ];
  for (const [title, path, code, options] of cases) {
    const error = await load(path, { threads: testThreads, ...options }).then(
      () => ({ code: "loaded", message: "" }),
      (error) => error,
    );
    t.match(error.code, new RegExp(`^${code}`), `${title}: ${error.message}`);
    t.notMatch(error.message, /0x[0-9a-f]{6,}/, `${title}: no pointer in the message`);
    t.match(error.file ?? "", /\S/, `${title}: names the file`);
  }
  for (const model of [undefined, null, 3, "", "a\0b", {}]) {
    await rejectsWith(t, () => load(model as string), "GME_INPUT_INVALID", JSON.stringify(model));
  }
  const after = await loadReference(pairPath("tiny-a"));
  t.equal(maxDelta(await after.embed(good), golden), 0, "the same process loads the good model");
  await after.close();
});

t.test(
  "a decoder without a tower embeds texts and refuses pictures, naming the file to fetch GME_MODEL_NO_VISION",
  async (t) => {
    const path = join(folder, "decoder.gguf");
    copyFileSync(pairPath("tiny-a"), path);
    const [decoder, whole] = [await loadReference(path), await loadReference(pairPath("tiny-a"))];
    t.equal(decoder.info.vision, false);
    t.equal(maxDelta(await decoder.embed("hello"), await whole.embed("hello")), 0);
    const error = await rejectsWith(t, () => decoder.embed(good), "GME_MODEL_NO_VISION");
    t.match(`${error.message} ${error.expected}`, /mmproj/);
    const mixed = await rejectsWith(t, () => decoder.embedBatch(["a", good]), "GME_MODEL_NO_VISION", "in a batch");
    t.equal(mixed.item, 1);
    t.equal(maxDelta(await decoder.embed("hello"), await whole.embed("hello")), 0, "the model stays usable");
    await Promise.all([decoder.close(), whole.close()]);
  },
);

t.test("a bad input rejects with its code and leaves the model usable", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  const golden = await gme.embed(good);
  const cases: [string, GmeInput | unknown, string][] = [
    ["an array of pictures", { image: [good.image, good.image] }, "GME_INPUT_INVALID"],
    ["not a picture", { image: Buffer.from("a text that is no picture") }, "GME_IMAGE_FORMAT"],
    ["a file that is not a picture", { image: pairPath("tiny-a") }, "GME_IMAGE_FORMAT"],
    ["a missing picture", { image: join(folder, "missing.png") }, "GME_IO_ERROR"],
    ["a 200-megapixel header", { image: png(20_000, 10_000, new Uint8Array(9)) }, "GME_IMAGE_TOO_LARGE"],
    ["a text over the limit of tokens", "word ".repeat(40_000), "GME_TEXT_TOO_LONG"],
    ["T26: text and picture over the limit", { text: "word ".repeat(40_000), image: good.image }, "GME_TEXT_TOO_LONG"],
    ["a text over the limit of characters", "x".repeat(2 ** 20 + 1), "GME_TEXT_TOO_LONG"],
    ["a number", 42, "GME_INPUT_INVALID"],
    ["nothing", {}, "GME_INPUT_INVALID"],
    ["an address", { image: new URL("https://example.com/a.png") }, "GME_URL_FETCH_DISABLED"],
  ];
  for (const [title, input, code] of cases) {
    await rejectsWith(t, () => gme.embed(input as GmeInput), code, title);
    t.equal(maxDelta(await gme.embed(good), golden), 0, `${title}: the model stays usable`);
  }
  const tokens = await rejectsWith(t, () => gme.embed("word ".repeat(40_000)), "GME_TEXT_TOO_LONG", "both numbers");
  t.match(tokens.message, /32768/);
  t.match(tokens.message, new RegExp(String(27 + (await gme.tokenize("word ".repeat(40_000))).length)));
  await gme.close();
});

t.test("a misspelt option is named in every call GME_OPTION_INVALID", async (t) => {
  const options = { instuction: "x" } as object;
  await rejectsWith(t, () => load(pairPath("tiny-a"), { treads: 2 } as object), "GME_OPTION_INVALID", "load");
  await rejectsWith(
    t,
    () => load(pairPath("tiny-a"), { minImageTokens: 9, maxImageTokens: 8 }),
    "GME_OPTION_INVALID",
    "min over max",
  );
  const gme = await loadReference(pairPath("tiny-a"));
  const calls: Record<string, () => unknown> = {
    embed: () => gme.embed("a", options),
    embedBatch: () => gme.embedBatch(["a"], options),
    embedMany: () => gme.embedMany(["a"], options).next(),
    encode: () => gme.encode(["a"], options),
    getTextEmbeddings: () => gme.getTextEmbeddings({ texts: ["a"], ...options }),
    countTokens: () => gme.countTokens("a", options),
    tokenize: () => gme.tokenize("a", options),
    inspectStages: () => gme.inspectStages("a", options),
  };
  for (const [name, call] of Object.entries(calls)) {
    t.match(await rejectsWith(t, call, "GME_OPTION_INVALID", name), {
      field: "options.instuction",
      expected: "instruction",
    });
  }
  await gme.close();
});

t.test("a closed model refuses every call GME_MODEL_CLOSED", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  const running = gme.embed("a");
  await Promise.all([gme.close(), gme.close(), gme[Symbol.asyncDispose]()]);
  t.equal((await running).length, 64, "close() waited for the running embed()");
  const calls = [
    () => gme.embed("a"),
    () => gme.embedBatch(["a"]),
    () => gme.embedMany(["a"]).next(),
    () => gme.encode("a"),
    () => gme.countTokens("a"),
    () => gme.tokenize("a"),
    () => gme.inspectStages("a"),
  ];
  for (const call of calls) await rejectsWith(t, call, "GME_MODEL_CLOSED");
});
