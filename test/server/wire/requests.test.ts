import t from "tap";
import { dialects } from "../../../lib/server/wire/index";
import { goldens, rules } from "./golden-requests";

t.test("there is one dialect for each path of the document", async (t) => {
  t.strictSame(
    dialects.map(({ name, path }) => [name, path]),
    [
      ["openai", "/v1/embeddings"],
      ["cohere", "/v2/embed"],
      ["voyage", "/v1/multimodalembeddings"],
      ["tei", "/embed"],
      ["ollama", "/api/embed"],
    ],
  );
  t.strictSame(
    Object.keys(goldens),
    dialects.map(({ name }) => name),
    "each has its table here",
  );
});

for (const dialect of dialects) {
  t.test(`${dialect.name} reads the bodies its clients send`, async (t) => {
    for (const { title, body, items, request, form } of goldens[dialect.name]) {
      const before = JSON.stringify(body);
      const read = dialect.read(JSON.parse(before), rules);
      t.strictSame(read.request, { overflow: "error", ...request, items }, title);
      if (form !== undefined) t.strictSame(read.form, form, `${title}: form`);
      const again = JSON.parse(before);
      dialect.read(again, rules);
      t.equal(JSON.stringify(again), before, `${title}: the body is left as it was`);
    }
  });
}

t.test("other dimensions are taken where the server allows them", async (t) => {
  const bodies: Record<string, unknown> = {
    openai: { input: "a", dimensions: 8 },
    cohere: { texts: ["a"], output_dimension: 8 },
    voyage: { inputs: [{ content: "a" }], output_dimension: 8 },
    tei: { inputs: "a", dimensions: 8 },
    ollama: { input: "a", dimensions: 8 },
  };
  for (const dialect of dialects) {
    const { request } = dialect.read(bodies[dialect.name], { ...rules, allowTruncation: true });
    t.equal(request.dimensions, 8, dialect.name);
    t.throws(() => dialect.read(bodies[dialect.name], rules), { code: "GME_OPTION_INVALID" }, dialect.name);
  }
});

t.test("a list of exactly the most items and pictures is read", async (t) => {
  const picture = "data:image/png;base64,iVBORw0KGgo=";
  const input = [...Array(240).fill("a"), ...Array(16).fill({ image: picture })];
  const [openai] = dialects;
  t.equal(openai.read({ input }, rules).request.items.length, 256);
});
