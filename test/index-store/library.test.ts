// openIndex as `gme-embed/index` promises it: options, items, searches, and how it ends.
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t, { type Test } from "tap";
import { load } from "../../lib/index";
import {
  GmeIndex,
  type IndexItem,
  type IndexProgress,
  openIndex,
  type SearchOptions,
} from "../../lib/index-store/index";
import { root } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { checkOf, CountingEmbedder, dimensions, failuresOf, freshPlace, openWith, unitVector } from "./fault-setup";

const run = promisify(execFile);
const modelFile = join(root, "models", "emoji-tiny-f16.gguf");
const samples = join(root, "models", "emoji-tiny", "samples");

const script = `
  const { folder, db, model } = JSON.parse(process.argv.at(-1));
  const index = await openIndex(db, { model, modelOptions: { threads: 1 } });
  const { rows } = await index.addFiles([folder]);
  const [best] = await index.search("a banana", { limit: 1 });
  await index.close();
  console.log(JSON.stringify({ rows, best: best.path, kinds: entryKinds, made: index instanceof GmeIndex }));
`;
const entries: { [how: string]: string[] } = {
  require: [
    "-e",
    `const { openIndex, GmeIndex, entryKinds } = require("gme-embed/index"); (async () => {${script}})();`,
  ],
  import: ["--input-type=module", "-e", `import { openIndex, GmeIndex, entryKinds } from "gme-embed/index"; ${script}`],
};

for (const [how, args] of Object.entries(entries)) {
  t.test(`the package's entry gme-embed/index works by ${how}`, async (t) => {
    t.ok(existsSync(join(root, "dist", "index-store", "index.js")), "built by npm run setup");
    const { folder, db } = freshPlace();
    for (const name of ["banana", "guitar"]) copyFileSync(join(samples, `${name}.png`), join(folder, `${name}.png`));
    const given = JSON.stringify({ folder, db, model: modelFile });
    const { stdout, stderr } = await run(process.execPath, [...args, given], { cwd: root });
    const expected = { rows: 2, best: join(folder, "banana.png"), kinds: ["image", "text", "page"], made: true };
    t.strictSame(JSON.parse(stdout), expected);
    t.equal(stderr, "");
  });
}

t.test("options are checked, and a misspelt one is named with the right one", async (t) => {
  const { folder, db } = freshPlace();
  writeFileSync(join(folder, "a.png"), "picture a");
  const index = await openWith(t, db);
  await index.addFiles([folder]);
  const embedding = unitVector("a");
  const search = (options: object) => () => index.search(undefined, { embedding, ...options } as SearchOptions);
  const entriesOf = (options: object) => async () => {
    for await (const _ of index.entries(options));
  };
  const bad: [() => unknown, string, RegExp][] = [
    [() => openIndex("", {}), "GME_INPUT_INVALID", /uri/],
    [() => openIndex(7 as unknown as string), "GME_INPUT_INVALID", /uri/],
    [() => openIndex(db, { readonly: true } as object), "GME_OPTION_INVALID", /readOnly/],
    [() => openIndex(db, { readOnly: 1 } as object), "GME_OPTION_INVALID", /readOnly/],
    [() => openIndex(db, { model: {} } as object), "GME_OPTION_INVALID", /GmeModel/],
    [() => openIndex(db, { model: modelFile, modelOptions: { treads: 1 } } as object), "GME_OPTION_INVALID", /threads/],
    [() => openIndex(db, "readOnly" as unknown as object), "GME_OPTION_INVALID", /an object/],
    [() => index.addFiles([]), "GME_INPUT_INVALID", /paths/],
    [() => index.addFiles("x" as unknown as string[]), "GME_INPUT_INVALID", /paths/],
    [() => index.addFiles(["a\0b"]), "GME_INPUT_INVALID", /paths/],
    [() => index.addFiles([folder], { exlude: ["x"] } as object), "GME_OPTION_INVALID", /exlude/],
    [() => index.addFiles([folder], { retryfailed: true } as object), "GME_OPTION_INVALID", /retryFailed/],
    [() => index.addFiles([folder], { passageLength: 100, passageOverlap: 51 }), "GME_OPTION_INVALID", /at most half/],
    [() => index.addFiles([folder], { exclude: "x" } as object), "GME_OPTION_INVALID", /array of patterns/],
    [() => index.addFiles([folder], { maxErrors: -1 }), "GME_OPTION_INVALID", /maxErrors/],
    [() => index.add(7 as unknown as IndexItem[]), "GME_INPUT_INVALID", /iterable/],
    [() => index.add({} as IndexItem[]), "GME_INPUT_INVALID", /iterable/],
    [() => index.add([], { onprogress: () => undefined } as object), "GME_OPTION_INVALID", /onProgress/],
    [() => index.search(), "GME_INPUT_INVALID", /text, an image, both, or an embedding/],
    [search({ kind: "picture" }), "GME_OPTION_INVALID", /image, text, page/],
    [search({ limit: 0 }), "GME_OPTION_INVALID", /1 to 10000/],
    [search({ limit: 2.5 }), "GME_OPTION_INVALID", /1 to 10000/],
    [search({ minScore: 2 }), "GME_OPTION_INVALID", /-1 to 1/],
    [search({ minscore: 0.5 }), "GME_OPTION_INVALID", /minScore/],
    [search({ exact: "yes" }), "GME_OPTION_INVALID", /exact/],
    [search({ path: 7 }), "GME_OPTION_INVALID", /path/],
    [search({ embedding: unitVector("a", dimensions + 1) }), "GME_INPUT_INVALID", /16 numbers/],
    [search({ embedding: new Float32Array(dimensions) }), "GME_NON_FINITE", /unit length/],
    [search({ embedding: Array.from(embedding) }), "GME_INPUT_INVALID", /Float32Array/],
    [() => index.check({ onprogress: 1 } as object), "GME_OPTION_INVALID", /onProgress/],
    [() => index.prune({ forced: true } as object), "GME_OPTION_INVALID", /force/],
    [entriesOf({ vector: true }), "GME_OPTION_INVALID", /vectors/],
    [() => index.remove({}), "GME_INPUT_INVALID", /keys, paths or where/],
    [() => index.remove({ path: ["x"] } as object), "GME_OPTION_INVALID", /path/],
    [() => index.remove({ keys: "x" } as object), "GME_INPUT_INVALID", /array of strings/],
  ];
  for (const [call, code, words] of bad) t.match((await rejectsWith(t, call, code)).message, words);
  t.match(await index.stats(), { rows: 1 });
  await index.close();
});

t.test("an SQL filter that is not understood is the caller's error, never the store's", async (t) => {
  const { db } = freshPlace();
  const index = await openWith(t, db);
  await index.add([{ id: "a", text: "a" }]);
  const filters = ["kind = 'xx' AND 1", "nope = 1", "kind ==== 2", "'", "kind", "1 / 0 = 1", "CAST(path AS INT) = 1", "regexp_like(path, '(')"]; // biome-ignore format: a list
  for (const where of filters) {
    const calls = [
      () => index.search(undefined, { embedding: unitVector("a"), where }),
      async () => {
        for await (const _ of index.entries({ where }));
      },
      () => index.remove({ where }),
    ];
    for (const call of calls) {
      const { message, field } = await rejectsWith(t, call, "GME_OPTION_INVALID", where);
      t.equal(field, "options.where");
      t.notMatch(message, /\.rs|LanceError\(IO\): Generic/);
    }
  }
  t.match(await index.stats(), { rows: 1 });
  await index.close();
});

t.test("add() takes arrays, iterables and streams; the same id replaces, the same content joins", async (t) => {
  const { db } = freshPlace();
  const embedder = new CountingEmbedder();
  const index = await openWith(t, db, embedder);
  const picture = readFileSync(join(samples, "banana.png"));
  const seen: IndexProgress[] = [];
  const onProgress = (progress: IndexProgress) => void seen.push(progress);
  const first = [
    { id: "a", text: "text a" },
    { id: "b", text: "text b" },
    { id: "picture", image: picture },
    { id: "both", image: picture, text: "a banana" },
    { id: "file", image: join(samples, "guitar.png") },
    { id: "vector", embedding: unitVector("v"), kind: "page" as const },
    { text: "without an id" },
  ];
  t.match(await index.add(first, { onProgress }), { files: 7, embedded: 6, rows: 7, failed: 0 });
  t.match(seen.at(-1), { done: 7, total: 7, counted: true, failed: 0 });
  t.match(await index.stats(), { rows: 7, kinds: { image: 3, text: 3, page: 1 }, dimensions, failures: 0 });
  async function* stream() {
    yield { id: "a", text: "text a, changed" };
    yield { id: "c", text: "text b" };
    yield* [{ id: "vector", embedding: unitVector("w") }];
  }
  t.match(await index.add(stream()), { embedded: 1, duplicates: 1, rows: 7 });
  t.match(await index.add(new Set([{ id: "b", text: "text b" }])), { embedded: 0, unchanged: 1, rows: 7 });
  const paths: string[] = [];
  const texts: (string | undefined)[] = [];
  for await (const rows of index.entries()) {
    paths.push(...rows.flatMap((row) => row.paths));
    texts.push(...rows.map(({ snippet }) => snippet));
  }
  t.ok(["a", "b", "c", "picture", "both", "file", "vector"].every((id) => paths.filter((p) => p === id).length === 1));
  t.notOk(texts.includes("text a"), "what the id named before is gone");
  t.ok(texts.includes("text a, changed"));
  const [best] = await index.search(undefined, { embedding: unitVector("w"), limit: 1 });
  t.match(best, { path: "vector" });
  t.ok(best.score > 0.999);
  await index.close();
  t.match(await checkOf(db), { missing: 0, duplicates: 0, bad: 0, stale: 0, rows: 7 });
});

t.test("an id that is given twice in one call ends as the last says", async (t) => {
  const { db } = freshPlace();
  const embedder = new CountingEmbedder();
  const index = await openWith(t, db, embedder);
  await index.add([
    { id: "a", text: "first" },
    { id: "a", text: "second" },
  ]);
  const found: unknown[] = [];
  for await (const rows of index.entries()) found.push(...rows.map(({ paths, snippet }) => [paths, snippet]));
  t.strictSame(found, [[["a"], "second"]]);
  embedder.vectorOf = ({ text }) => (text === "fourth" ? new Float32Array(dimensions) : unitVector(String(text)));
  await index.add([
    { id: "a", text: "third" },
    { id: "a", text: "fourth" },
  ]);
  const after: unknown[] = [];
  for await (const rows of index.entries()) after.push(...rows.map(({ snippet }) => snippet));
  t.strictSame(after, ["third"], "the last one failed");
  await index.close();
});

t.test("a bad item fails by its id, and the others are added", async (t) => {
  const { db } = freshPlace();
  const index = await openWith(t, db);
  const bad: unknown[] = [
    { id: "good", text: "good" },
    { id: "nothing" },
    { id: "misspelt", texts: "x" },
    { id: "number", text: 7 },
    { id: "missing file", image: join(samples, "missing.png") },
    { id: "wrong kind", text: "x", kind: "picture" },
    null,
    "a string",
    { id: "", text: "empty id" },
    { id: "also good", text: "also good" },
  ];
  t.match(await index.add(bad as IndexItem[]), { rows: 2, failed: 8 });
  const codes = failuresOf(db).map(({ path, code }) => `${path}: ${code}`);
  t.ok(codes.includes("missing file: GME_IO_ERROR"), codes.join());
  t.equal(codes.filter((line) => line.endsWith("GME_INPUT_INVALID")).length, 7, codes.join());
  t.match(String(failuresOf(db).find(({ path }) => path === "misspelt")?.message), /did you mean text/);
  await index.close();
});

t.test("an abort keeps what is done; an error of the items' source ends the call as that error", async (t) => {
  const { db } = freshPlace();
  const index = await openWith(t, db);
  const stop = new AbortController();
  async function* endless() {
    for (let i = 0; ; i++) {
      if (i === 400) stop.abort(new Error("enough"));
      yield { id: String(i), text: `text ${i}` };
    }
  }
  const aborted = await rejectsWith(t, () => index.add(endless(), { signal: stop.signal }), "GME_ABORTED");
  t.equal(aborted.name, "AbortError");
  const { rows } = await index.stats();
  t.ok(rows > 0 && rows <= 401, `${rows} rows are kept`);
  async function* failing() {
    yield { id: "before", text: "before the error" };
    throw new RangeError("the source broke");
  }
  await t.rejects(index.add(failing()), { message: /the source broke/ });
  const { folder } = freshPlace();
  for (let i = 0; i < 10; i++) writeFileSync(join(folder, `${i}.png`), `picture ${i}`);
  const onEvent = () => {
    throw new RangeError("the listener broke");
  };
  await t.rejects(index.addFiles([folder], { onEvent }), { message: "the listener broke" });
  await rejectsWith(t, () => index.add([], { signal: AbortSignal.abort() }), "GME_ABORTED");
  await index.close();
  t.match(await checkOf(db), { missing: 0, duplicates: 0, bad: 0 });
});

t.test("searches: kind, path, where, limit, minScore, exact, thumbnails", async (t) => {
  const { db } = freshPlace();
  const index = await openWith(t, db);
  const item = (i: number): IndexItem => ({
    id: `${i % 2 === 0 ? "even" : "odd"}/${i}.txt`,
    embedding: unitVector(String(i)),
    kind: (["text", "image", "page"] as const)[i % 3],
  });
  await index.add(Array.from({ length: 60 }, (_, i) => item(i)));
  const embedding = unitVector("7");
  const search = (options: SearchOptions = {}) => index.search(undefined, { embedding, limit: 100, ...options });
  const all = await search();
  t.equal(all.length, 60);
  t.match(all[0], { path: "odd/7.txt", kind: "image" });
  t.ok(
    all.every(({ score }, i) => i === 0 || score <= all[i - 1].score),
    "best first",
  );
  t.equal((await index.search(undefined, { embedding })).length, 10);
  t.strictSame(
    (await search({ exact: true })).map(({ key }) => key),
    all.map(({ key }) => key),
  );
  t.strictSame(
    (await search({ kind: "page" })).map(({ key }) => key),
    all.filter(({ kind }) => kind === "page").map(({ key }) => key),
  );
  t.equal((await search({ path: "even/*" })).length, 30);
  t.equal((await search({ path: "1?.txt" })).length, 10);
  t.equal((await search({ path: "odd/**", kind: "text", where: "path < 'odd/3'" })).length, all.filter(({ path, kind }) => path.startsWith("odd/") && kind === "text" && path < "odd/3").length); // biome-ignore format: one count
  const least = all[19].score;
  t.ok((await search({ minScore: least })).every(({ score }) => score >= least - 1e-4));
  t.equal((await search({ minScore: least })).length, 20);
  t.strictSame(await search({ path: "nothing/*" }), []);
  t.notOk("thumbnail" in all[0]);
  await index.close();
});

t.test("remove: by key, path and filter; what it names comes back with the next run", async (t) => {
  const { folder, db } = freshPlace();
  for (const name of ["a", "b", "c"]) writeFileSync(join(folder, `${name}.png`), `picture ${name}`);
  const index = await openWith(t, db);
  await index.addFiles([folder]);
  await index.add([{ id: "it's", text: "x" }]);
  const [{ key }] = await index.search(undefined, { embedding: unitVector("x"), limit: 1, path: "*a.png" });
  t.equal(await index.remove({ keys: [key] }), 1);
  t.equal(await index.remove({ keys: [key] }), 0);
  t.equal(await index.remove({ paths: [join(folder, "b.png"), "it's"] }), 2);
  t.equal(await index.remove({ where: "kind = 'text'" }), 0);
  t.match(await index.stats(), { rows: 1 });
  t.match(await index.addFiles([folder]), { embedded: 2, rows: 3 });
  await index.close();
});

t.test("close waits for what is being written, may be called twice, and ends everything", async (t) => {
  const { folder, db } = freshPlace();
  for (let i = 0; i < 300; i++) writeFileSync(join(folder, `${i}.png`), `picture ${i}`);
  const index = await openWith(t, db);
  const running = index.addFiles([folder]);
  const also = index.add([{ id: "after it", text: "x" }]);
  await Promise.all([index.close(), index.close()]);
  t.match(await running, { rows: 300 });
  t.match(await also, { rows: 301 });
  const calls: (() => unknown)[] = [
    () => index.addFiles([folder]),
    () => index.add([]),
    () => index.search("x"),
    () => index.stats(),
    () => index.check(),
    () => index.remove({ keys: ["x"] }),
    () => index.repair(),
    () => index.prune(),
  ];
  for (const call of calls) await rejectsWith(t, call, "GME_MODEL_CLOSED");
  const again = await openWith(t, db);
  t.match(await again.stats(), { rows: 301 }, "the lock is free");
  await again[Symbol.asyncDispose]();
  await rejectsWith(t, () => again.stats(), "GME_MODEL_CLOSED");
});

t.test("readOnly takes no lock, makes nothing and refuses to write", async (t) => {
  const { folder, db } = freshPlace();
  const missing = await rejectsWith(t, () => openIndex(db, { readOnly: true }), "GME_INDEX_NOT_FOUND");
  t.match(missing.message, /gme index PATH --db/);
  t.notOk(existsSync(db));
  writeFileSync(join(folder, "a.png"), "picture a");
  const writer = await openWith(t, db);
  await writer.addFiles([folder]);
  const reader = await openIndex(db, { readOnly: true });
  t.teardown(() => reader.close());
  t.match(await reader.stats(), { rows: 1 }, "beside a writer");
  const calls = [
    () => reader.addFiles([folder]),
    () => reader.add([{ text: "x" }]),
    () => reader.remove({ keys: ["x"] }),
    () => reader.prune(),
    () => reader.repair(),
  ];
  for (const call of calls) t.match((await rejectsWith(t, call, "GME_OPTION_INVALID")).field, "options.readOnly");
  await rejectsWith(t, () => openIndex(db), "GME_INDEX_LOCKED");
  await rejectsWith(t, () => reader.search("x"), "GME_OPTION_INVALID", "a text needs a model");
  await writer.close();
  await reader.close();
});

t.test("an index that was never written has nothing to search, check or count", async (t) => {
  const { db } = freshPlace();
  const index = await openIndex(db);
  t.teardown(() => index.close());
  for (const call of [() => index.stats(), () => index.check(), () => index.search("x")])
    await rejectsWith(t, call, "GME_INDEX_NOT_FOUND");
  t.equal(index.pin, undefined);
  await rejectsWith(t, () => index.add([{ text: "x" }]), "GME_OPTION_INVALID", "without a model");
  await index.close();
  t.throws(() => new (GmeIndex as unknown as new () => GmeIndex)(), { code: "GME_INPUT_INVALID" });
});

t.test("a GmeModel computes in this process and stays its caller's", async (t: Test) => {
  const { db } = freshPlace();
  const model = await load(modelFile, { threads: 1 });
  t.teardown(() => model.close());
  const index = await openIndex(db, { model });
  t.teardown(() => index.close());
  const names = ["banana", "guitar", "rocket"];
  await index.add(names.map((name) => ({ id: name, image: join(samples, `${name}.png`) })));
  t.match(await index.search("a guitar", { limit: 1 }), [{ path: "guitar", kind: "image", width: 224, height: 224 }]);
  t.match(await index.search(undefined, { image: join(samples, "rocket.png"), limit: 1 }), [{ path: "rocket" }]);
  t.match(index.pin, { dimensions: model.dimensions, fingerprint: model.info.fingerprint });
  await index.close();
  t.equal((await model.embed("still open")).length, model.dimensions);
});
