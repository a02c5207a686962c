// LlamaIndex TS' class for Jina's service, which posts to any address: texts and pictures.
import { JinaAIEmbedding } from "@llamaindex/jinaai";
import t from "tap";
import { sameVectors } from "../../helpers/demonstration";
import { apiKey, banana, bicycle, type ClientServer, clientServer, texts } from "./client-server";

let server: ClientServer;
let client: JinaAIEmbedding;
const clientWith = (more: object) =>
  new JinaAIEmbedding({ baseURL: `${server.url}/v1/embeddings`, apiKey, model: "jina-clip-v1", ...more });
t.before(async () => {
  server = await clientServer(t);
  client = clientWith({});
});

t.test("texts", async (t) => {
  const expected = await server.model.embedBatch(texts);
  sameVectors(t, await client.getTextEmbeddings(texts), expected);
  sameVectors(t, await client.getTextEmbeddingsBatch(texts), expected, "in batches");
  sameVectors(t, [await client.getTextEmbedding("a banana")], [await server.model.embed("a banana")]);
  const query = await clientWith({ task: "retrieval.query" }).getQueryEmbedding({ type: "text", text: "a banana" });
  sameVectors(t, [query], [await server.model.embed("a banana")], "a query");
});

t.test("pictures: a Blob, a file: URL, a data: URL", async (t) => {
  const expected = await server.model.embedBatch([bicycle, bicycle, banana].map(({ path }) => ({ image: path })));
  const blob = new Blob([bicycle.bytes], { type: "image/png" });
  sameVectors(t, await client.getImageEmbeddings([blob, bicycle.fileUrl, new URL(banana.dataUrl)]), expected);
  sameVectors(t, [await client.getImageEmbedding(blob)], expected.slice(0, 1));
  const message = { type: "image_url" as const, image_url: { url: bicycle.dataUrl } };
  sameVectors(t, [await client.getQueryEmbedding(message)], expected.slice(0, 1), "as a query");
});

t.test("refusals reach the caller with status and reason", async (t) => {
  const stranger = clientWith({ apiKey: "wrong" });
  await t.rejects(stranger.getTextEmbedding("a"), { message: /status 401.*GME_KEY_REFUSED/ });
  await t.rejects(clientWith({ late_chunking: true }).getTextEmbedding("a"), { message: /status 400.*late_chunking/ });
  await t.rejects(clientWith({ dimensions: 8 }).getTextEmbedding("a"), { message: /status 400.*dimensions/ });
  const remote = new URL("https://example.org/a.png");
  await t.rejects(client.getImageEmbedding(remote), { message: /status 400.*GME_URL_FETCH_DISABLED/ });
});
