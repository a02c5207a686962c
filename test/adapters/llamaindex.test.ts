// gme-embed/llamaindex as LlamaIndex TS uses it: by itself, as a transformation of nodes, for queries of messages.
import { MultiModalEmbedding } from "@llamaindex/core/embeddings";
import { ImageNode, TextNode } from "@llamaindex/core/schema";
import t from "tap";
import { GmeEmbedding } from "../../lib/adapters/llamaindex";
import { cosine, type GmeModel } from "../../lib/index";
import { demonstrationModel, sameVectors, samplePicture } from "../helpers/demonstration";

const instruction = "Find an image that matches the given text.";
const bicycle = samplePicture("bicycle");
const banana = samplePicture("banana");
let model: GmeModel;
t.before(async () => {
  model = await demonstrationModel(t);
});
const document = (item: Parameters<GmeModel["embed"]>[0]) => model.embed(item, { isQuery: false });

t.test("texts, one by one and in batches", async (t) => {
  const gme = new GmeEmbedding({ model, instruction });
  t.ok(gme instanceof MultiModalEmbedding);
  const texts = Array.from({ length: 10 }, (_, i) => `text number ${i}`);
  const expected = await model.embedBatch(texts, { isQuery: false });
  sameVectors(t, await gme.getTextEmbeddings(texts), expected);
  sameVectors(t, [await gme.getTextEmbedding(texts[3])], [expected[3]]);
  gme.embedBatchSize = 3;
  const progress: number[] = [];
  const batches = await gme.getTextEmbeddingsBatch(texts, { progressCallback: (done) => void progress.push(done) });
  sameVectors(t, batches, expected);
  t.same(progress, [3, 6, 9, 10]);
  t.equal(gme.embedInfo?.dimensions, model.dimensions);
});

t.test("pictures as paths, URLs and Blobs", async (t) => {
  const gme = new GmeEmbedding({ model, instruction });
  const blob = new Blob([bicycle.bytes], { type: "image/png" });
  const expected = await document({ image: bicycle.path });
  const images = [bicycle.path, bicycle.fileUrl, bicycle.dataUrl, blob, banana.path];
  const other = await document({ image: banana.path });
  sameVectors(t, await gme.getImageEmbeddings(images), [expected, expected, expected, expected, other]);
  sameVectors(t, [await gme.getImageEmbedding(blob)], [expected]);
});

t.test("queries have the instruction, texts and pictures alike; what is neither is null", async (t) => {
  const gme = new GmeEmbedding({ model, instruction });
  const query = (item: Parameters<GmeModel["embed"]>[0]) => model.embed(item, { instruction });
  const picture = await query({ image: bicycle.path });
  sameVectors(
    t,
    [await gme.getQueryEmbedding({ type: "text", text: "a red bicycle" })],
    [await query("a red bicycle")],
  );
  sameVectors(t, [await gme.getQueryEmbedding({ type: "image_url", image_url: { url: bicycle.dataUrl } })], [picture]);
  sameVectors(
    t,
    [await gme.getQueryEmbedding({ type: "image", data: bicycle.base64, mimeType: "image/png" })],
    [picture],
  );
  t.equal(await gme.getQueryEmbedding({ type: "audio", data: "", mimeType: "audio/mp3" }), null);
  t.ok(cosine(picture, await document({ image: bicycle.path })) < 0.9999, "the instruction counts");
  const plain = new GmeEmbedding({ model });
  sameVectors(t, [await plain.getQueryEmbedding({ type: "text", text: "a" })], [await document("a")]);
});

t.test("as a transformation of nodes", async (t) => {
  const gme = new GmeEmbedding({ model });
  const nodes = [
    new TextNode({ text: "a red bicycle" }),
    new ImageNode({ image: bicycle.dataUrl }),
    new TextNode({ text: "a banana" }),
  ];
  await gme(nodes);
  sameVectors(
    t,
    nodes.map(({ embedding }) => embedding),
    await Promise.all([document("a red bicycle"), document({ image: bicycle.path }), document("a banana")]),
  );
});

t.test("errors and aborts are the library's", async (t) => {
  const gme = new GmeEmbedding({ model });
  await t.rejects(gme.getImageEmbeddings([bicycle.path, new Blob(["no picture"])]), {
    code: "GME_IMAGE_FORMAT",
    item: 1,
  });
  await t.rejects(gme.getImageEmbedding(new URL("https://example.org/a.png")), { code: "GME_URL_FETCH_DISABLED" });
  const stopped = new GmeEmbedding({ model, signal: AbortSignal.abort() });
  await t.rejects(stopped.getTextEmbedding("a"), { name: "AbortError", code: "GME_ABORTED" });
});
