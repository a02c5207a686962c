// The Vercel AI SDK with its own provider for OpenAI, pointed at the server. gme-embed/ai-sdk, without a server, is in test/adapters.
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embed, embedMany } from "ai";
import t from "tap";
import { sameVectors } from "../../helpers/demonstration";
import { apiKey, type ClientServer, clientServer, refuses, texts } from "./client-server";

let server: ClientServer;
t.before(async () => {
  server = await clientServer(t);
});
const modelWith = (key: string) => createOpenAI({ baseURL: `${server.url}/v1`, apiKey: key }).embedding("gme");

t.test("embed and embedMany", async (t) => {
  const many = await embedMany({ model: modelWith(apiKey), values: texts });
  sameVectors(t, many.embeddings, await server.model.embedBatch(texts));
  const counts = await Promise.all(texts.map((text) => server.model.countTokens(text)));
  t.equal(
    many.usage.tokens,
    counts.reduce((sum, { total }) => sum + total, 0),
  );
  const one = await embed({ model: modelWith(apiKey), value: "a banana" });
  sameVectors(t, [one.embedding], [await server.model.embed("a banana")]);
});

t.test("refusals are the SDK's own errors, with the reason", async (t) => {
  const stranger = embed({ model: modelWith("sk-wrong"), value: "a" });
  await refuses(t, stranger, APICallError, { statusCode: 401, isRetryable: false, responseBody: /GME_KEY_REFUSED/ });
  const cut = embed({ model: modelWith(apiKey), value: "a", providerOptions: { openai: { dimensions: 8 } } });
  await refuses(t, cut, APICallError, { statusCode: 400, message: /dimensions/ });
});
