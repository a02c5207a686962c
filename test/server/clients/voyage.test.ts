// The `voyageai` package of npm, against POST /v1/multimodalembeddings.
import { VoyageAIClient, VoyageAIError } from "voyageai";
import t from "tap";
import { sameVectors } from "../../helpers/demonstration";
import { apiKey, bicycle, type ClientServer, clientServer, refuses, texts } from "./client-server";

let server: ClientServer;
let client: VoyageAIClient;
t.before(async () => {
  server = await clientServer(t);
  client = clientWith(apiKey);
});

function clientWith(key: string): VoyageAIClient {
  return new VoyageAIClient({ environment: `${server.url}/v1`, apiKey: key, maxRetries: 0 });
}

const text = (text: string) => ({ type: "text", text });
const picture = { type: "image_base64", imageBase64: bicycle.dataUrl };
const fused = [[picture], [text("my bicycle"), picture], [text("a text")]].map((content) => ({ content }));

t.test("texts", async (t) => {
  const inputs = texts.map((value) => ({ content: [text(value)] }));
  const answer = await client.multimodalEmbed({ model: "gme", inputs });
  sameVectors(
    t,
    answer.data?.map(({ embedding }) => embedding),
    await server.model.embedBatch(texts),
  );
  const counts = await Promise.all(texts.map((value) => server.model.countTokens(value)));
  t.equal(
    answer.usage?.totalTokens,
    counts.reduce((sum, { total }) => sum + total, 0),
  );
  const query = { model: "gme", inputs: inputs.slice(0, 1), inputType: "query" as const };
  const asked = await client.multimodalEmbed(query);
  sameVectors(
    t,
    asked.data?.map(({ embedding }) => embedding),
    [await server.model.embed(texts[0])],
    "a query",
  );
});

t.test("pictures, and items of both, as numbers and as base64", async (t) => {
  const items = [{ image: bicycle.path }, { text: "my bicycle", image: bicycle.path }, "a text"];
  const expected = await server.model.embedBatch(items);
  const answer = await client.multimodalEmbed({ model: "gme", inputs: fused });
  sameVectors(
    t,
    answer.data?.map(({ embedding }) => embedding),
    expected,
  );
  t.same(
    answer.data?.map(({ index }) => index),
    [0, 1, 2],
  );
  const packed = await client.multimodalEmbed({ model: "gme", inputs: fused, encodingFormat: "base64" });
  const floats = packed.data?.map(({ embedding }) => {
    const bytes = Buffer.from(embedding as unknown as string, "base64");
    return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  });
  sameVectors(t, floats, expected, "base64");
});

t.test("refusals are the package's own errors, with the reason", async (t) => {
  const inputs = [{ content: [text("a")] }];
  const stranger = clientWith("wrong").multimodalEmbed({ model: "gme", inputs });
  await refuses(t, stranger, VoyageAIError, { statusCode: 401 });
  const video = [{ content: [{ type: "video_url", videoUrl: "https://example.org/a.mp4" }] }];
  await refuses(t, client.multimodalEmbed({ model: "gme", inputs: video }), VoyageAIError, { statusCode: 400 });
  const remote = [{ content: [{ type: "image_url", imageUrl: "https://example.org/a.png" }] }];
  const disabled = { statusCode: 400, body: { error: { code: "GME_URL_FETCH_DISABLED" } } };
  await refuses(t, client.multimodalEmbed({ model: "gme", inputs: remote }), VoyageAIError, disabled);
  const other = client.multimodalEmbed({ model: "voyage-multimodal-3", inputs });
  await refuses(t, other, VoyageAIError, { statusCode: 404 });
});
