// The `openai` package of npm: version 6 here, 7 where Node is new enough.
import OpenAI from "openai";
import t from "tap";
import { cosine } from "../../../lib/index";
import { sameVectors } from "../../helpers/demonstration";
import { newestMajorsRun } from "../../helpers/newest-majors";
import { apiKey, banana, bicycle, type ClientServer, clientServer, instruction, refuses, texts } from "./client-server";

let server: ClientServer;
t.before(async () => {
  server = await clientServer(t);
});

const vectorsOf = ({ data }: { data: { embedding: number[] }[] }) => data.map(({ embedding }) => embedding);
const part = (url: string) => ({ type: "image_url", image_url: { url } });

function suite(name: string, getClass: () => Promise<typeof OpenAI>, skip: string | false) {
  t.test(name, { skip }, async (t) => {
    const Client = await getClass();
    const baseURL = `${server.url}/v1`;
    const client = new Client({ baseURL, apiKey, maxRetries: 0 });
    const embed = (input: unknown, more: object = {}) =>
      client.embeddings.create({ model: "gme", input: input as string[], ...more });

    t.test("texts: base64, which it asks for by itself, and numbers", async (t) => {
      const expected = await server.model.embedBatch(texts);
      const answer = await embed(texts);
      sameVectors(t, vectorsOf(answer), expected);
      t.same(
        answer.data.map(({ index }) => index),
        [0, 1, 2, 3],
      );
      const counts = await Promise.all(texts.map((text) => server.model.countTokens(text)));
      const tokens = counts.reduce((sum, { total }) => sum + total, 0);
      t.match(answer, { object: "list", model: "gme", usage: { prompt_tokens: tokens, total_tokens: tokens } });
      sameVectors(t, vectorsOf(await embed(texts, { encoding_format: "float" })), expected, "as numbers");
      sameVectors(t, vectorsOf(await embed("a banana")), [await server.model.embed("a banana")], "one string");
      sameVectors(t, vectorsOf(await embed(texts, { dimensions: server.model.dimensions })), expected, "dimensions");
    });

    t.test("pictures, items of both, instructions", async (t) => {
      const fused = [part(bicycle.dataUrl), { type: "text", text: "my bicycle" }];
      const query = { content: [{ type: "text", text: "a banana" }], instruction };
      const answer = await embed([part(bicycle.dataUrl), part(banana.dataUrl), fused, query, "a text"]);
      const items = [
        ...[{ image: bicycle.path }, { image: banana.path }, { text: "my bicycle", image: bicycle.path }],
        ...[{ text: "a banana", prompt: instruction }, "a text"],
      ];
      sameVectors(t, vectorsOf(answer), await server.model.embedBatch(items));
      const [asked] = vectorsOf(await embed("a banana", { instruction }));
      sameVectors(t, [asked], [await server.model.embed("a banana", { instruction })], "of the request");
      t.ok(cosine(asked, await server.model.embed("a banana")) < 0.9999, "the instruction counts");
    });

    t.test("the models", async (t) => {
      const { data } = await client.models.list();
      t.ok(data.length >= 1);
      const answer = await client.embeddings.create({ model: data[0].id, input: "a" });
      t.equal(answer.model, data[0].id, "a name of the list can be asked for");
    });

    t.test("refusals are the package's own errors", async (t) => {
      const { AuthenticationError, BadRequestError, NotFoundError } = Client;
      const stranger = new Client({ baseURL, apiKey: "sk-wrong", maxRetries: 0 });
      const unknown = stranger.embeddings.create({ model: "gme", input: "a" });
      await refuses(t, unknown, AuthenticationError, { status: 401, code: "GME_KEY_REFUSED" });
      const other = embed("a", { model: "text-embedding-3-small" });
      await refuses(t, other, NotFoundError, { status: 404, code: "GME_MODEL_NOT_FOUND" });
      const reason = /token array input is not supported; send strings \(LangChain: check_embedding_ctx_length=False\)/;
      const refused = { status: 400, message: reason, type: "invalid_request_error" };
      await refuses(t, embed([1, 2, 3]), BadRequestError, refused);
      await refuses(t, embed([[1, 2], [3]]), BadRequestError, refused);
      await refuses(t, embed([]), BadRequestError, { param: "input" });
      await refuses(t, embed("a", { dimensions: 8 }), BadRequestError, { param: "dimensions" });
      const broken = embed([part("data:image/png;base64,AAAA")]);
      await refuses(t, broken, BadRequestError, { code: "GME_IMAGE_FORMAT" });
      const remote = embed([part("https://example.org/a.png")]);
      await refuses(t, remote, BadRequestError, { code: "GME_URL_FETCH_DISABLED" });
    });

    t.test("a call that is aborted ends, and the server goes on", async (t) => {
      const stop = new AbortController();
      const long = Array.from({ length: 200 }, (_, i) => `text ${i} `.repeat(40));
      const call = client.embeddings.create({ model: "gme", input: long }, { signal: stop.signal });
      setTimeout(() => stop.abort(), 30);
      await refuses(t, call, Client.APIUserAbortError, {});
      sameVectors(t, vectorsOf(await embed("a")), [await server.model.embed("a")]);
    });
  });
}

suite("openai 6", async () => OpenAI, false);
suite("openai 7", async () => (await import("openai-next")).OpenAI as unknown as typeof OpenAI, newestMajorsRun);
