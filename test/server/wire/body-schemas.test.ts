import fastify from "fastify";
import t from "tap";
import { dialects } from "../../../lib/server/wire/index";
import { goldens, rules } from "./golden-requests";
import { randomBodies } from "./random-bodies";
import { refused } from "./refused-bodies";

/** fastify's own validator, without the changes that it makes to bodies by default; `true` where a body is valid. */
async function validators(): Promise<Record<string, (body: unknown) => boolean>> {
  const app = fastify({ ajv: { customOptions: { removeAdditional: false, coerceTypes: false, strict: true } } });
  const found: Record<string, (body: unknown) => boolean> = {};
  for (const { name, path, bodySchema } of dialects) {
    app.post(path, { schema: { body: bodySchema } }, (request) => {
      found[name] = (body) => request.validateInput(body, "body") === true;
      return {};
    });
  }
  for (const { name, path } of dialects) {
    const payload = goldens[name][0].body as object;
    const { statusCode } = await app.inject({ method: "POST", url: path, payload });
    if (statusCode !== 200) throw new Error(`${name}: ${statusCode}`);
  }
  return found;
}

t.test("what a dialect reads is valid by its schema, so that /openapi.json promises no less", async (t) => {
  const valid = await validators();
  for (const dialect of dialects) {
    for (const { title, body } of goldens[dialect.name]) t.ok(valid[dialect.name](body), `${dialect.name}: ${title}`);
    const next = randomBodies(dialect.name, 7);
    let read = 0;
    const invalid: string[] = [];
    for (let i = 0; i < 3_000; i++) {
      const body = next();
      try {
        dialect.read(body, rules);
      } catch {
        continue;
      }
      read++;
      if (!valid[dialect.name](body)) invalid.push(JSON.stringify(body).slice(0, 300));
    }
    t.strictSame(invalid.slice(0, 3), [], `${dialect.name}: ${read} random bodies`);
    t.ok(read > 50, `${dialect.name}: ${read} were read`);
  }
});

t.test("the schema refuses unknown fields and wrong types of its own accord", async (t) => {
  const valid = await validators();
  for (const dialect of dialects) {
    const judged = refused[dialect.name].filter(({ says }) =>
      /unknown field|expected an? (string|integer)/.test(says.source),
    );
    t.ok(judged.length > 3, `${dialect.name}: ${judged.length} bodies`);
    for (const { body } of judged) t.notOk(valid[dialect.name](body), JSON.stringify(body).slice(0, 100));
  }
});

t.test("the schema of an answer describes what is written", async (t) => {
  const answer = {
    id: "embd-1",
    created: 1,
    model: "m",
    embeddings: [new Float32Array(16).fill(0.25)],
    tokens: [{ text: 1, image: 0, total: 9 }],
    pixels: [0],
  };
  const app = fastify({ ajv: { customOptions: { removeAdditional: false, coerceTypes: false, strict: true } } });
  for (const { name, answerSchema } of dialects) app.post(`/${name}`, { schema: { body: answerSchema } }, () => ({}));
  for (const dialect of dialects) {
    for (const { body, title } of goldens[dialect.name]) {
      const text = [...dialect.write(answer, dialect.read(body, rules).form)].join("");
      const headers = { "content-type": "application/json" };
      const { statusCode } = await app.inject({ method: "POST", url: `/${dialect.name}`, payload: text, headers });
      t.equal(statusCode, 200, `${dialect.name}: ${title}`);
    }
  }
});
