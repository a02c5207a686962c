// The `openai` package of PyPI, in a Python that has it (.ci/run makes one).
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { temporaryFolder } from "../../helpers/fixtures";
import { sameVectors } from "../../helpers/demonstration";
import { apiKey, bicycle, clientServer, outputOf, pythonWith, texts } from "./client-server";

const program = `
import json, sys
import openai

given = json.load(open(sys.argv[1]))
client = openai.OpenAI(base_url=given["url"] + "/v1", api_key=given["key"], max_retries=0)

def embed(input, **more):
    return [item.embedding for item in client.embeddings.create(model="gme", input=input, **more).data]

def refusal(input, client=client, **more):
    try:
        client.embeddings.create(model="gme", input=input, **more)
    except openai.APIStatusError as error:
        body = error.body if isinstance(error.body, dict) else {}
        return {"type": type(error).__name__, "status": error.status_code, "code": body.get("code"), "param": body.get("param")}

picture = {"type": "image_url", "image_url": {"url": given["picture"]}}
usage = client.embeddings.create(model="gme", input=given["texts"]).usage
print(json.dumps({
    "texts": embed(given["texts"]),
    "floats": embed(given["texts"], encoding_format="float"),
    "pictures": embed([picture, [picture, {"type": "text", "text": "my bicycle"}]]),
    "query": embed("a banana", extra_body={"input_type": "query", "instruction": "Find it."}),
    "tokens": usage.total_tokens,
    "models": len(client.models.list().data),
    "ids": refusal([[1, 2, 3]]),
    "stranger": refusal("a", client.with_options(api_key="sk-wrong")),
    "dimensions": refusal("a", dimensions=8),
}))
`;

t.test("openai of PyPI", async (t) => {
  const { skip, version } = await pythonWith("openai");
  t.test(`openai ${version}: texts, pictures, both, refusals`, { skip }, async (t) => {
    const { url, model } = await clientServer(t);
    const folder = temporaryFolder();
    writeFileSync(join(folder, "use.py"), program);
    const given = { url, key: apiKey, picture: bicycle.dataUrl, texts };
    writeFileSync(join(folder, "given.json"), JSON.stringify(given));
    const said = JSON.parse(await outputOf("python3", ["use.py", "given.json"], { cwd: folder }));
    const expected = await model.embedBatch(texts);
    sameVectors(t, said.texts, expected, "base64, which it asks for by itself");
    sameVectors(t, said.floats, expected, "numbers");
    const pictures = [{ image: bicycle.path }, { text: "my bicycle", image: bicycle.path }];
    sameVectors(t, said.pictures, await model.embedBatch(pictures), "pictures");
    sameVectors(t, said.query, [await model.embed("a banana", { instruction: "Find it." })], "a query");
    const counts = await Promise.all(texts.map((text) => model.countTokens(text)));
    t.equal(
      said.tokens,
      counts.reduce((sum, { total }) => sum + total, 0),
    );
    t.ok(said.models >= 1);
    t.match(said.ids, { type: "BadRequestError", status: 400, param: "input" });
    t.match(said.stranger, { type: "AuthenticationError", status: 401, code: "GME_KEY_REFUSED" });
    t.match(said.dimensions, { type: "BadRequestError", status: 400, param: "dimensions" });
  });
});
