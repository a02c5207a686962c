import t from "tap";
import Fastify from "fastify";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pageRoutes } from "../../../lib/server/search/page-routes";
import { version } from "../../../lib/index";
import { temporaryFolder } from "../../helpers/fixtures";

const folder = join(temporaryFolder(), "page");
mkdirSync(folder);
writeFileSync(join(folder, "index.html"), "<!doctype html><p>page");
writeFileSync(join(folder, "app.js"), "let a;");
writeFileSync(join(folder, "style.css"), "p {}");

t.test("the page's files are served from memory under a strict policy", async (t) => {
  const app = Fastify();
  t.teardown(() => app.close());
  await app.register(pageRoutes, { folder });
  writeFileSync(join(folder, "app.js"), "changed");
  for (const [url, type, body] of [
    ["/", "text/html; charset=utf-8", "<!doctype html><p>page"],
    ["/assets/app.js", "text/javascript; charset=utf-8", "let a;"],
    ["/assets/style.css", "text/css; charset=utf-8", "p {}"],
  ]) {
    const response = await app.inject(url);
    t.equal(response.statusCode, 200);
    t.equal(response.body, body);
    t.match(response.headers, { "content-type": type, "x-content-type-options": "nosniff", "cache-control": "no-cache" });
    const policy = String(response.headers["content-security-policy"]);
    for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "img-src 'self' blob: data:"])
      t.ok(policy.includes(part), part);
    t.notMatch(policy, /unsafe|https?:|\*/);
    const { etag } = response.headers;
    t.equal((await app.inject({ url, headers: { "if-none-match": String(etag) } })).statusCode, 304);
  }
  for (const url of ["/assets/", "/assets/index.html", "/assets/..%2f..%2fpackage.json", "/assets/app.ts"])
    t.equal((await app.inject(url)).statusCode, 404, url);
});

t.test("GET / answers JSON where that is asked for", async (t) => {
  const app = Fastify();
  t.teardown(() => app.close());
  await app.register(pageRoutes, { folder });
  const asked = async (accept?: string) => (await app.inject({ url: "/", headers: accept === undefined ? {} : { accept } })).headers["content-type"]; // biome-ignore format: one line says it
  for (const accept of ["application/json", "application/json, */*", "text/html;q=0.5, application/json"])
    t.match(await asked(accept), /^application\/json/, accept);
  const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
  for (const accept of [undefined, "*/*", browser, "text/html, application/json;q=0.9"])
    t.match(await asked(accept), /^text\/html/, accept ?? "nothing");
  const json = (await app.inject({ url: "/", headers: { accept: "application/json" } })).json();
  t.strictSame(json, { name: "gme-embed", version, attribution: "Built with GME" });
});

t.test("a bundle that is not there is named when the server starts", async (t) => {
  const app = Fastify();
  t.teardown(() => app.close());
  await t.rejects(async () => void (await app.register(pageRoutes, { folder: join(folder, "no") })), { code: "GME_INTERNAL" });
});
