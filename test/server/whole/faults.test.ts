// What an engine or a handler may do, and what the server still says.
import t, { type Test } from "tap";
import type { GmeError } from "../../../lib";
import type { ServedModel } from "../../../lib/server";
import { startServer } from "../../../lib/server";
import { post } from "../../helpers/serve-process";
import { StubModel } from "../service/stub-model";

/** The stub of the service's tests, with what the routes ask of a model beside. */
function stub(change: (batchTexts: readonly string[]) => GmeError | Error | undefined = () => undefined): ServedModel {
  const model = new StubModel();
  Object.assign(model.info, {
    name: "stub",
    file: "/secret/place/stub.gguf",
    type: "f32",
    vision: true,
    dimensions: 4,
  });
  Object.assign(model.info.limits, { maxTextLength: 1 << 20, maxImageBytes: 1 << 26, maxImagePixels: 64e6 });
  model.fault = ({ texts }) => change(texts) as GmeError | undefined;
  return model;
}

async function start(t: Test, model: ServedModel) {
  const server = await startServer({ model, port: 0, logLevel: "silent" });
  t.teardown(() => server.close());
  return server;
}

t.test("S38 an error that nobody expected is 500 for its request alone, and tells nothing", async (t) => {
  const leak = new Error("cannot read /secret/place/weights at 0x7ffd1234");
  const { url } = await start(
    t,
    stub((texts) => (texts.some((text) => text.includes("boom")) ? leak : undefined)),
  );
  const refused = await post(`${url}/v1/embeddings`, { input: "boom" });
  t.ok(refused.status >= 500, `${refused.status}`);
  t.notMatch(JSON.stringify(refused.body), /secret|0x|\.ts|at /, "S33 no path, address or stack");
  t.equal((await post(`${url}/v1/embeddings`, { input: "fine" })).status, 200);
});

t.test("S42 ten thousand names of models leave nothing behind", async (t) => {
  const { url } = await start(t, stub());
  const metrics = async () => (await (await fetch(`${url}/metrics`)).text()).split("\n").length;
  await post(`${url}/v1/embeddings`, { input: "a", model: "not-here" });
  await metrics(); // the first look adds its own route
  const before = await metrics();
  for (let i = 0; i < 10_000; i += 50) {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, n) => post(`${url}/v1/embeddings`, { input: "a", model: `model-${i + n}` })),
    );
    for (const { status, body } of answers)
      if (status !== 404 || (body.error as { code: string }).code !== "GME_MODEL_NOT_FOUND") t.fail(JSON.stringify(body)); // biome-ignore format: one line says it
  }
  t.equal(await metrics(), before, "as many lines as before");
});

t.test("S33 bodies of errors carry no stack, path or address", async (t) => {
  const { url } = await start(t, stub());
  const bodies: unknown[] = [{}, { input: [] }, { input: 1 }, { input: [[1, 2]] }, { input: "a", model: "x/../../etc/passwd" }, { input: "a", dimensions: 3 }, { input: "bad" }, { input: { image: "file:///etc/passwd" } }, { input: { image: "http://10.0.0.1/x" } }, { input: "a", nonsense: 1 }, [], "x", null, 7]; // biome-ignore format: one line says it
  for (const route of ["/v1/embeddings", "/v2/embed", "/v1/multimodalembeddings", "/embed", "/api/embed", "/nothing"]) {
    for (const body of bodies) {
      const answer = await post(url + route, body);
      const text = JSON.stringify(answer.body);
      t.ok(answer.status >= 400 || answer.status === 200, `${route} ${answer.status}`);
      t.notMatch(text, /\bat [\w.]+ \(|0x[0-9a-f]{6,}|\/secret\/|node_modules|\.ts:/, `${route} ${text.slice(0, 80)}`);
    }
  }
});
