import t from "tap";
import { attribution, cosine, type EmbedResult, GmeModel, load } from "../../lib/index";
import { imageFixture } from "../helpers/fixtures";
import { loadReference, maxDelta, pairPath } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";

const image = imageFixture("tiny-28x28.png");

t.test("a loaded model", async (t) => {
  const fractions: number[] = [];
  const gme = await loadReference(pairPath("tiny-a"), { onProgress: (fraction) => fractions.push(fraction) });
  const text = await gme.embed("hello");
  t.teardown(() => gme.close());

  t.test("info names sizes, limits, defaults and the fingerprint", async (t) => {
    t.match(gme.info, {
      name: "Tiny A",
      dimensions: 64,
      vision: true,
      device: "cpu",
      threads: 1,
      fingerprint: /^[0-9a-f]{16,}$/,
      limits: { maxTokens: 32768, maxImagePixels: 64e6 },
      defaults: {
        positions: "sequential",
        minImageTokens: 256,
        maxImageTokens: 1280,
        loaderResize: true,
        orientation: "ignore",
        isQuery: true,
      },
    });
    t.equal(gme.dimensions, 64);
    t.throws(() => Object.assign(gme.info.defaults, { positions: "mrope" }));
    t.ok(fractions.every((fraction) => fraction >= 0 && fraction <= 1));
    t.equal(attribution, "Built with GME");
  });

  t.test("a vector has unit length and memory of its own", async (t) => {
    const again = await gme.embed({ text: "hello" });
    t.equal(maxDelta(again, text), 0);
    t.not(again.buffer, text.buffer);
    t.equal(again.buffer.byteLength, 64 * 4);
    t.ok(Math.abs(Math.hypot(...again) - 1) < 1e-6);
  });

  t.test("encode gives a vector for an input and an array for an array", async (t) => {
    t.equal(maxDelta(await gme.encode("hello"), text), 0);
    const many = await gme.encode(["hello", { image }]);
    t.equal(many.length, 2);
    t.strictSame(await gme.encode([]), []);
  });

  t.test("the card's three calls are embedBatch under other names", async (t) => {
    const texts = ["hello", "a cat"];
    const instruction = "Find an image that matches the given text.";
    const [single] = await gme.getTextEmbeddings({ texts: ["hello"], isQuery: false, instruction });
    t.equal(maxDelta(single, text), 0, "a document has the default instruction");
    const queries = await gme.getTextEmbeddings({ texts, instruction });
    t.equal(maxDelta(queries[0], (await gme.embedBatch(texts.map((text) => ({ text, prompt: instruction }))))[0]), 0);
    const [picture] = await gme.getImageEmbeddings({ images: [image] });
    t.equal(maxDelta(picture, await gme.embed({ image })), 0);
    const [fused] = await gme.getFusedEmbeddings({ texts: ["hello"], images: [image] });
    t.equal(maxDelta(fused, await gme.embed({ text: "hello", image })), 0);
    await rejectsWith(t, () => gme.getFusedEmbeddings({ texts, images: [image] }), "GME_INPUT_INVALID");
    await rejectsWith(t, () => gme.getTextEmbeddings({} as { texts: string[] }), "GME_INPUT_INVALID");
    await rejectsWith(t, () => gme.getFusedEmbeddings({}), "GME_INPUT_INVALID");
  });

  t.test("embedMany gives the same vectors with index and id", async (t) => {
    const results: EmbedResult[] = [];
    for await (const result of gme.embedMany([{ id: "x", text: "hello" }, { text: 3 as unknown as string }, { image }]))
      results.push(result);
    t.match(results, [{ index: 0, id: "x" }, { index: 1, error: { code: "GME_INPUT_INVALID" } }, { index: 2 }]);
    t.ok(cosine(results[0].embedding as Float32Array, text) > 0.999999);
  });

  t.test("embedMany gives the tokens of its items where they are asked for", async (t) => {
    const inputs = [{ image }, "hello", { text: "hello", prompt: "Say it." }, { image: "/missing.png" }];
    const results = [];
    for await (const result of gme.embedMany(inputs, { countTokens: true })) results.push(result);
    for (const [i, result] of results.slice(0, 3).entries())
      t.strictSame(result.error === undefined && result.tokens, await gme.countTokens(inputs[i]));
    t.match(results[3], { error: { code: "GME_IO_ERROR" }, tokens: undefined });
    for await (const result of gme.embedMany(["hello"])) t.notOk("tokens" in result);
  });

  t.test("countTokens counts text, picture and template without running the model", async (t) => {
    t.match(await gme.countTokens({ image }), { text: 0, image: 256, total: 285 });
    t.match(await gme.countTokens(""), { text: 0, image: 0, total: 27 });
    const { text, total } = await gme.countTokens("hello");
    t.equal(text, (await gme.tokenize("hello")).length);
    t.equal(total, 27 + text);
  });

  t.test("other dimensions need allowTruncation and come out renormalised GME_OPTION_INVALID", async (t) => {
    await rejectsWith(t, () => gme.embed("hello", { dimensions: 32 }), "GME_OPTION_INVALID");
    await rejectsWith(t, () => gme.embed("hello", { dimensions: 65, allowTruncation: true }), "GME_OPTION_INVALID");
    t.equal(maxDelta(await gme.embed("hello", { dimensions: 64 }), text), 0);
    const cut = await gme.embed("hello", { dimensions: 32, allowTruncation: true });
    t.equal(cut.length, 32);
    t.ok(Math.abs(Math.hypot(...cut) - 1) < 1e-6);
    t.ok(cosine(cut, text.subarray(0, 32)) > 0.999999);
  });

  t.test("T01, T03: the empty text and NUL are texts", async (t) => {
    t.ok((await gme.embed("")).every(Number.isFinite));
    t.not(maxDelta(await gme.embed("a\0b"), await gme.embed("a")), 0);
    t.not(maxDelta(await gme.embed("\0a"), await gme.embed("a")), 0);
  });

  t.test("T15, T16: special strings in a text are plain text", async (t) => {
    const special = [
      "<|im_start|>",
      "<|im_end|>",
      "<|endoftext|>",
      "<|image_pad|>",
      "<|vision_start|>",
      "<|video_pad|>",
    ];
    for (const string of special) {
      const ids = await gme.tokenize(`a${string}b`);
      const [control] = await gme.tokenize(string, { specialTokens: "parse" });
      t.notOk(ids.includes(control), string);
    }
    const pads = "<|image_pad|>".repeat(1_000);
    t.equal((await gme.countTokens({ text: pads, image })).image, 256);
    t.ok((await gme.embed({ text: pads.slice(0, 1_300), image })).every(Number.isFinite));
  });

  t.test("inspectStages ends with the embedding", async (t) => {
    const stages = new Map((await gme.inspectStages("hello")).map(({ name, data }) => [name, data]));
    t.ok(maxDelta(stages.get("embedding") as Float32Array, text) < 1e-5);
    t.notOk(stages.has("pixel_values"));
  });

  t.test("an aborted call leaves the model usable GME_ABORTED", async (t) => {
    for (const delay of [0, 1, 5, 20, 60]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), delay);
      const call = gme.embed({ image: imageFixture("photo-1600x1200.jpg") }, { signal: controller.signal });
      t.match(await rejectsWith(t, () => call, "GME_ABORTED", `after ${delay} ms`), { name: "AbortError" });
    }
    t.equal(maxDelta(await gme.embed("hello"), text), 0);
  });

  t.test("embed does not block the event loop", async (t) => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    const start = performance.now();
    await gme.embed({ image: imageFixture("photo-640x480.png") });
    clearInterval(timer);
    const expected = Math.floor((performance.now() - start) / 5);
    t.ok(ticks > expected / 10, `${ticks} ticks of ${expected}`);
  });
});

t.test("loading is stopped by its signal GME_ABORTED", async (t) => {
  await rejectsWith(t, () => load(pairPath("tiny-a"), { signal: AbortSignal.abort() }), "GME_ABORTED");
});

t.test("a GmeModel is made by load alone", async (t) => {
  await rejectsWith(t, () => new (GmeModel as unknown as new () => GmeModel)(), "GME_INPUT_INVALID");
});
