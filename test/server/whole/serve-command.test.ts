// `gme serve` as a user starts it: what it says, what it refuses.
import { request } from "node:http";
import { join } from "node:path";
import t from "tap";
import { load } from "../../../lib";
import { gme } from "../../helpers/cli";
import { temporaryFolder } from "../../helpers/fixtures";
import { pairPath } from "../../helpers/parity";
import { post, serve } from "../../helpers/serve-process";

const model = ["--model", pairPath("tiny-a")];

t.test("it answers with the library's vectors, in every dialect, and logs a line per request", async (t) => {
  const { url, said } = await serve(t, [...model, "--model-alias", "text-embedding-3-small"]);
  const here = await load(pairPath("tiny-a"), { threads: 1 });
  t.teardown(() => here.close());
  const texts = ["a cat", "private words", ""];
  const documents = await here.embedBatch(texts, { isQuery: false });
  const same = (found: unknown, what: string) =>
    t.strictSame((found as number[][]).map((vector) => Float32Array.from(vector)), documents, what); // biome-ignore format: one line says it
  const openai = await post(`${url}/v1/embeddings`, { model: "text-embedding-3-small", input: texts });
  same((openai.body.data as { embedding: number[] }[]).map(({ embedding }) => embedding), "OpenAI"); // biome-ignore format: one line says it
  const cohere = await post(`${url}/v2/embed`, { model: "gme", texts, input_type: "search_document", embedding_types: ["float"] }); // biome-ignore format: one line says it
  same((cohere.body.embeddings as { float: number[][] }).float, "Cohere");
  const tei = await post(`${url}/embed`, { inputs: texts });
  same(tei.body, "text-embeddings-inference");
  const inputs = texts.map((text) => ({ content: [{ type: "text", text }] }));
  const voyage = await post(`${url}/v1/multimodalembeddings`, { model: "gme", inputs });
  same((voyage.body.data as { embedding: number[] }[]).map(({ embedding }) => embedding), "Voyage"); // biome-ignore format: one line says it
  const query = await post(`${url}/v1/embeddings`, { input: "a cat", input_type: "query", instruction: "Find it." });
  const [asked] = await here.embedBatch(["a cat"], { instruction: "Find it." });
  t.strictSame(Float32Array.from((query.body.data as { embedding: number[] }[])[0].embedding), asked, "a query");
  t.equal((openai.body.usage as { total_tokens: number }).total_tokens, await tokensOf(here, texts), "usage");
  const lines = said().split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line)); // biome-ignore format: one line says it
  const answered = lines.filter(({ msg }) => msg === "answered");
  t.match(answered[0], { method: "POST", route: "/v1/embeddings", status: 200, items: 3 });
  t.equal(answered.length, 5);
  t.notMatch(said(), /private words/, "S34 no text of a request is logged");
});

async function tokensOf(model: Awaited<ReturnType<typeof load>>, texts: readonly string[]): Promise<number> {
  const counts = await Promise.all(texts.map((text) => model.countTokens(text)));
  return counts.reduce((sum, { total }) => sum + total, 0);
}

t.test("a key by --api-key or GME_API_KEY is asked for, but for /health", async (t) => {
  for (const [args, env] of [
    [["--api-key", "secret-of-mine"], {}],
    [[], { GME_API_KEY: "secret-of-mine" }],
  ] as const) {
    // biome-ignore format: one line says it
    const { url, said } = await serve(t, [...model, ...args], { env });
    const without = await post(`${url}/v1/embeddings`, { input: "a" });
    t.match(without, { status: 401, body: { error: { code: "GME_KEY_REFUSED" } } });
    t.equal(
      (await post(`${url}/v1/embeddings`, { input: "a" }, { authorization: "Bearer secret-of-mine" })).status,
      200,
    );
    t.equal((await fetch(`${url}/health`)).status, 200);
    t.equal((await fetch(`${url}/metrics`)).status, 401);
    t.notMatch(said(), /secret-of-mine/, "S34 the key is not logged");
  }
});

t.test("what it refuses to start with", async (t) => {
  const rows: [string, string[], number, RegExp][] = [
    ["another address without a key", [...model, "--host", "0.0.0.0"], 2, /needs an API key/],
    ["a socket and a port", [...model, "--socket", "/x", "--port", "1"], 2, /--socket excludes/],
    ["a port that is none", [...model, "--port", "70000"], 2, /port/],
    ["a key too short", [...model, "--api-key", "short"], 2, /8 to 512/],
    ["a model that is not there", ["--model", "/nowhere.gguf"], 1, /no such file/],
    ["an index that is not there", [...model, "--db", join(temporaryFolder(), "none")], 1, /no index/],
    ["a media root that is not there", [...model, "--media-root", "/nowhere"], 1, /cannot be opened/],
    ["an origin that is none", [...model, "--allow-origin", "somewhere"], 2, /origin/],
  ];
  const results = await Promise.all(rows.map(([, args]) => gme(["serve", ...args])));
  for (const [i, [title, , code, words]] of rows.entries()) {
    const result = results[i];
    t.equal(result.code, code, `${title}: ${result.stderr}`);
    t.match(result.stderr, words, title);
  }
});

t.test("S36 a port that is taken, and a Unix socket", async (t) => {
  const { url } = await serve(t, model);
  const { port } = new URL(url);
  const taken = await gme(["serve", ...model, "--port", port]);
  t.equal(taken.code, 1);
  t.match(taken.stderr, /something listens there already.*EADDRINUSE/);
  const path = join(temporaryFolder(), "gme.sock");
  const socket = await serve(t, [...model, "--socket", path]);
  t.equal(socket.url, `unix:${path}`);
  const status = await new Promise((resolve, reject) => {
    request({ socketPath: path, path: "/health", headers: { host: "localhost" } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
  t.equal(status, 200);
  const nowhere = await gme(["serve", ...model, "--socket", "/nowhere/gme.sock"]);
  t.equal(nowhere.code, 1);
  t.match(nowhere.stderr, /cannot listen/);
});
