import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { GmeError } from "../../../lib/index";
import { errorOfRequest } from "../../../lib/server/error-answers";
import { openMediaRoot } from "../../../lib/server/media-root";
import { imageFixture } from "../../helpers/fixtures";
import { makeApp, startApp } from "./guard-app";
import { exchange, request } from "./raw-http";

const picture = readFileSync(imageFixture("photo-640x480.png"));
const key = "a-key-of-some-length";

/** The same series in every run. */
function randomFrom(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % n;
  };
}

// 10,000 with GME_TEST_LONG=1.
const bodies = process.env.GME_TEST_LONG === "1" ? 10_000 : 3_000;

t.test("S33 error bodies hold no stack, no pointer, no path and nothing of the environment", async (t) => {
  const base = t.testdir({ root: {} });
  const root = join(base, "root");
  mkdirSync(join(base, "outside"));
  writeFileSync(join(root, "no-picture.png"), "no picture");
  symlinkSync(join(base, "outside"), join(root, "away"));
  process.env.GME_TEST_SECRET = "value-of-the-environment";
  t.teardown(() => delete process.env.GME_TEST_SECRET);
  const app = makeApp({
    guard: { apiKeys: [key] },
    pictures: { mediaRoot: await openMediaRoot(root), remoteImages: ["pictures.example"] },
    routes: (app) => {
      app.get("/fails/:how", async (request) => {
        const { how } = request.params as { how: string };
        if (how === "type") return (undefined as unknown as { x: { y: string } }).x.y;
        if (how === "file") return readFileSync("/root/secret/file");
        if (how === "string") throw `thrown at ${process.cwd()}`;
        throw Object.assign(new Error(`at 0xdeadbeef in ${process.cwd()}`), { statusCode: 418 });
      });
    },
  });
  t.teardown(() => app.close());
  const random = randomFrom(33);
  const pick = <T>(all: readonly T[]): T => all[random(all.length)];
  const damaged = () => {
    const bytes = Buffer.from(picture.subarray(0, 1 + random(4_000)));
    for (let i = 0; i < 4; i++) bytes[random(bytes.length)] = random(256);
    return `data:image/png;base64,${bytes.toString("base64")}`;
  };
  const images = [
    damaged,
    () =>
      pick(["away/x.png", "no-picture.png", "missing.png", "../outside/x", "/etc/passwd", "file:///etc/passwd", "."]),
    () =>
      pick([
        "http://other.example/a.png?token=secret",
        "http://127.0.0.1/",
        "ftp://a/",
        "http://u:secret@pictures.example/",
      ]),
    () => "a".repeat(random(50)),
  ];
  const body = () =>
    pick([
      () => JSON.stringify({ input: [{ image: pick(images)() }] }),
      () => JSON.stringify({ input: [{ image: pick(images)() }] }).slice(0, random(60)),
      () => JSON.stringify({ input: Array.from({ length: 257 + random(9) }, () => ({ text: "a" })) }),
      () => JSON.stringify({ input: [{ [pick(["texts", "__proto__", "constructor", "\u202e"])]: "a" }] }),
      () => JSON.stringify({ input: random(9), model: 3, extra: random(9) }),
      () => Buffer.from([random(256), random(256), random(256)]).toString("latin1"),
    ])();
  let count = 0;
  const codes = new Map<string, number>();
  const forbidden =
    /0x[0-9a-f]{6,}|\n\s+at |node_modules|\.[tj]s:\d+|node:internal|value-of-the-environment|secret|SyntaxError|TypeError/i;
  const paths = [base, process.cwd(), __dirname, process.execPath];
  for (let i = 0; i < bodies; i++) {
    const kind = random(20);
    const headers: Record<string, string> = {
      host: kind === 0 ? "evil.example" : "localhost",
      "content-type": kind === 1 ? "text/plain" : "application/json",
      authorization: kind === 2 ? "Bearer wrong" : `Bearer ${key}`,
    };
    const isPost = kind > 5;
    const url = isPost
      ? "/v1/embeddings"
      : pick(["/fails/type", "/fails/file", "/fails/string", "/fails/other", "/nowhere", "/%zz", "/v1/embeddings"]);
    const answer = await app.inject({
      method: isPost ? "POST" : "GET",
      url,
      headers,
      ...(isPost && { payload: body() }),
    });
    if (answer.statusCode < 400) continue;
    count++;
    const { code, message } = answer.json().error ?? {};
    codes.set(code, (codes.get(code) ?? 0) + 1);
    if (typeof code !== "string" || typeof message !== "string") t.fail(`not an error's shape: ${answer.body}`);
    if (forbidden.test(answer.body) || paths.some((path) => answer.body.includes(path)))
      t.fail(`says too much: ${answer.body}`);
    if (/[\p{Cc}\p{Cf}]/u.test(message)) t.fail(`not printable: ${answer.body}`);
  }
  t.comment(`S33: ${count} error bodies: ${[...codes].map(([code, n]) => `${code} ${n}`).join(", ")}`);
  t.ok(count > bodies * 0.95 && codes.size >= 12);
  t.ok(codes.has("GME_INTERNAL"), "our own mistakes among them");
});

t.test("S33 what is no GmeError is told apart by its kind", async (t) => {
  const own = new GmeError("GME_QUEUE_FULL", "x");
  t.equal(errorOfRequest(own), own);
  for (const [error, code] of [
    [{ code: "FST_ERR_CTP_BODY_TOO_LARGE", statusCode: 413 }, "GME_BODY_TOO_LARGE"],
    [{ code: "FST_ERR_CTP_INVALID_MEDIA_TYPE", statusCode: 415 }, "GME_BODY_FORMAT"],
    [{ code: "FST_ERR_BAD_URL", statusCode: 400 }, "GME_REQUEST_UNREADABLE"],
    [{ statusCode: 500 }, "GME_INTERNAL"],
    [new TypeError("x"), "GME_INTERNAL"],
    [null, "GME_INTERNAL"],
    ["text", "GME_INTERNAL"],
    [{ validation: [] }, "GME_INPUT_INVALID"],
    [
      { validation: [{ instancePath: "/a~1b/0", keyword: "type", params: {}, message: "must be string" }] },
      "GME_INPUT_INVALID",
    ],
  ] as const)
    t.equal(errorOfRequest(error).code, code, JSON.stringify(error));
  const nested = {
    validation: [{ instancePath: "/input/0/c", keyword: "required", params: { missingProperty: "d" }, message: "x" }],
  };
  t.equal(errorOfRequest(nested).field, "input[0].c.d");
});

t.test("S34 logs hold no body, no key, no query and no line longer than it needs to be", async (t) => {
  const lines: string[] = [];
  const { port, url, post } = await startApp(t, {
    guard: { apiKeys: [key] },
    log: (line) => lines.push(line),
    routes: (app) =>
      app.get("/fails", async () => {
        throw new Error("a mistake of ours");
      }),
  });
  const headers = { authorization: `Bearer ${key}`, "x-secret": "secret-header", cookie: "secret-cookie" };
  await post({ input: [{ text: "secret-text", instruction: "secret-instruction" }] }, headers);
  await post({ input: [{ text: "a", "secret-field": 1 }] }, headers);
  await post({ input: [{ image: "http://u:secret-user@a.example/?secret-query" }] }, headers);
  await post({ input: [{ image: "secret-path.png" }] }, headers);
  await post('{"input":"secret-broken', headers);
  await post({ input: [] }, { authorization: "Bearer secret-wrong-key" });
  await fetch(`${url}/health?token=secret-query#secret-hash`, { headers });
  await fetch(`${url}/v1/models?api_key=secret-query`, { headers });
  await fetch(`${url}/fails`, { headers });
  await exchange(port, request(["GET /v1/models HTTP/1.1", "Host: secret-host.example"]));
  await exchange(port, "secret nonsense\r\n\r\n");
  await exchange(
    port,
    request([`GET /${"l".repeat(15_000)} HTTP/1.1`, `Host: 127.0.0.1:${port}`, `Authorization: Bearer ${key}`]),
  );
  await exchange(port, request([`GET /a%0a{"level":50} HTTP/1.1`, `Host: 127.0.0.1:${port}`]));
  t.ok(lines.length > 20, `${lines.length} lines`);
  for (const line of lines) {
    if (/secret-/.test(line) || line.includes(key)) t.fail(line);
    t.doesNotThrow(() => JSON.parse(line), "one line, one entry");
    if (!/"err"/.test(line)) t.ok(line.length < 500, `${line.length} characters`);
  }
  const ours = lines.filter((line) => line.includes("a mistake of ours"));
  t.ok(ours.length >= 1 && /"reqId":"req-/.test(ours[0]), "our own mistake is there, with the request's id");
});
