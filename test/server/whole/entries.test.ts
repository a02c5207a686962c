// gme-embed/server in other programs: a fastify plugin, a handler of Fetch requests, a server of its own.
import fastify from "fastify";
import t from "tap";
import { load } from "../../../lib";
import { createHandler, gmeServer, startServer } from "../../../lib/server";
import { pairPath } from "../../helpers/parity";
import { post } from "../../helpers/serve-process";

const shared = load(pairPath("tiny-a"), { threads: 1 });
t.teardown(async () => (await shared).close());

t.test("the plugin answers below its prefix and leaves the app's own routes alone", async (t) => {
  const model = await shared;
  const app = fastify();
  app.post("/own", async (request) => ({ got: request.body }));
  await app.register(gmeServer, { prefix: "/gme", model, apiKeys: ["key-of-eight"], allowHosts: ["app.test"] });
  t.teardown(() => app.close());
  const own = await app.inject({ method: "POST", url: "/own", headers: { host: "elsewhere" }, payload: { a: 1 } });
  t.strictSame(own.json(), { got: { a: 1 } }, "no key, no check of hosts, its own reader of bodies");
  t.equal((await app.inject({ url: "/nothing" })).json().statusCode, 404, "its own errors");
  const headers = { host: "app.test", authorization: "Bearer key-of-eight" };
  const url = "/gme/v1/embeddings";
  const answer = await app.inject({ method: "POST", url, headers, payload: { input: "a cat" } });
  t.strictSame(Float32Array.from(answer.json().data[0].embedding), await model.embed("a cat", { isQuery: false }));
  t.equal((await app.inject({ url: "/gme/health", headers: { host: "app.test" } })).statusCode, 200);
  const wrong = await app.inject({ method: "POST", url, headers, payload: { input: 7 } });
  t.match(wrong.json(), { error: { code: "GME_INPUT_INVALID", param: "input" } }, "nothing is turned into a text");
  t.equal((await app.inject({ method: "POST", url, headers: { host: "app.test" }, payload: {} })).statusCode, 401);
});

t.test("the handler takes a Request and gives a Response", async (t) => {
  const model = await shared;
  const handle = await createHandler({ model });
  t.teardown(() => handle.close());
  const body = JSON.stringify({ input: ["a", "b"], encoding_format: "base64" });
  const init = { method: "POST", body, headers: { "content-type": "application/json" } };
  const answer = await handle(new Request("http://localhost/v1/embeddings", init));
  t.equal(answer.status, 200);
  t.match(answer.headers.get("content-type"), /application\/json/);
  const { data } = (await answer.json()) as { data: { embedding: string }[] };
  const bytes = Buffer.from(data[1].embedding, "base64");
  t.strictSame(new Float32Array(new Uint8Array(bytes).buffer), await model.embed("b", { isQuery: false }));
  t.equal((await handle(new Request("http://localhost/nothing"))).status, 404);
  t.equal((await handle(new Request("http://elsewhere.test/health"))).status, 403, "hosts are checked");
  t.equal((await handle(new Request("http://localhost/openapi.json"))).status, 200);
});

t.test("startServer: options that are wrong GME_OPTION_INVALID", async (t) => {
  const model = await shared;
  const rows: [string, object][] = [
    ["options.modle", { modle: 1 }],
    ["options.port", { port: 1.5 }],
    ["options.apiKeys", { apiKeys: "abc" }],
    ["options.remoteImages", { remoteImages: 7 }],
    ["options.maxItems", { maxItems: 0 }],
    ["options.logLevel", { logLevel: "loud" }],
    ["options.requestTimeout", { requestTimeout: Number.NaN }],
  ];
  for (const [field, options] of rows)
    await t.rejects(startServer({ model, ...options }), { name: "GmeError", code: "GME_OPTION_INVALID", field }, field);
  await t.rejects(startServer({} as never), { code: "GME_OPTION_INVALID", field: "options.model" });
  await t.rejects(startServer({ model, host: "0.0.0.0" }), { code: "GME_OPTION_INVALID" });
});

t.test("a server is closed twice without harm, and by `await using`'s method", async (t) => {
  const server = await startServer({ model: await shared, port: 0, logLevel: "silent" });
  t.equal((await post(`${server.url}/embed`, { inputs: "a" })).status, 200);
  await Promise.all([server.close(), server[Symbol.asyncDispose]()]);
  await t.rejects(fetch(server.url));
  t.equal((await (await shared).embed("a")).length, (await shared).dimensions, "the model is still there");
});

t.test("/openapi.json describes every route, and every schema in it is whole", async (t) => {
  const server = await startServer({ model: await shared, port: 0, logLevel: "silent" });
  t.teardown(() => server.close());
  const description = (await (await fetch(`${server.url}/openapi.json`)).json()) as { openapi: string; paths: object };
  t.match(description.openapi, /^3\./);
  const paths = ["/api/embed", "/embed", "/health", "/info", "/metrics", "/v1/embeddings", "/v1/models", "/v1/multimodalembeddings", "/v2/embed"]; // biome-ignore format: one line says it
  t.strictSame(Object.keys(description.paths).sort(), paths);
  t.match(description.paths, { "/v1/embeddings": { post: { requestBody: { content: { "application/json": {} } } } } });
});
