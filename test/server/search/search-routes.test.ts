// POST /search and what the page of its results asks for, over a real index of the demonstration model.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import sharp from "sharp";
import t, { type Test } from "tap";
import type { QueryItem } from "../../../lib/server/search/search-routes";
import { base64, indexedPlace, type Place, sample, startServer } from "./search-place";

let place: Place;
t.before(async () => {
  place = await indexedPlace(t);
});

interface Result {
  key: string;
  score: number;
  kind: string;
  path: string;
  page?: number;
  passage?: number;
  snippet?: string;
  width?: number;
  thumbnail: string | null;
}

async function search(app: FastifyInstance, body: object): Promise<Result[]> {
  const response = await app.inject({ method: "POST", url: "/search", payload: body });
  if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${response.body}`);
  return response.json().results;
}

async function refused(t: Test, app: FastifyInstance, body: unknown, field: string | null, words: RegExp) {
  const payload = JSON.stringify(body);
  const response = await app.inject({ method: "POST", url: "/search", payload, headers: { "content-type": "application/json" } }); // biome-ignore format: one line says it
  const { error } = response.json();
  t.equal(response.statusCode, 400, `${payload.slice(0, 100)}: ${response.body.slice(0, 200)}`);
  t.equal(error.code, "GME_INPUT_INVALID");
  t.equal(error.param, field);
  t.match(error.message, words);
  t.notMatch(error.message, /\.rs:|LanceError|node_modules|\/index\b/, "nothing of the store's insides");
}

const names = (results: readonly Result[]) => results.map(({ path }) => path.split(/[/\\]/).at(-1));

t.test("a text, a picture and both find what they describe", async (t) => {
  const { app } = await startServer(t, place);
  const answer = (await app.inject({ method: "POST", url: "/search", payload: { query: "a bicycle", kind: "image" } })).json(); // biome-ignore format: one line says it
  t.equal(answer.results.length, 20);
  t.ok(answer.seconds >= 0 && answer.seconds < 60);
  t.equal(names(answer.results)[0], "bicycle.png");
  const [first] = answer.results as Result[];
  t.match(first, { kind: "image", width: Number, thumbnail: `/thumbnails/${first.key}` });
  t.ok(answer.results.every(({ score }: Result, i: number, all: Result[]) => i === 0 || score <= all[i - 1].score));

  for (const image of [base64(sample("guitar")), `data:image/png;base64,${base64(sample("guitar"))}`]) {
    const [found] = await search(app, { image, limit: 1 });
    t.equal(names([found])[0], "guitar.png");
    t.ok(found.score > 0.99, String(found.score));
  }
  const [both] = await search(app, { query: "an umbrella in the rain", image: base64(sample("umbrella")), limit: 3 });
  t.equal(names([both])[0], "umbrella.png");
  t.ok(both.score > 0.99, "a picture with its caption is the same question");
  t.equal(both.snippet, "an umbrella in the rain");
});

t.test("kinds, paths, filters, limits and scores narrow a search", async (t) => {
  const { app } = await startServer(t, place);
  const pages = await search(app, { query: "a castle", kind: "page" });
  t.strictSame(
    pages.map(({ page }) => page).sort(),
    [1, 2, 3],
  );
  t.equal(pages[0].page, 1);
  t.equal((await search(app, { query: "snow", kind: "text", limit: 2 })).length, 2);
  t.strictSame(names(await search(app, { query: "x", path: "rose*.png" })), ["rose.png"]);
  t.strictSame(names(await search(app, { query: "x", where: "path LIKE '%/li%' AND kind = 'image'" })).sort(), ["light-bulb.png", "lion.png"]); // biome-ignore format: one line says it
  t.equal((await search(app, { query: "x", where: "lower(caption) = 'an umbrella in the rain' OR page IN (2)" })).length, 2); // biome-ignore format: one line says it
  t.equal((await search(app, { query: "x", where: "kind = 'page'", kind: "image" })).length, 0, "both hold");
  t.ok((await search(app, { image: base64(sample("rose")), minScore: 0.9 })).length < 5);
  t.equal((await search(app, { query: "x", limit: 200, kind: "image" })).length, 51);
});

t.test("a body that is not a search is refused with 400 and the field", async (t) => {
  const { app } = await startServer(t, place);
  await refused(t, app, {}, "query", /query, an image/);
  await refused(t, app, { query: "  \n" }, "query", /query, an image/);
  await refused(t, app, [], "body", /JSON object/);
  await refused(t, app, { query: "x", querry: 1 }, "querry", /unknown field "querry"; expected query, image/);
  await refused(t, app, { query: 5 }, "query", /a string/);
  await refused(t, app, { image: ["x"] }, "image", /a string/);
  await refused(t, app, { query: "x", kind: "video" }, "kind", /image, text, page/);
  for (const limit of [0, 201, 1.5, "5", null, -1]) await refused(t, app, { query: "x", limit }, "limit", /1 to 200/);
  for (const minScore of [2, "0", null]) await refused(t, app, { query: "x", minScore }, "minScore", /-1 to 1/);
  await refused(t, app, { query: "x", path: "" }, "path", /a glob/);
  await refused(t, app, { query: "x", path: "*a*a*a*a*a*a" }, "path", /stars/);
  await refused(t, app, { query: "x", path: "a".repeat(501) }, "path", /500/);
});

t.test("a filter is SQL over the columns and nothing more", async (t) => {
  const { app } = await startServer(t, place);
  const bad: [string, RegExp][] = [
    ["length(repeat('a', 1000000000)) > 1", /calls "repeat"/],
    ["array_length(range(1, 1000000000)) > 1", /calls "range"/],
    ["kind = 'image'; DROP TABLE entries", /cannot be read from "; DROP/],
    ["true) OR (true", /brackets/],
    ["kind = 'image' -- no more", /cannot be read from "-- no more"/],
    ["kind = /* */ 'image'", /cannot be read from "\/\*/],
    ["key IN (SELECT key FROM entries)", /names "SELECT"/],
    ["vector IS NULL", /names "vector"/],
    ["nosuch = 1", /names "nosuch"; expected key, kind/],
    ["kind(path) = 1", /calls kind/],
    ["lower = 'a'", /column lower/],
    [`"kind" = 'image'`, /cannot be read/],
    ["kind = 'image", /cannot be read/],
    ["kind =", /not understood/],
    ["width + 1", /not understood/],
    ["time > '2024-01-01'", /not understood/],
    ["regexp_like(path, '(a{1000}){1000}')", /not understood/],
    ["width / 0 = 1", /not understood/],
    [`${"(".repeat(17)}true${")".repeat(17)}`, /brackets/],
    [`1${"+1".repeat(120)} = 1`, /too long/],
    [`path = '${"x".repeat(2_000)}'`, /2000 characters/],
    ["  ", /is empty/],
    ["path = '\ud800'", /no text/],
  ];
  for (const [where, words] of bad) await refused(t, app, { query: "x", where }, "where", words);
  const good = [
    "time > TIMESTAMP '2024-01-01 00:00:00'",
    "NOT (width BETWEEN 1 AND 10) AND height >= 16",
    "array_has(paths, '/x') OR paths[1] LIKE '%''%' OR true",
    "page IS NULL AND starts_with(kind, 'im') AND -1 < 1.5e3",
    "KIND ilike 'IMAGE' AND regexp_like(path, 'png$') AND length(path) % 1 = 0",
  ];
  for (const where of good) t.ok((await search(app, { query: "x", where })).length > 0, where);
});

t.test("the instruction, the picture and the client reach the embedding", async (t) => {
  const seen: [QueryItem, string][] = [];
  const read: string[] = [];
  const vector = await place.model.embed("x");
  const { app, index } = await startServer(t, place, {
    embedQuery: async (item, { client }) => {
      seen.push([item, client]);
      return vector;
    },
    readImage: async (image) => {
      read.push(image);
      return Uint8Array.of(1, 2);
    },
    clientOf: () => "the client",
  });
  await search(app, { query: "a cat", kind: "image" });
  await search(app, { image: "https://example.org/x.png", instruction: "Find it." });
  t.strictSame(seen, [
    [{ text: "a cat" }, "the client"],
    [{ image: Uint8Array.of(1, 2), instruction: "Find it." }, "the client"],
  ]);
  t.strictSame(read, ["https://example.org/x.png"]);
  Object.defineProperty(index, "queryInstruction", {
    value: (kind: string, given: object) => JSON.stringify([kind, given]),
  });
  await search(app, { query: "a cat", image: "eA==", kind: "text" });
  t.equal(seen[2][0].instruction, '["text",{"text":true,"image":true}]', "by what is sought and what is asked by");
});

t.test("a client that goes away aborts its embedding", async (t) => {
  let aborted: unknown;
  const started = deferred();
  const gone = deferred();
  const { app } = await startServer(t, place, {
    embedQuery: (_item, { signal }) =>
      new Promise((_resolve, reject) => {
        started.resolve(undefined);
        signal.addEventListener("abort", () => {
          aborted = signal.reason;
          gone.resolve(undefined);
          reject(signal.reason);
        });
      }),
  });
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  const asked = httpRequest({ port, host: "127.0.0.1", path: "/search", method: "POST", headers: { "content-type": "application/json" } }); // biome-ignore format: one line says it
  asked.on("error", () => undefined);
  asked.end(JSON.stringify({ query: "x" }));
  await started.promise;
  asked.destroy();
  await gone.promise;
  t.match(aborted, { code: "GME_ABORTED" });
});

function deferred() {
  let resolve: (value: unknown) => void = () => undefined;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

t.test("thumbnails are WebP with an ETag, and only of keys that there are", async (t) => {
  const { app } = await startServer(t, place);
  const [first] = await search(app, { query: "a bicycle", kind: "image", limit: 1 });
  const url = first.thumbnail as string;
  const { app: cold } = await startServer(t, place); // nothing was searched there before
  for (const server of [app, cold]) {
    const response = await server.inject(url);
    t.equal(response.statusCode, 200);
    t.match(response.headers, { "content-type": "image/webp", etag: `"${first.key}"`, "x-content-type-options": "nosniff" }); // biome-ignore format: one line says it
    t.equal(response.headers["cache-control"], "private, max-age=86400, immutable");
    const { format, width = 0 } = await sharp(response.rawPayload).metadata();
    t.equal(format, "webp");
    t.ok(width > 0 && width <= 256);
  }
  const again = await app.inject({ url, headers: { "if-none-match": `"other", "${first.key}"` } });
  t.equal(again.statusCode, 304);
  t.equal(again.body, "");
  const [text] = await search(app, { query: "snow", kind: "text", limit: 1 });
  t.equal(text.thumbnail, null);
  const unknown = ["f".repeat(64), text.key, "x", "..%2f..%2fetc", `${first.key}'`, `${first.key}00`];
  for (const key of unknown) {
    const response = await app.inject(`/thumbnails/${key}`);
    t.equal(response.statusCode, 404, key);
    t.equal(response.json().error.code, "GME_ROUTE_NOT_FOUND");
    t.equal(response.headers["cache-control"], undefined, "a miss is not kept");
  }
});

t.test("an entry has its caption or passage, its file, and its neighbours there", async (t) => {
  const { app } = await startServer(t, place);
  const entry = async (key: string) => (await app.inject(`/entries/${key}`)).json();
  const [captioned] = await search(app, { query: "x", path: "umbrella.png" });
  t.match(await entry(captioned.key), { kind: "image", caption: "an umbrella in the rain", size: Number, paths: [captioned.path] }); // biome-ignore format: one line says it
  const [page2] = await search(app, { query: "x", where: "page = 2" });
  const second = await entry(page2.key);
  t.match(second, { kind: "page", page: 2, parts: 3, thumbnail: `/thumbnails/${page2.key}` });
  const [first, third] = [await entry(second.previous), await entry(second.next)];
  t.match([first, third], [{ page: 1, next: page2.key }, { page: 3, previous: page2.key }]); // biome-ignore format: one line says it
  t.equal(first.previous, undefined);
  t.equal(third.next, undefined);
  const [passage] = await search(app, { query: "x", path: "story.txt", where: "passage = 1" });
  const begin = await entry(passage.key);
  t.match(begin, { kind: "text", passage: 1, snippet: /^Sentence 0/, next: String });
  t.equal((await entry(begin.next)).passage, 2);
  for (const key of ["0".repeat(64), "%27"]) t.equal((await app.inject(`/entries/${key}`)).statusCode, 404, key);
  t.notOk("embedding" in begin);
});

t.test("the collection says how much there is", async (t) => {
  const { app } = await startServer(t, place);
  const { rows, kinds, model, attribution } = (await app.inject("/collection")).json();
  t.equal(kinds.image, 51);
  t.equal(kinds.page, 3);
  t.equal(rows, kinds.image + kinds.text + kinds.page);
  t.match(model, /emoji/i);
  t.equal(attribution, "Built with GME");
});

t.test("a view is the file itself, larger; of a page it is drawn", async (t) => {
  const { app } = await startServer(t, place);
  const [picture] = await search(app, { query: "x", path: "rose.png" });
  const [page] = await search(app, { query: "x", where: "page = 3" });
  const side = async (url: string) => {
    const response = await app.inject(url);
    t.equal(response.statusCode, 200, url);
    t.equal(response.headers["content-type"], "image/webp");
    const { format, width = 0, height = 0 } = await sharp(response.rawPayload).metadata();
    t.equal(format, "webp");
    return Math.max(width, height);
  };
  const { width: own = 0 } = await sharp(sample("rose")).metadata();
  t.equal(await side(`/views/${picture.key}`), own, "never larger than it is");
  t.equal(await side(`/views/${picture.key}?side=64`), 64);
  t.equal(await side(`/views/${page.key}?side=800`), 800);
  const whole = await app.inject(`/views/${page.key}?side=800`);
  t.equal(whole.headers.etag, `"${page.key}-800"`);
  t.equal((await app.inject({ url: `/views/${page.key}?side=800`, headers: { "if-none-match": `"${page.key}-800"` } })).statusCode, 304); // biome-ignore format: one line says it
  for (const query of ["side=9999", "side=0", "side=x", "side=64&side=65", "path=/etc/passwd"])
    t.equal((await app.inject(`/views/${page.key}?${query}`)).statusCode, 400, query);
  const [text] = await search(app, { query: "snow", kind: "text", limit: 1 });
  for (const key of [text.key, "f".repeat(64), "x"]) t.equal((await app.inject(`/views/${key}`)).statusCode, 404, key);
});

t.test("a file that changed or vanished has no view any more, its thumbnail stays", async (t) => {
  const { app } = await startServer(t, place);
  const file = join(place.folder, "octopus.png");
  const original = readFileSync(file);
  const [{ key, thumbnail }] = await search(app, { query: "x", path: "octopus.png" });
  const missing = async (words: RegExp) => {
    const response = await app.inject(`/views/${key}`);
    t.equal(response.statusCode, 404);
    t.match(response.json().error.message, words);
    t.notMatch(response.body, /octopus|pictures\//, "its path is not told");
    t.equal((await app.inject(thumbnail as string)).statusCode, 200);
  };
  writeFileSync(file, readFileSync(sample("owl")));
  await missing(/has changed/);
  renameSync(file, `${file}.away`);
  await missing(/cannot be read/);
  renameSync(`${file}.away`, file);
  writeFileSync(file, original);
  t.equal((await app.inject(`/views/${key}`)).statusCode, 200);
});
