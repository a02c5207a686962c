import t from "tap";
import type { Dialect, WireAnswer } from "../../../lib/server/wire/dialect";
import { dialects } from "../../../lib/server/wire/index";

const first = Float32Array.from({ length: 16 }, (_, i) => (i % 3 === 0 ? 0.1 : -0.25) * (i + 1));
const second = Float32Array.from({ length: 16 }, (_, i) => (i < 8 ? 1e-20 : -1e-7));
const vectors = [first, second];

const answer: WireAnswer = {
  id: "embd-1",
  created: 1_700_000_000,
  model: 'gme "2b"',
  embeddings: vectors,
  tokens: [
    { text: 5, image: 0, total: 25 },
    { text: 7, image: 391, total: 418 },
  ],
  pixels: [0, 306544],
};

const base64Of = (vector: Float32Array) => {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [i, x] of vector.entries()) bytes.writeFloatLE(x, i * 4);
  return bytes.toString("base64");
};
/** As numpy's packbits does it: the first number in the highest bit. */
const bitsOf = (vector: Float32Array) =>
  [0, 8].map((from) => Number.parseInt([...vector.slice(from, from + 8)].map((x) => (x > 0 ? 1 : 0)).join(""), 2));

const encoded: Record<string, unknown[]> = {
  float: vectors.map((v) => [...v]),
  base64: vectors.map(base64Of),
  ubinary: vectors.map(bitsOf),
  binary: vectors.map((v) => bitsOf(v).map((byte) => byte - 128)),
};

function dialect(name: string): Dialect {
  const found = dialects.find((d) => d.name === name);
  if (found === undefined) throw new Error(`no dialect ${name}`);
  return found;
}

function written(name: string, form: unknown): Record<string, unknown> {
  return JSON.parse([...dialect(name).write(answer, form)].join(""));
}

const list = (encoding: string) =>
  encoded[encoding].map((embedding, index) => ({ object: "embedding", index, embedding }));

t.test("S35 /v1/embeddings answers in every encoding, base64 byte-equal to the floats", async (t) => {
  for (const encoding of Object.keys(encoded)) {
    t.strictSame(
      written("openai", { encoding, chat: false }),
      { object: "list", model: answer.model, data: list(encoding), usage: { prompt_tokens: 443, total_tokens: 443 } },
      encoding,
    );
  }
  const data = written("openai", { encoding: "base64", chat: false }).data as { embedding: string }[];
  for (const [i, { embedding }] of data.entries()) {
    const bytes = Buffer.from(embedding, "base64");
    const floats = Float32Array.from({ length: 16 }, (_, at) => bytes.readFloatLE(at * 4));
    t.strictSame([...floats], encoded.float[i], `vector ${i}`);
    t.equal(embedding.length % 4, 0, "padded");
  }
});

t.test("messages are answered with an id and a time", async (t) => {
  t.strictSame(written("openai", { encoding: "float", chat: true }), {
    id: "embd-1",
    created: 1_700_000_000,
    object: "list",
    model: answer.model,
    data: list("float"),
    usage: { prompt_tokens: 443, total_tokens: 443 },
  });
});

t.test("Cohere answers by type", async (t) => {
  const types = ["float", "base64", "binary", "ubinary"];
  t.strictSame(written("cohere", { encodings: types, texts: ["a", 'b"\u2028'] }), {
    id: "embd-1",
    embeddings: encoded,
    texts: ["a", 'b"\u2028'],
    meta: { api_version: { version: "2" }, billed_units: { input_tokens: 12, image_tokens: 391 } },
    response_type: "embeddings_by_type",
  });
  const only = written("cohere", { encodings: ["ubinary"], texts: [] });
  t.strictSame(only.embeddings, { ubinary: encoded.ubinary }, "only what was asked for");
});

t.test("Voyage answers a list with pixels in its usage", async (t) => {
  for (const encoding of ["float", "base64"]) {
    t.strictSame(written("voyage", { encoding }), {
      object: "list",
      model: answer.model,
      data: list(encoding),
      usage: { text_tokens: 12, image_pixels: 306544, total_tokens: 443 },
    });
  }
});

t.test("TEI answers the bare vectors", async (t) => {
  t.strictSame(written("tei", undefined), encoded.float);
});

t.test("Ollama answers with whole nanoseconds", async (t) => {
  const { total_duration, ...rest } = written("ollama", { started: performance.now() - 2 });
  t.ok(Number.isSafeInteger(total_duration) && (total_duration as number) >= 2e6, String(total_duration));
  t.strictSame(rest, {
    model: answer.model,
    embeddings: encoded.float,
    load_duration: 0,
    prompt_eval_count: 443,
  });
});

t.test("an answer comes in pieces of at most one vector", async (t) => {
  const forms: Record<string, unknown> = {
    openai: { encoding: "float", chat: false },
    cohere: { encodings: ["float", "base64"], texts: ["a", "b"] },
    voyage: { encoding: "base64" },
    tei: undefined,
    ollama: { started: 0 },
  };
  const longest = Math.max(...encoded.float.map((v) => JSON.stringify(v).length));
  for (const { name, write } of dialects) {
    const pieces = [...write(answer, forms[name])];
    t.ok(pieces.length > answer.embeddings.length, `${name}: ${pieces.length} pieces`);
    for (const piece of pieces) t.ok(piece.length < longest + 160, `${name}: ${piece.length} characters`);
  }
});
