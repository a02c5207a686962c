import t from "tap";
import { errorCodes, GmeError, type GmeErrorCode } from "../../../lib/index";
import { statusFor } from "../../../lib/server/error-status";
import { dialects, openAiError } from "../../../lib/server/wire/index";

const cases: readonly (readonly [GmeErrorCode, number, string, string])[] = [
  // code, status, OpenAI's type, TEI's word
  ["GME_INPUT_INVALID", 400, "invalid_request_error", "Validation"],
  ["GME_KEY_REFUSED", 401, "authentication_error", "Validation"],
  ["GME_HOST_REFUSED", 403, "permission_error", "Validation"],
  ["GME_MODEL_NOT_FOUND", 404, "not_found_error", "Validation"],
  ["GME_METHOD_REFUSED", 405, "invalid_request_error", "Validation"],
  ["GME_BODY_TOO_LARGE", 413, "invalid_request_error", "Validation"],
  ["GME_BODY_FORMAT", 415, "invalid_request_error", "Validation"],
  ["GME_ITEM_REFUSED", 422, "invalid_request_error", "Validation"],
  ["GME_QUEUE_FULL", 429, "rate_limit_error", "Overloaded"],
  ["GME_INTERNAL", 500, "server_error", "Backend"],
  ["GME_ENGINE_RESTARTED", 503, "server_error", "Unhealthy"],
];

const teiStatus: Record<number, number> = { 400: 422, 500: 424 };

for (const [code, status, type, word] of cases) {
  t.test(`${code} has the body of its dialect`, async (t) => {
    const error = new GmeError(code, "input[3] is bad", { field: "input[3]" });
    t.equal(statusFor(error), status);
    const message = status === 500 ? errorCodes[code] : "input[3] is bad";
    const wanted: Record<string, object> = {
      openai: { error: { message, type, param: "input[3]", code } },
      voyage: { error: { message, type, param: "input[3]", code } },
      cohere: { message, code, param: "input[3]" },
      tei: { error: message, error_type: word, code, param: "input[3]" },
      ollama: { error: message, code, param: "input[3]" },
    };
    t.strictSame(openAiError(error, status), { status, body: wanted.openai }, "without a dialect");
    for (const { name, writeError } of dialects) {
      const own = name === "tei" ? (teiStatus[status] ?? status) : status;
      t.strictSame(writeError(error, status), { status: own, body: wanted[name] }, name);
    }
  });
}

t.test("TEI answers 413 to a list that is too long and 422 to everything else that is wrong", async (t) => {
  const tei = dialects.find(({ name }) => name === "tei");
  const rules = {
    maxItems: 2,
    maxImages: 1,
    dimensions: 8,
    minImageTokens: 4,
    maxImageTokens: 8,
    allowTruncation: false,
  };
  for (const [body, status] of [
    [{ inputs: ["a", "b", "c"] }, 413],
    [{ inputs: [] }, 422],
    [{ inputs: 5 }, 422],
    [{ inputs: "a", dimensions: 4 }, 422],
  ] as const) {
    try {
      tei?.read(body, rules);
      t.fail("was read");
    } catch (error) {
      t.equal(tei?.writeError(error as GmeError, 400).status, status, JSON.stringify(body));
    }
  }
});

t.test("S33 a mistake of ours shows no message, path or stack", async (t) => {
  const error = new GmeError("GME_INTERNAL", "/home/someone/model.gguf: at 0x7ffe1234 in foo()", { file: "/home/x" });
  for (const { name, writeError } of dialects) {
    const text = JSON.stringify(writeError(error, 500).body);
    t.notMatch(text, /home|0x|foo/, name);
    t.match(text, /GME_INTERNAL/, name);
  }
});

t.test("an error without a field has none in its body", async (t) => {
  const error = new GmeError("GME_QUEUE_FULL", "full");
  const bodies = Object.fromEntries(dialects.map(({ name, writeError }) => [name, writeError(error, 429).body]));
  t.strictSame(bodies.openai, {
    error: { message: "full", type: "rate_limit_error", param: null, code: "GME_QUEUE_FULL" },
  });
  t.strictSame(bodies.cohere, { message: "full", code: "GME_QUEUE_FULL" });
  t.strictSame(bodies.ollama, { error: "full", code: "GME_QUEUE_FULL" });
});
