import { request as httpRequest } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { checkBinding, isLoopback, listenFailed } from "../../../lib/server/server-address";
import { rejectsWith } from "../../helpers/rejects";
import { makeApp, startApp } from "./guard-app";
import { exchange, request, statuses } from "./raw-http";

const key = "a-key-of-some-length";
const others = "https://app.example.org";

/** Status and code of a request with these header lines. */
async function ask(port: number, lines: readonly string[], target = "GET /v1/models HTTP/1.1") {
  const text = await exchange(port, request([target, "Connection: close", ...lines]));
  return { status: statuses(text)[0], code: /"code":"(\w+)"/.exec(text)?.[1], text };
}

t.test("S16 names that the server is not bound to, and origins of others, are refused", async (t) => {
  const { port } = await startApp(t, { guard: { allowHosts: ["gme.example.org", "other.example.org:8443"] } });
  for (const host of [
    `127.0.0.1:${port}`,
    `localhost:${port}`,
    `LOCALHOST:${port}`,
    `[::1]:${port}`,
    "gme.example.org",
    "gme.example.org:443",
    "other.example.org:8443",
  ])
    t.equal((await ask(port, [`Host: ${host}`])).status, 200, host);
  for (const host of [
    "evil.example",
    `evil.example:${port}`,
    "127.0.0.1",
    "localhost",
    `127.0.0.1:${port + 1}`,
    `127.0.0.2.example:${port}`,
    `localhost.:${port}`,
    `localhost.evil.example:${port}`,
    `evil.localhost:${port}`,
    `169.254.169.254:${port}`,
    `10.0.0.1:${port}`,
    `0.0.0.0:${port}`,
    `user@127.0.0.1:${port}`,
    `127.0.0.1:${port}:80`,
    `127.0.0.1:${port}/`,
    "other.example.org",
    "a.gme.example.org",
    "null",
  ])
    t.match(await ask(port, [`Host: ${host}`]), { status: 403, code: "GME_HOST_REFUSED" }, host);
  const own = `Host: 127.0.0.1:${port}`;
  for (const lines of [[], ["Host:"], [own, own], [own, "Host: evil.example"]])
    t.match(await ask(port, lines), { status: 400, code: "GME_REQUEST_UNREADABLE" }, `${lines}`);
  for (const origin of [`http://127.0.0.1:${port}`, `https://127.0.0.1:${port}`])
    t.equal((await ask(port, [own, `Origin: ${origin}`])).status, 200, origin);
  for (const origin of ["null", "http://evil.example", `http://localhost:${port}`, "http://127.0.0.1", others, ""])
    t.match(await ask(port, [own, `Origin: ${origin}`]), { status: 403, code: "GME_HOST_REFUSED" }, `origin ${origin}`);
});

t.test("S16 an origin that the server was told of gets CORS headers, a preflight without a key", async (t) => {
  const { port } = await startApp(t, { guard: { allowOrigins: [`${others}/`], apiKeys: [key] } });
  const own = `Host: 127.0.0.1:${port}`;
  const preflight = await ask(
    port,
    [own, `Origin: ${others}`, "Access-Control-Request-Method: POST", "Access-Control-Request-Private-Network: true"],
    "OPTIONS /v1/embeddings HTTP/1.1",
  );
  t.equal(preflight.status, 204);
  t.match(preflight.text, /access-control-allow-origin: https:\/\/app\.example\.org\r\n/i);
  t.match(preflight.text, /access-control-allow-headers: authorization, content-type/i);
  t.match(preflight.text, /access-control-allow-private-network: true/i);
  const keyed = await ask(port, [own, `Origin: ${others}`, `Authorization: Bearer ${key}`]);
  t.equal(keyed.status, 200);
  t.match(keyed.text, /vary: origin/i);
  const refused = await ask(port, [own, `Origin: ${others}`]);
  t.equal(refused.status, 401);
  t.match(refused.text, /access-control-allow-origin/i, "the page may read why");
  const evil = await ask(
    port,
    [own, "Origin: http://evil.example", "Access-Control-Request-Method: POST"],
    "OPTIONS / HTTP/1.1",
  );
  t.equal(evil.status, 403);
  t.notMatch(evil.text, /access-control/i);
  t.throws(() => makeApp({ guard: { allowOrigins: ["*"] } }), { code: "GME_OPTION_INVALID" });
});

t.test("S14 every route but those that are open wants the key, and no other spelling of it", async (t) => {
  const routes: { method: string; url: string }[] = [];
  const { port } = await startApp(t, {
    guard: { apiKeys: ["another-key-0", key], openRoutes: ["/health", "/assets/*"] },
    routes: (app) => {
      app.addHook("onRoute", ({ method, url }) => {
        for (const one of [method].flat()) routes.push({ method: one, url });
      });
      app.get("/assets/*", async () => ({}));
      app.post("/assets/upload", async () => ({}));
      app.post("/health", async () => ({}));
    },
  });
  const own = `Host: 127.0.0.1:${port}`;
  routes.push(
    { method: "GET", url: "/v1/models" },
    { method: "POST", url: "/v1/embeddings" },
    { method: "GET", url: "/thumbnails/x" },
  );
  for (const { method, url } of routes) {
    const { status } = await ask(port, [own], `${method} ${url} HTTP/1.1`);
    const isOpen = ["GET", "HEAD"].includes(method) && url === "/assets/*";
    t.equal(status, isOpen ? 200 : 401, `${method} ${url}`);
  }
  for (const path of ["/health", "/health?x=1", "/assets/a/b.js"])
    t.equal((await ask(port, [own], `GET ${path} HTTP/1.1`)).status, 200, path);
  for (const path of [
    "//health",
    "/health/",
    "/Health",
    "/health/../v1/models",
    "/%68ealth/x",
    "/assets",
    "/nowhere",
    `/v1/models?api_key=${key}`,
    `/v1/models?key=${key}&token=${key}`,
    `/v1/models#/health`,
    "/health;x",
  ])
    t.match(await ask(port, [own], `GET ${path} HTTP/1.1`), { status: /400|401/ }, path);
  const wrong = [
    [],
    ["Authorization:"],
    [`Authorization: ${key}`],
    [`Authorization: Basic ${key}`],
    ["Authorization: Bearer"],
    [`Authorization: Bearer ${key.slice(0, -1)}`],
    [`Authorization: Bearer ${key}x`],
    [`Authorization: Bearer ${key.toUpperCase()}`],
    [`Authorization: Bearer  ${key}`],
    [`Authorization: Bearer ${key} x`],
    [`Authorization: Bearer ${key},x`],
    [`Authorization: Bearer "${key}"`],
    [`Authorization: Bearer ${Buffer.from(key).toString("base64")}`],
    [`Authorization: Bearer ${key}`, `Authorization: Bearer ${key}`],
    ["Authorization: Bearer wrong", `Authorization: Bearer ${key}`],
    [`X-Api-Key: ${key}`],
    [`Api-Key: ${key}`],
    [`Cookie: key=${key}`],
    [`Authorization: Bearer ${"x".repeat(15_000)}`],
  ];
  for (const lines of wrong) {
    const found = await ask(port, [own, ...lines]);
    t.match(found, { status: 401, code: "GME_KEY_REFUSED" }, `${lines}`.slice(0, 60));
    t.match(found.text, /www-authenticate: Bearer/i);
    t.notOk(found.text.includes(key), "the key is not repeated");
  }
  t.equal((await ask(port, [own, `Authorization: Bearer ${"x".repeat(1e6)}`])).status, 431, "a header of 1 MB");
  for (const scheme of ["Bearer", "bearer", "BEARER"])
    t.equal((await ask(port, [own, `Authorization: ${scheme} ${key}  `])).status, 200, scheme);
});

t.test("S14 what others can reach is not opened without a key", async (t) => {
  for (const host of ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"]) {
    t.ok(isLoopback(host), host);
    checkBinding(host, []);
  }
  for (const host of [
    "0.0.0.0",
    "::",
    "192.168.0.2",
    "gme.example.org",
    "localhost.example",
    "127.0.0.1.example",
    "",
  ]) {
    await rejectsWith(t, () => checkBinding(host, []), "GME_OPTION_INVALID", host);
    checkBinding(host, [key]);
  }
  for (const bad of ["", "short", "with a space", "zeile\nzwei", "schlüssel-ü", "x".repeat(513)])
    t.notMatch((await rejectsWith(t, () => checkBinding("::1", [bad]), "GME_OPTION_INVALID")).message, /zeile|ü/);
});

t.test("S36 why the server cannot listen is said in words; a socket of the file system works", async (t) => {
  const { port } = await startApp(t);
  const failed = async (options: object) => {
    const app = makeApp();
    t.teardown(() => app.close());
    const error = await app.listen(options).then(
      () => undefined,
      (error) => error,
    );
    return listenFailed(error, JSON.stringify(options));
  };
  t.match(await failed({ port, host: "127.0.0.1" }), {
    code: "GME_IO_ERROR",
    errno: "EADDRINUSE",
    message: /another port/,
  });
  t.match(await failed({ port: 0, host: "192.0.2.1" }), { errno: "EADDRNOTAVAIL", message: /no such address/ });
  t.match(listenFailed(Object.assign(new Error("x"), { code: "EACCES" }), "127.0.0.1:80"), {
    message: /ports below 1024/,
  });
  t.match(await failed({ path: "/nowhere/at/all.sock" }), { code: "GME_IO_ERROR" });
  if (process.platform === "win32") return;
  const app = makeApp();
  const folder = mkdtempSync(join(tmpdir(), "gme-")); // the path of a socket may have 107 characters
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const socketPath = join(folder, "s");
  await app.listen({ path: socketPath });
  t.teardown(() => app.close());
  const answer = (host: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      httpRequest({ socketPath, path: "/health", headers: { host } }, (response) =>
        resolve(response.resume().statusCode),
      )
        .on("error", reject)
        .end();
    });
  t.strictSame([await answer("localhost"), await answer("evil.example")], [200, 403]);
});

t.test("S10 wrong methods, paths and content types are answered in JSON", async (t) => {
  const { port, url } = await startApp(t);
  const own = `Host: 127.0.0.1:${port}`;
  const of = async (method: string, path: string, lines: string[] = []) =>
    ask(port, [own, ...lines], `${method} ${path} HTTP/1.1`);
  for (const path of [
    "/",
    "/v1",
    "/v1/embedding",
    "/v1/embeddings/",
    "/V1/EMBEDDINGS",
    "/admin",
    "/.env",
    "/thumbnails",
  ])
    t.match(await of("GET", path), { status: 404, code: "GME_ROUTE_NOT_FOUND" }, path);
  for (const [method, path, allow] of [
    ["GET", "/v1/embeddings", "POST"],
    ["PUT", "/v1/embeddings", "POST"],
    ["DELETE", "/v1/embeddings", "POST"],
    ["TRACE", "/v1/embeddings", "POST"],
    ["OPTIONS", "/v1/embeddings", "POST"],
    ["PROPFIND", "/v1/models", "GET, HEAD"],
    ["POST", "/thumbnails/x", "GET, HEAD"],
  ]) {
    const found = await of(method, path);
    t.match(found, { status: 405, code: "GME_METHOD_REFUSED" }, `${method} ${path}`);
    t.match(found.text, new RegExp(`allow: ${allow}\r\n`, "i"));
    t.match(found.text, /content-type: application\/json/i);
  }
  const head = await of("HEAD", "/v1/models");
  t.match(head, { status: 200 });
  t.ok(head.text.endsWith("\r\n\r\n"), "HEAD has no body");
  t.equal((await of("OPTIONS", "*")).status, 404);
  for (const path of ["/%", "/%zz", `/thumbnails/${"x".repeat(300)}`])
    t.match(await of("GET", path), { status: /400|404/, code: /GME_/ }, path.slice(0, 20));
  for (const type of [
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/jsonx",
    "application/json; charset=latin1",
    "text/json",
    "application/json, text/plain",
    ";",
    "application/problem+json",
    undefined,
  ]) {
    const headers = type === undefined ? [] : [`Content-Type: ${type}`];
    const text = await exchange(
      port,
      request([`POST /v1/embeddings HTTP/1.1`, own, "Content-Length: 2", ...headers], "{}"),
    );
    t.match([statuses(text)[0], text], [415, /GME_BODY_FORMAT/], `${type}`);
  }
  for (const type of ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']) {
    const response = await fetch(`${url}/v1/embeddings`, {
      method: "POST",
      headers: { "content-type": type },
      body: '{"input":[{"text":"a"}]}',
    });
    t.equal(response.status, 200, type);
    t.match(Object.fromEntries(response.headers), {
      "x-content-type-options": "nosniff",
      "cross-origin-resource-policy": "same-origin",
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "x-request-id": /^req-[0-9a-f-]{36}$/,
    });
    t.notOk(response.headers.has("access-control-allow-origin"));
  }
  const named = await fetch(`${url}/health`, { headers: { "x-request-id": "mine", "request-id": "mine" } });
  t.match(named.headers.get("x-request-id"), /^req-/, "ids are the server's own");
});
