// `@langchain/openai`'s OpenAIEmbeddings: the newest that Node 20 may run, and the newest of all where Node is new enough.
import { OpenAIEmbeddings } from "@langchain/openai";
import t from "tap";
import { sameVectors } from "../../helpers/demonstration";
import { newestMajorsRun } from "../../helpers/newest-majors";
import { apiKey, type ClientServer, clientServer, refuses, texts } from "./client-server";

let server: ClientServer;
t.before(async () => {
  server = await clientServer(t);
});

function suite(name: string, getClass: () => Promise<typeof OpenAIEmbeddings>, skip: string | false) {
  t.test(name, { skip }, async (t) => {
    const Client = await getClass();
    const fields = { model: "gme", apiKey, maxRetries: 0, configuration: { baseURL: `${server.url}/v1` } };
    const embeddings = new Client(fields);
    sameVectors(t, await embeddings.embedDocuments(texts), await server.model.embedBatch(texts));
    sameVectors(t, [await embeddings.embedQuery("a banana")], [await server.model.embed("a banana")], "a query");
    const small = new Client({ ...fields, batchSize: 3 });
    const many = Array.from({ length: 10 }, (_, i) => `text ${i}`);
    sameVectors(t, await small.embedDocuments(many), await server.model.embedBatch(many), "in several requests");
    const stranger = new Client({ ...fields, apiKey: "sk-wrong" });
    await refuses(t, stranger.embedQuery("a"), Error, { status: 401 });
    const cut = new Client({ ...fields, dimensions: 8 });
    await refuses(t, cut.embedQuery("a"), Error, { status: 400, message: /dimensions/ });
  });
}

suite("@langchain/openai 1.5", async () => OpenAIEmbeddings, false);
suite(
  "@langchain/openai 1.6",
  async () => (await import("@langchain/openai-next")).OpenAIEmbeddings as unknown as typeof OpenAIEmbeddings,
  newestMajorsRun,
);
