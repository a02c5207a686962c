import t from "tap";
import { GmeError } from "../../../lib/index";
import { statusFor } from "../../../lib/server/error-status";
import type { Dialect, WireItem } from "../../../lib/server/wire/dialect";
import { dialects } from "../../../lib/server/wire/index";
import { rules } from "./golden-requests";
import { marker, randomBodies } from "./random-bodies";

const seed = Number(process.env.GME_TEST_SEED ?? 20_261_209);
const bodies = 10_000;

/** What is wrong with the way a body was taken; undefined: nothing. */
function fault(dialect: Dialect, body: unknown): { readonly read: boolean; readonly fault?: string } {
  try {
    const { request } = dialect.read(body, rules);
    const bad = request.items.find((item) => !isItem(item));
    if (bad !== undefined) return { read: true, fault: `not an item: ${JSON.stringify(bad)}` };
    if (request.items.length < 1 || request.items.length > rules.maxItems)
      return { read: true, fault: `${request.items.length} items` };
    return { read: true };
  } catch (error) {
    if (!(error instanceof GmeError)) return { read: false, fault: `not a GmeError: ${error}` };
    if (statusFor(error) !== 400) return { read: false, fault: error.code };
    const text = JSON.stringify(dialect.writeError(error, 400).body);
    if (text.includes(marker)) return { read: false, fault: `repeats a text: ${text}` };
    return text.length < 2_000 ? { read: false } : { read: false, fault: `an error of ${text.length} characters` };
  }
}

function isItem({ field, text, image, instruction, inputType }: WireItem): boolean {
  const isText = (value: unknown) => value === undefined || typeof value === "string";
  const tagged = isText(instruction) && [undefined, "query", "document"].includes(inputType);
  const picture = image === undefined || typeof (image.kind === "base64" ? image.base64 : image.address) === "string";
  return typeof field === "string" && isText(text) && picture && tagged && (text ?? image) !== undefined;
}

for (const dialect of dialects) {
  t.test(`S11 ${dialect.name} takes or refuses ${bodies} random bodies, and does nothing else`, async (t) => {
    const next = randomBodies(dialect.name, seed);
    const faults: string[] = [];
    let read = 0;
    for (let i = 0; i < bodies; i++) {
      const body = next();
      const found = fault(dialect, body);
      if (found.read) read++;
      if (found.fault !== undefined) faults.push(`${i}: ${found.fault}: ${JSON.stringify(body).slice(0, 300)}`);
    }
    t.strictSame(faults.slice(0, 5), [], `seed ${seed}`);
    t.ok(read > bodies / 50 && read < bodies / 2, `${read} of them are read`);
    t.strictSame(Object.keys(Object.prototype), [], "no prototype was touched");
  });
}

/** Milliseconds of the best of three runs: other processes of the machine are not what is measured. */
function fastest(run: () => unknown): number {
  const times = [1, 2, 3].map(() => {
    const started = performance.now();
    run();
    return performance.now() - started;
  });
  return Math.min(...times);
}

const nested = (depth: number) => JSON.parse("[".repeat(depth) + "]".repeat(depth));
const nestedObjects = (depth: number) => JSON.parse(`${'{"content":'.repeat(depth)}[]${"}".repeat(depth)}`);

/** The list of a dialect's items: where it stands, and one entry of it. */
const lists: Record<string, readonly [string, unknown][]> = {
  openai: [
    ["input", "a"],
    ["input", 5],
    ["input", [1, 2]],
    ["input", { text: "a" }],
    ["input", { role: "user", content: "a" }],
    ["messages", { role: "user", content: "a" }],
    ["messages", [{ role: "user", content: "a" }]],
  ],
  cohere: [
    ["texts", "a"],
    ["images", "data:image/png;base64,AAAA"],
    ["inputs", { content: ["a"] }],
    ["embedding_types", "float"],
  ],
  voyage: [["inputs", { content: ["a"] }]],
  tei: [["inputs", "a"]],
  ollama: [
    ["input", "a"],
    ["images", "AAAA"],
  ],
};

t.test("S12 a list of a million entries is refused in under 50 ms", async (t) => {
  for (const dialect of dialects) {
    for (const [name, entry] of lists[dialect.name]) {
      const long = Array.from({ length: 1e6 }, () => entry);
      for (const body of [{ [name]: long }, { [name]: [long] }, { [name]: [{ content: long }] }]) {
        const found = fault(dialect, body);
        const took = fastest(() => fault(dialect, body));
        t.ok(!found.read && found.fault === undefined, `${dialect.name} ${name}: ${found.fault ?? "refused"}`);
        t.ok(took < 50, `${dialect.name} ${name}: ${took.toFixed(1)} ms`);
      }
    }
  }
});

t.test("S11 deep nesting is refused without recursion", async (t) => {
  for (const dialect of dialects) {
    for (const [name] of lists[dialect.name]) {
      for (const deep of [nested(5_000), nestedObjects(5_000)]) {
        for (const body of [deep, { [name]: deep }, { [name]: [deep] }, { model: deep, [name]: "a" }]) {
          const found = fault(dialect, body);
          t.ok(!found.read && found.fault === undefined, `${dialect.name} ${name}: ${found.fault ?? "refused"}`);
        }
      }
    }
  }
});

t.test("S11 __proto__ as a key of a body is an unknown field", async (t) => {
  const texts: Record<string, readonly string[]> = {
    openai: [
      '{"input":"a","__proto__":{"polluted":1}}',
      '{"__proto__":{"input":"a"}}',
      '{"input":[{"__proto__":{"text":"a"}}]}',
      '{"input":[{"text":"a","__proto__":1}]}',
      '{"input":[{"content":[{"type":"text","text":"a","__proto__":{"polluted":1}}]}]}',
      '{"messages":[{"role":"user","content":"a","__proto__":{"polluted":1}}]}',
      '{"input":"a","mm_processor_kwargs":{"__proto__":{"polluted":1}}}',
      '{"input":"a","constructor":{"prototype":{"polluted":1}}}',
    ],
    cohere: ['{"texts":["a"],"__proto__":{"polluted":1}}', '{"__proto__":{"texts":["a"]}}'],
    voyage: [
      '{"inputs":[{"content":["a"],"__proto__":{"polluted":1}}]}',
      '{"inputs":[{"__proto__":{"content":["a"]}}]}',
    ],
    tei: ['{"inputs":"a","__proto__":{"polluted":1}}'],
    ollama: ['{"input":"a","__proto__":{"polluted":1}}'],
  };
  for (const dialect of dialects) {
    for (const text of texts[dialect.name]) {
      try {
        dialect.read(JSON.parse(text), rules);
        t.fail(`${text} was read`);
      } catch (error) {
        t.match((error as GmeError).message, /unknown field .*(__proto__|constructor)/, text);
      }
    }
  }
  t.equal(({} as Record<string, unknown>).polluted, undefined);
});

t.test("S17 a picture's data is not looked at, however long it is", async (t) => {
  const long = Buffer.alloc(32 * 1024 * 1024, "A").toString("latin1");
  const [openai] = dialects;
  for (const image of [`data:image/png;base64,${long}`, long, `https://example.org/${long}`]) {
    const body = JSON.parse(JSON.stringify({ input: [{ image }] }));
    const { items } = openai.read(body, rules).request;
    const took = fastest(() => openai.read(body, rules));
    t.ok(items[0].image !== undefined && took < 20, `${took.toFixed(1)} ms`);
  }
});

t.test("S17 addresses of any scheme are handed on as addresses, never as files", async (t) => {
  const [openai] = dialects;
  const addresses = [
    "http://a/",
    "HTTPS://a/",
    "file:///etc/passwd",
    "ftp://a/",
    "gopher://a/",
    "blob:x",
    "javascript:1",
  ];
  for (const address of addresses) {
    for (const value of [{ type: "image_url", image_url: address }, { image: address }, { url: address }]) {
      const { items } = openai.read({ input: [value] }, rules).request;
      t.strictSame(items[0].image, { kind: "address", address }, address);
    }
  }
});
