// The AI SDK's own functions over the models of gme-embed/ai-sdk. `ai` 6 runs here; `ai` 7 where Node is new enough for it.
import * as ai from "ai";
import t from "tap";
import { gmeProvider, multimodal } from "../../lib/adapters/ai-sdk";
import { cosine, type GmeModel } from "../../lib/index";
import { demonstrationModel, sameVectors, samplePicture } from "../helpers/demonstration";
import { newestMajorsRun } from "../helpers/newest-majors";

type AiSdk = Pick<typeof ai, "embed" | "embedMany" | "wrapEmbeddingModel" | "defaultEmbeddingSettingsMiddleware">;
const bicycle = samplePicture("bicycle");
const banana = samplePicture("banana");
const texts = ["a red bicycle", "", "a banana", "a red bicycle"];
let model: GmeModel;

async function tokensOf(items: Parameters<GmeModel["countTokens"]>[0][]): Promise<number> {
  const counts = await Promise.all(items.map((item) => model.countTokens(item)));
  return counts.reduce((sum, { total }) => sum + total, 0);
}

t.before(async () => {
  model = await demonstrationModel(t);
});

function suite(name: string, getSdk: () => Promise<AiSdk>, specificationVersion: "v3" | "v4", skip: string | false) {
  const provider = () => gmeProvider(model, { specificationVersion } as { specificationVersion: "v3" });

  t.test(`${name} with interface ${specificationVersion}`, { skip }, async (t) => {
    const { embed, embedMany, wrapEmbeddingModel, defaultEmbeddingSettingsMiddleware } = await getSdk();

    t.test("texts: the library's own vectors, and the tokens they took", async (t) => {
      const text = provider().textEmbeddingModel();
      const many = await embedMany({ model: text, values: texts });
      sameVectors(t, many.embeddings, await model.embedBatch(texts));
      t.same(many.usage, { tokens: await tokensOf(texts) });
      t.same(many.warnings, []);
      const one = await embed({ model: text, value: texts[0] });
      sameVectors(t, [one.embedding], [await model.embed(texts[0])]);
      t.same(one.usage, { tokens: await tokensOf([texts[0]]) });
    });

    t.test("pictures: data: URLs, file: URLs and paths", async (t) => {
      const values = [bicycle.path, bicycle.dataUrl, bicycle.fileUrl.href, banana.path];
      const { embeddings, usage } = await embedMany({ model: provider().imageEmbeddingModel(), values });
      const [first, second] = await model.embedBatch([{ image: bicycle.path }, { image: banana.path }]);
      sameVectors(t, embeddings, [first, first, first, second]);
      t.same(usage, { tokens: await tokensOf(values.map((image) => ({ image }))) });
    });

    t.test("items of text and picture", async (t) => {
      const items = [{ text: "my bicycle", image: bicycle.bytes }, { text: "a text" }, { image: banana.fileUrl }];
      const values = items.map((item) => multimodal(item));
      const { embeddings, usage } = await embedMany({ model: provider().multimodalEmbeddingModel(), values });
      sameVectors(t, embeddings, await model.embedBatch(items));
      t.same(usage, { tokens: await tokensOf(items) });
      const prompted = multimodal({ text: "a", prompt: "Find it." });
      const { embedding } = await embed({ model: provider().multimodalEmbeddingModel(), value: prompted });
      sameVectors(t, [embedding], [await model.embed("a", { instruction: "Find it." })]);
    });

    t.test("providerOptions.gme are the library's options", async (t) => {
      const text = provider().textEmbeddingModel();
      const instruction = "Find an image that matches the given text.";
      const asked = await embed({ model: text, value: "a", providerOptions: { gme: { instruction } } });
      sameVectors(t, [asked.embedding], [await model.embed("a", { instruction })]);
      t.ok(cosine(asked.embedding, await model.embed("a")) < 0.9999, "the instruction counts");
      const cut = { dimensions: 8, allowTruncation: true };
      const short = await embed({ model: text, value: "a", providerOptions: { gme: cut } });
      sameVectors(t, [short.embedding], [await model.embed("a", cut)]);
      const document = { instruction, isQuery: false };
      const ignored = await embed({ model: text, value: "a", providerOptions: { gme: document } });
      sameVectors(t, [ignored.embedding], [await model.embed("a", document)]);
      t.match(ignored.warnings, [{ type: "unsupported", feature: "instruction", details: /default instruction/ }]);
      const settings = defaultEmbeddingSettingsMiddleware({ settings: { providerOptions: { gme: { instruction } } } });
      const wrapped = wrapEmbeddingModel({ model: text as never, middleware: settings as never });
      const through = await embed({ model: wrapped, value: "a" });
      sameVectors(t, [through.embedding], [await model.embed("a", { instruction })], "through a middleware");
    });

    t.test("errors are the library's, at once and without a second try", async (t) => {
      const text = provider().textEmbeddingModel();
      const misspelt = { gme: { instrction: "a" } };
      await t.rejects(embed({ model: text, value: "a", providerOptions: misspelt }), {
        name: "GmeError",
        code: "GME_OPTION_INVALID",
        field: "options.instrction",
        expected: "instruction",
      });
      const dimensions = { gme: { dimensions: 7 } };
      await t.rejects(embed({ model: text, value: "a", providerOptions: dimensions }), { code: "GME_OPTION_INVALID" });
      const image = provider().imageEmbeddingModel();
      await t.rejects(embedMany({ model: image, values: [bicycle.path, "data:image/png;base64,AAAA"] }), {
        code: "GME_IMAGE_FORMAT",
        item: 1,
      });
      await t.rejects(embed({ model: image, value: "https://example.org/a.png" }), { code: "GME_URL_FETCH_DISABLED" });
      for (const value of ["a red bicycle", '"text"', "[]", "null", ""]) {
        const fused = provider().multimodalEmbeddingModel();
        await t.rejects(embed({ model: fused, value }), { code: "GME_INPUT_INVALID", field: "values[0]" }, value);
      }
    });

    t.test("the signal stops a call, before it and during it", async (t) => {
      const text = provider().textEmbeddingModel();
      await t.rejects(embed({ model: text, value: "a", abortSignal: AbortSignal.abort() }), { name: "AbortError" });
      const values = Array.from({ length: 4_000 }, (_, i) => `text ${i} `.repeat(30));
      const start = performance.now();
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 100);
      await t.rejects(embedMany({ model: text, values, abortSignal: stop.signal }), { code: "GME_ABORTED" });
      t.ok(performance.now() - start < 2_000, "long before all of them were done");
    });
  });
}

suite("ai 6", async () => ai, "v3", false);
suite("ai 7", async () => (await import("ai-next")) as unknown as AiSdk, "v3", newestMajorsRun);
suite("ai 7", async () => (await import("ai-next")) as unknown as AiSdk, "v4", newestMajorsRun);

t.test("ai 6 refuses interface v4, as it says", async (t) => {
  const next = gmeProvider(model, { specificationVersion: "v4" }).textEmbeddingModel();
  await t.rejects(ai.embed({ model: next as never, value: "a" }), { name: "AI_UnsupportedModelVersionError" });
});

t.test("an interface that does not exist", async (t) => {
  t.throws(() => gmeProvider(model, { specificationVersion: "v5" as "v4" }), {
    code: "GME_OPTION_INVALID",
    field: "options.specificationVersion",
  });
});

t.test("what the models say about themselves; dimensions as interface v4 passes them", async (t) => {
  const gme = gmeProvider(model, { specificationVersion: "v4" });
  const named = [gme.textEmbeddingModel(), gme.imageEmbeddingModel(), gme.multimodalEmbeddingModel()];
  t.same(
    named.map(({ provider }) => provider),
    ["gme.text", "gme.image", "gme.multimodal"],
  );
  for (const { modelId, specificationVersion } of named) {
    t.equal(modelId, model.info.name);
    t.equal(specificationVersion, "v4");
  }
  const values = ["a"];
  const whole = await named[0].doEmbed({ values, dimensions: model.dimensions });
  sameVectors(t, whole.embeddings, [await model.embed("a")]);
  await t.rejects(named[0].doEmbed({ values, dimensions: 8 }), { code: "GME_OPTION_INVALID" });
});
