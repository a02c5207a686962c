// The `cohere-ai` package of npm, against POST /v2/embed.
import { Cohere, CohereClientV2 } from "cohere-ai";
import t from "tap";
import { sameVectors } from "../../helpers/demonstration";
import { apiKey, banana, bicycle, type ClientServer, clientServer, refuses, texts } from "./client-server";

let server: ClientServer;
let client: CohereClientV2;
t.before(async () => {
  server = await clientServer(t);
  client = new CohereClientV2({ environment: server.url, token: apiKey, maxRetries: 0 } as never);
});

const document = {
  model: "gme",
  inputType: "search_document" as Cohere.EmbedInputType,
  embeddingTypes: ["float"] as Cohere.EmbeddingType[],
};

t.test("texts", async (t) => {
  const expected = await server.model.embedBatch(texts);
  const answer = await client.embed({ ...document, texts });
  sameVectors(t, answer.embeddings.float, expected);
  t.same(answer.texts, texts);
  t.equal(answer.responseType, "embeddings_by_type");
  const counts = await Promise.all(texts.map((text) => server.model.countTokens(text)));
  t.equal(
    answer.meta?.billedUnits?.inputTokens,
    counts.reduce((sum, { text }) => sum + text, 0), // what is billed as text: the template is not
  );
  const query = await client.embed({ ...document, inputType: "search_query", texts: ["a banana"] });
  sameVectors(t, query.embeddings.float, [await server.model.embed("a banana")], "a query");
});

t.test("pictures, and items of both", async (t) => {
  for (const image of [bicycle, banana]) {
    const { embeddings } = await client.embed({ ...document, inputType: "image", images: [image.dataUrl] });
    sameVectors(t, embeddings.float, [await server.model.embed({ image: image.path })]);
  }
  const inputs = [
    {
      content: [
        { type: "text" as const, text: "my bicycle" },
        { type: "image_url" as const, imageUrl: { url: bicycle.dataUrl } },
      ],
    },
    { content: [{ type: "text" as const, text: "a text" }] },
  ];
  const items = [{ text: "my bicycle", image: bicycle.path }, "a text"];
  const { embeddings } = await client.embed({ ...document, inputs });
  sameVectors(t, embeddings.float, await server.model.embedBatch(items));
});

t.test("the other types of numbers", async (t) => {
  const embeddingTypes: Cohere.EmbeddingType[] = ["float", "base64", "ubinary", "binary"];
  const { embeddings } = await client.embed({ ...document, texts: ["a"], embeddingTypes });
  const expected = await server.model.embed("a");
  sameVectors(t, embeddings.float, [expected]);
  const bytes = Buffer.from(embeddings.base64?.[0] ?? "", "base64");
  const floats = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  sameVectors(t, [floats], [expected], "base64");
  const bits = Array.from({ length: expected.length / 8 }, (_, i) =>
    expected.subarray(8 * i, 8 * i + 8).reduce((byte, x) => 2 * byte + (x > 0 ? 1 : 0), 0),
  );
  t.same(embeddings.ubinary, [bits]);
  t.same(embeddings.binary, [bits.map((byte) => byte - 128)]);
});

t.test("refusals are the package's own errors, with the reason", async (t) => {
  const stranger = new CohereClientV2({ environment: server.url, token: "wrong", maxRetries: 0 } as never);
  await refuses(t, stranger.embed({ ...document, texts: ["a"] }), Cohere.UnauthorizedError, { statusCode: 401 });
  const bytes = client.embed({ ...document, texts: ["a"], embeddingTypes: ["int8"] });
  await refuses(t, bytes, Cohere.BadRequestError, { statusCode: 400, body: { message: /int8/ } });
  const other = client.embed({ ...document, model: "embed-v4.0", texts: ["a"] });
  await refuses(t, other, Cohere.NotFoundError, { body: { message: /embed-v4\.0/ } });
  const cut = client.embed({ ...document, texts: ["a"], outputDimension: 8 });
  await refuses(t, cut, Cohere.BadRequestError, { body: { message: /output_dimension/ } });
});
