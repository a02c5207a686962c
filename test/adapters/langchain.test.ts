// gme-embed/langchain with @langchain/core's own vector store, selectors and retrievers.
import { SemanticSimilarityExampleSelector } from "@langchain/core/example_selectors";
import { Embeddings } from "@langchain/core/embeddings";
import { VectorStore } from "@langchain/core/vectorstores";
import { Document, type DocumentInterface } from "@langchain/core/documents";
import t from "tap";
import { GmeEmbeddings } from "../../lib/adapters/langchain";
import { cosine, type GmeModel } from "../../lib/index";
import { demonstrationModel, sameVectors, samplePicture } from "../helpers/demonstration";

const instruction = "Find an image that matches the given text.";
const names = ["bicycle", "banana", "airplane"];
const pictures = names.map(samplePicture);
let model: GmeModel;
t.before(async () => {
  model = await demonstrationModel(t);
});

/** The smallest store that LangChain's classes work with. */
class ListStore extends VectorStore {
  readonly rows: { vector: number[]; document: DocumentInterface }[] = [];

  _vectorstoreType(): string {
    return "list";
  }

  async addVectors(vectors: number[][], documents: DocumentInterface[]): Promise<void> {
    for (const [i, vector] of vectors.entries()) this.rows.push({ vector, document: documents[i] });
  }

  async addDocuments(documents: DocumentInterface[]): Promise<void> {
    const vectors = await this.embeddings.embedDocuments(documents.map(({ pageContent }) => pageContent));
    await this.addVectors(vectors, documents);
  }

  async similaritySearchVectorWithScore(query: number[], k: number): Promise<[DocumentInterface, number][]> {
    const scored = this.rows.map(({ vector, document }): [DocumentInterface, number] => [
      document,
      cosine(query, vector),
    ]);
    return scored.sort((a, b) => b[1] - a[1]).slice(0, k);
  }

  static override async fromTexts(texts: string[], metadatas: object[], embeddings: GmeEmbeddings): Promise<ListStore> {
    const store = new ListStore(embeddings, {});
    await store.addDocuments(
      texts.map((pageContent, i) => new Document({ pageContent, metadata: metadatas[i] ?? {} })),
    );
    return store;
  }
}

t.test("documents and queries: the library's own vectors as arrays of numbers", async (t) => {
  const embeddings = new GmeEmbeddings({ model, instruction });
  t.ok(embeddings instanceof Embeddings);
  const documents = ["a red bicycle", "", "a banana", "a red bicycle"];
  sameVectors(t, await embeddings.embedDocuments(documents), await model.embedBatch(documents, { isQuery: false }));
  t.same(await embeddings.embedDocuments([]), []);
  const query = await embeddings.embedQuery("a red bicycle");
  t.ok(Array.isArray(query));
  sameVectors(t, [query], [await model.embed("a red bicycle", { instruction })]);
  const [document] = await embeddings.embedDocuments(["a red bicycle"]);
  t.ok(cosine(query, document) < 0.9999, "a document has no instruction");
  const plain = new GmeEmbeddings({ model });
  sameVectors(t, [await plain.embedQuery("a")], [await model.embed("a")]);
});

t.test("pictures, alone and with a text", async (t) => {
  const embeddings = new GmeEmbeddings({ model, instruction });
  const [bicycle, banana] = pictures;
  const sources = [bicycle.path, bicycle.bytes, bicycle.dataUrl, bicycle.fileUrl, banana.path];
  const items = sources.map((image) => ({ image }));
  const expected = await model.embedBatch(items, { isQuery: false });
  sameVectors(t, await embeddings.embedImages(sources), expected);
  sameVectors(t, [await embeddings.embedImage(banana.path)], [expected[4]]);
  const asked = { instruction: "Find a similar picture." };
  const query = await embeddings.embedImage(banana.path, asked);
  sameVectors(t, [query], [await model.embed({ image: banana.path }, asked)]);
  t.ok(cosine(query, expected[4]) < 0.9999, "the instruction counts");
  const pairs = [{ text: "my bicycle", image: bicycle.path }, { text: "a" }];
  const fused = await model.embedBatch(pairs, { isQuery: false });
  sameVectors(t, [await embeddings.embedMultimodal(pairs[0])], [fused[0]]);
  sameVectors(t, await embeddings.embedMultimodal(pairs), fused);
});

t.test("a vector store finds the picture, a selector the example", async (t) => {
  const embeddings = new GmeEmbeddings({ model });
  const store = new ListStore(embeddings, {});
  const documents = names.map((name) => new Document({ pageContent: name }));
  await store.addVectors(await embeddings.embedImages(pictures.map(({ path }) => path)), documents);
  for (const name of names) {
    const [found] = await store.similaritySearch(name, 1);
    t.equal(found.pageContent, name);
    const [retrieved] = await store.asRetriever(1).invoke(name);
    t.equal(retrieved.pageContent, name, "as a retriever");
  }
  const examples = names.map((name) => ({ name }));
  const selector = await SemanticSimilarityExampleSelector.fromExamples(
    examples,
    embeddings,
    ListStore as never,
    {
      k: 1,
    } as never,
  );
  t.same(await selector.selectExamples({ name: "banana" }), [{ name: "banana" }]);
});

t.test("errors and aborts are the library's", async (t) => {
  const embeddings = new GmeEmbeddings({ model });
  await t.rejects(embeddings.embedDocuments(["a", 7 as unknown as string]), { code: "GME_INPUT_INVALID", item: 1 });
  await t.rejects(embeddings.embedImage(Buffer.from("no picture")), { code: "GME_IMAGE_FORMAT" });
  await t.rejects(new GmeEmbeddings({ model, batchSize: 0 }).embedQuery("a"), { code: "GME_OPTION_INVALID" });
  const stopped = new GmeEmbeddings({ model, signal: AbortSignal.abort() });
  await t.rejects(stopped.embedDocuments(["a"]), { name: "AbortError", code: "GME_ABORTED" });
  await t.rejects(embeddings.embedImages([pictures[0].path], { signal: AbortSignal.abort() }), { code: "GME_ABORTED" });
});
