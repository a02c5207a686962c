import t from "tap";
import { dialects } from "../../../lib/server/wire/index";
import { rejectsWith } from "../../helpers/rejects";
import { goldens, rules } from "./golden-requests";
import { refused, secret } from "./refused-bodies";

for (const dialect of dialects) {
  t.test(`S12, S13: ${dialect.name} refuses what it cannot do, names the place and repeats no text`, async (t) => {
    for (const { body, field, says, code = "GME_INPUT_INVALID" } of refused[dialect.name]) {
      const title = JSON.stringify(body).slice(0, 80);
      const error = await rejectsWith(t, () => dialect.read(body, rules), code, title);
      t.equal(error.field, field, `${title}: field`);
      t.match(error.message, says, `${title}: message`);
      const { status, body: answer } = dialect.writeError(error, 400);
      t.notOk(JSON.stringify(answer).includes(secret), `${title}: the text is not repeated`);
      t.ok([400, 413, 422].includes(status), `${title}: ${status}`);
    }
  });
}

t.test("binary vectors need whole bytes", async (t) => {
  const odd = { ...rules, dimensions: 12 };
  for (const [name, body, field] of [
    ["openai", { input: "a", embedding_type: "ubinary" }, "embedding_type"],
    ["cohere", { texts: ["a"], embedding_types: ["float", "binary"] }, "embedding_types[1]"],
  ] as const) {
    const dialect = dialects.find((d) => d.name === name);
    const error = await rejectsWith(t, () => dialect?.read(body, odd), "GME_OPTION_INVALID", name);
    t.equal(error.field, field);
    t.match(error.message, /multiple of 8.*12/);
    t.ok(dialect?.read(body, rules), "16 dimensions are two bytes");
    const cut = { ...body, [name === "openai" ? "dimensions" : "output_dimension"]: 12 };
    await rejectsWith(t, () => dialect?.read(cut, { ...rules, allowTruncation: true }), "GME_OPTION_INVALID", "cut");
  }
});

t.test("S12 any field that is not known is refused with its name", async (t) => {
  for (const dialect of dialects) {
    for (const { body, title } of goldens[dialect.name]) {
      for (const name of ["n", "constructor", "toString", "hasOwnProperty", "x".repeat(100), "\u202e"]) {
        const extended = { ...(body as object), [name]: 1 };
        const error = await rejectsWith(t, () => dialect.read(extended, rules), "GME_OPTION_INVALID", title);
        t.ok(error.message.includes("unknown field") && error.message.length < 600, error.message);
        t.notMatch(error.message, /\u202e/, "no control characters");
      }
    }
  }
});
