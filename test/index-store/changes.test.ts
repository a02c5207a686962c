// What happens to files between runs and while a run goes: a row always belongs to the bytes that were embedded.
import { createHash } from "node:crypto";
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs"; // biome-ignore format: one line says it
import { join } from "node:path";
import t, { type Test } from "tap";
import { load } from "../../lib/index";
import type { EmbedTask } from "../../lib/embed-tasks/embed-task";
import { openIndex } from "../../lib/index-store/index";
import { TaskRunner } from "../../lib/embed-tasks/task-runner";
import { root } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import {
  checkOf,
  CountingEmbedder,
  failuresOf,
  freshPlace,
  openWith,
  rowsOf,
  runOnce,
  touch,
  unitVector,
} from "./fault-setup";

const whole = { missing: 0, duplicates: 0, bad: 0, stale: 0 };

function place(): { folder: string; db: string; write: (name: string, content: string) => string } {
  const { folder, db } = freshPlace();
  const write = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  return { folder, db, write };
}

const hashOf = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
/** The vector that CountingEmbedder gives a picture with these bytes. */
const vectorOfPicture = (path: string, caption?: string) =>
  hexOf(unitVector(JSON.stringify([caption, hashOf(path), undefined, undefined, true])));
const hexOf = (vector: Float32Array) => Buffer.from(vector.slice().buffer).toString("hex");

/** Every row that names the picture has the vector of the bytes that lie there now. */
async function pictureRows(t: Test, db: string, path: string): Promise<void> {
  const rows = (await rowsOf(db)).filter(({ paths }) => paths.includes(path));
  t.strictSame(
    rows.map(({ vector }) => vector),
    [vectorOfPicture(path)],
    "one row, with the vector of the present bytes",
  );
}

const changes: { [what: string]: (path: string) => void } = {
  rewritten: (path) => writeFileSync(path, "other bytes, of another length"),
  "rewritten with as many bytes": (path) =>
    writeFileSync(
      path,
      readFileSync(path).map((byte) => byte ^ 1),
    ),
  appended: (path) => appendFileSync(path, "more"),
  truncated: (path) => truncateSync(path, 3),
  "replaced by rename": (path) => {
    writeFileSync(`${path}.new`, "a new file in its place");
    renameSync(`${path}.new`, path);
  },
};

for (const [what, change] of Object.entries(changes)) {
  t.test(
    `a picture that is ${what} between being hashed and being embedded has the row of its new bytes`,
    async (t) => {
      const { folder, db, write } = place();
      const path = write("a.png", "the bytes of a picture");
      write("b.png", "another picture");
      const embedder = new CountingEmbedder();
      let changed = false;
      embedder.before = (tasks) => {
        if (changed || !tasks.some(({ image }) => image !== undefined && "path" in image && image.path === path))
          return;
        changed = true;
        change(path);
      };
      const { failed, rows, embedded } = await runOnce(t, db, folder, embedder);
      t.strictSame({ changed, failed, rows, embedded }, { changed: true, failed: 0, rows: 2, embedded: 2 });
      await pictureRows(t, db, path);
      t.match(await checkOf(db), whole);
      t.strictSame(failuresOf(db), []);
      t.equal((await runOnce(t, db, folder)).embedded, 0, "the next run has nothing to do");
    },
  );
}

t.test("a picture that changes every time it is read fails, is tried again, and never has a wrong row", async (t) => {
  const { folder, db, write } = place();
  const path = write("a.png", "the bytes of a picture");
  const embedder = new CountingEmbedder();
  embedder.before = () => appendFileSync(path, "+");
  const { failed, rows, failures } = await runOnce(t, db, folder, embedder);
  t.strictSame({ failed, rows }, { failed: 1, rows: 0 });
  t.match(failures, [{ path, error: { code: "GME_CHANGED_WHILE_OPEN" } }]);
  t.match(await runOnce(t, db, folder), { failed: 0, failedBefore: 0, embedded: 1 }, "it is another file by now");
  await pictureRows(t, db, path);
});

t.test("a picture that is deleted between being hashed and being embedded leaves no row", async (t) => {
  const { folder, db, write } = place();
  const path = write("a.png", "the bytes of a picture");
  write("b.png", "another picture");
  const embedder = new CountingEmbedder();
  embedder.before = () => rmSync(path, { force: true });
  const { rows, failures } = await runOnce(t, db, folder, embedder);
  t.equal(rows, 1);
  t.ok(failures.every(({ error }) => error.errno === "ENOENT"));
  t.match(await checkOf(db), whole);
});

t.test("a picture that vanishes between the walk and being hashed is skipped as such", async (t) => {
  const { folder, db, write } = place();
  for (let i = 0; i < 400; i++) write(`${String(i).padStart(3, "0")}.png`, `picture ${i}`);
  const embedder = new CountingEmbedder();
  embedder.before = () => rmSync(join(folder, "399.png"), { force: true });
  const { rows, failed, skipped } = await runOnce(t, db, folder, embedder);
  t.strictSame({ rows, failed, skipped }, { rows: 399, failed: 0, skipped: { vanished: 1 } });
  t.match(await checkOf(db), whole);
});

t.test("pages of a PDF that changes while they are embedded are those of the new file", async (t) => {
  const { folder, db, write } = place();
  const path = write("a.pdf", "pages=5 first");
  const embedder = new CountingEmbedder();
  let batches = 0;
  embedder.before = () => {
    if (++batches === 2) writeFileSync(path, "pages=3 second");
  };
  await runOnce(t, db, folder, embedder);
  const rows = await rowsOf(db);
  const expected = [1, 2, 3].map((number) =>
    hexOf(unitVector(JSON.stringify([undefined, undefined, hashOf(path), number, true]))),
  );
  t.ok(batches >= 2);
  t.strictSame(rows.map(({ vector }) => vector).sort(), expected.sort());
  t.match(await checkOf(db), whole);
});

t.test("the real engine refuses a picture whose bytes changed, and the run embeds the new ones", async (t) => {
  const { folder, db } = place();
  const samples = join(root, "models", "emoji-tiny", "samples");
  const path = join(folder, "a.png");
  copyFileSync(join(samples, "banana.png"), path);
  const model = await load(join(root, "models", "emoji-tiny-f16.gguf"), { threads: 1 });
  t.teardown(() => model.close());
  const runner = new TaskRunner(model);
  const embed = runner.embed.bind(runner);
  let calls = 0;
  const changing = Object.assign(runner, {
    embed: (tasks: readonly EmbedTask[], signal?: AbortSignal) => {
      if (++calls === 1) copyFileSync(join(samples, "guitar.png"), path);
      return embed(tasks, signal);
    },
  });
  t.match(await runOnce(t, db, folder, changing), { failed: 0, rows: 1, embedded: 1 });
  const [{ vector }] = await rowsOf(db);
  const found = new Float32Array(Uint8Array.from(Buffer.from(vector, "hex")).buffer);
  const guitar = await model.embed({ image: path }, { isQuery: false });
  t.ok(found.every((x, i) => Math.abs(x - guitar[i]) < 1e-3));
  t.match(await checkOf(db), whole);
});

t.test(
  "touched files are not embedded again, whatever the clock says; changed ones are, though the time be older",
  async (t) => {
    const { folder, db, write } = place();
    const [a, b, c] = ["a", "b", "c"].map((name) => write(`${name}.png`, `picture ${name}`));
    await runOnce(t, db, folder);
    await touch(a, 1);
    const far = new Date("2099-01-01T00:00:00Z");
    utimesSync(b, far, far);
    const past = new Date("1970-01-02T00:00:00Z");
    utimesSync(c, past, past);
    t.match(await runOnce(t, db, folder), { embedded: 0, rows: 3, failed: 0 });
    t.match(await checkOf(db), { ...whole, rows: 3, sources: 3 });
    t.match(await runOnce(t, db, folder), { embedded: 0, unchanged: 3 });
    writeFileSync(b, "picture b, now another");
    utimesSync(b, past, past);
    t.match(await runOnce(t, db, folder), { embedded: 1, rows: 3, unchanged: 2 });
    await pictureRows(t, db, b);
  },
);

t.test("the same time with another size is a change", async (t) => {
  const { folder, db, write } = place();
  const path = write("a.png", "a picture");
  const time = new Date(1_700_000_000_000);
  utimesSync(path, time, time);
  await runOnce(t, db, folder);
  writeFileSync(path, "a picture that is longer");
  utimesSync(path, time, time);
  t.match(await runOnce(t, db, folder), { embedded: 1, rows: 1 });
  await pictureRows(t, db, path);
});

t.test("the same content under two names is one row with both paths", async (t) => {
  const { folder, db, write } = place();
  const [a, b] = [write("a.png", "one picture"), write("b.png", "one picture")];
  t.match(await runOnce(t, db, folder), { embedded: 1, duplicates: 1, rows: 1 });
  t.match(await rowsOf(db), [{ paths: [a, b] }]);
  const c = write("c.png", "one picture");
  t.match(await runOnce(t, db, folder), { embedded: 0, duplicates: 1, rows: 1, unchanged: 2 });
  t.match(await rowsOf(db), [{ paths: [a, b, c] }]);
  t.match(await checkOf(db), { ...whole, rows: 1, sources: 3 });
  writeFileSync(b, "no longer the same");
  t.match(await runOnce(t, db, folder), { embedded: 1, rows: 2 });
  t.strictSame((await rowsOf(db)).map(({ paths }) => paths.join()).sort(), [`${a},${c}`, b].sort());
  t.match(await checkOf(db), { ...whole, rows: 2, sources: 3 });
});

t.test("a moved file, and a moved folder, are recognised", async (t) => {
  const { folder, db, write } = place();
  const a = write("a.png", "picture a");
  mkdirSync(join(folder, "old"));
  const b = write("old/b.png", "picture b");
  write("old/long.md", "A sentence about nothing. ".repeat(150));
  for (let i = 0; i < 20; i++) write(`${i}.png`, `picture ${i}`);
  const { rows } = await runOnce(t, db, folder);
  renameSync(a, join(folder, "moved.png"));
  renameSync(join(folder, "old"), join(folder, "new"));
  t.match(await runOnce(t, db, folder), { embedded: 0, rows });
  const index = await openWith(t, db);
  t.match(await index.prune(), { files: 3, rows: 0 });
  await index.close();
  const paths = (await rowsOf(db)).flatMap((row) => row.paths);
  t.ok(paths.includes(join(folder, "moved.png")) && paths.includes(join(folder, "new", "b.png")));
  t.notOk(paths.includes(a) || paths.includes(b));
  t.match(await checkOf(db), { ...whole, rows });
});

t.test("two files whose contents are swapped keep their vectors, and each path is at the right one", async (t) => {
  const { folder, db, write } = place();
  const [a, b] = [write("a.png", "picture a"), write("b.png", "picture b, longer")];
  await runOnce(t, db, folder);
  renameSync(a, join(folder, "c"));
  renameSync(b, a);
  renameSync(join(folder, "c"), b);
  t.match(await runOnce(t, db, folder), { embedded: 0, rows: 2, failed: 0 });
  await pictureRows(t, db, a);
  await pictureRows(t, db, b);
  t.match(await checkOf(db), { ...whole, rows: 2, sources: 2 });
  t.match(await runOnce(t, db, folder), { embedded: 0, unchanged: 2 });
});

t.test("a caption that comes, changes and goes gives its picture another vector each time, and one row", async (t) => {
  const { folder, db, write } = place();
  const path = write("a.png", "picture a");
  const rowNow = async (caption: string | undefined, embedded: number) => {
    t.match(await runOnce(t, db, folder), { embedded, rows: 1, failed: 0 }, String(caption));
    const [{ vector, paths }] = await rowsOf(db);
    t.strictSame([paths, vector], [[path], vectorOfPicture(path, caption)]);
    t.match(await checkOf(db), { ...whole, rows: 1 });
    t.match(await runOnce(t, db, folder), { embedded: 0, rows: 1, unchanged: 1 });
  };
  await rowNow(undefined, 1);
  write("a.txt", "a caption");
  await rowNow("a caption", 1);
  write("a.txt", "another caption");
  await rowNow("another caption", 1);
  await touch(join(folder, "a.txt"), 5);
  await rowNow("another caption", 0);
  write("a.txt", "");
  await rowNow(undefined, 1);
  write("a.txt", "a caption");
  await rowNow("a caption", 1);
  rmSync(join(folder, "a.txt"));
  await rowNow(undefined, 1);
});

t.test("a document that became shorter, longer or empty has the passages of its present text", async (t) => {
  const { folder, db, write } = place();
  const sentences = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => `This is sentence number ${from + i} of the document.`).join(" ");
  const path = write("a.md", sentences(0, 200));
  const first = await runOnce(t, db, folder);
  t.ok(first.rows > 5, `${first.rows} passages`);
  writeFileSync(path, sentences(0, 100));
  const second = await runOnce(t, db, folder);
  t.ok(second.rows < first.rows && second.rows > 1);
  const texts = (await rowsOf(db)).map(({ text }) => text).join();
  t.notMatch(texts, /number 1[0-9][0-9] /);
  t.match(await checkOf(db), { ...whole, rows: second.rows });
  writeFileSync(path, sentences(0, 300));
  t.ok((await runOnce(t, db, folder)).rows > first.rows);
  t.match(await checkOf(db), whole);
  writeFileSync(path, "");
  t.match(await runOnce(t, db, folder), { rows: 0, failed: 0, skipped: { empty: 1 } });
  t.match(await checkOf(db), { ...whole, rows: 0 });
});

t.test("prune drops what vanished and nothing else", async (t) => {
  const { folder, db, write } = place();
  for (let i = 0; i < 20; i++) write(`${i}.png`, `picture ${i}`);
  write("copy.png", "picture 3");
  await runOnce(t, db, folder);
  for (const name of ["0.png", "3.png"]) rmSync(join(folder, name));
  t.match(await runOnce(t, db, folder), { rows: 20 }, "a run alone drops nothing");
  t.match(await checkOf(db), { missing: 0, duplicates: 0, bad: 0, stale: 1 });
  const index = await openWith(t, db);
  t.strictSame(await index.prune(), { files: 2, rows: 1 });
  t.strictSame(await index.prune(), { files: 0, rows: 0 });
  await index.close();
  const rows = await rowsOf(db);
  t.equal(rows.length, 19);
  t.ok(rows.some(({ paths }) => paths.join() === join(folder, "copy.png")));
  t.match(await checkOf(db), whole);
});

t.test("prune refuses to drop more than a fifth, or below a folder that is missing, unless forced", async (t) => {
  const { folder, db, write } = place();
  for (let i = 0; i < 10; i++) write(`${i}.png`, `picture ${i}`);
  await runOnce(t, db, folder);
  const index = await openWith(t, db);
  await index.add([{ id: "no file", text: "kept" }]);
  for (const i of [0, 1, 2]) rmSync(join(folder, `${i}.png`));
  const refused = await rejectsWith(t, () => index.prune(), "GME_INDEX_PRUNE_REFUSED");
  t.match(refused.message, /3 of 10 files/);
  renameSync(folder, `${folder}-away`);
  const missing = await rejectsWith(t, () => index.prune(), "GME_INDEX_PRUNE_REFUSED");
  t.match(missing.message, folder);
  t.equal((await index.stats()).rows, 11);
  renameSync(`${folder}-away`, folder);
  t.strictSame(await index.prune({ force: true }), { files: 3, rows: 3 });
  rmSync(folder, { recursive: true });
  t.strictSame(await index.prune({ force: true }), { files: 7, rows: 7 });
  t.match(await index.stats(), { rows: 1 }, "what is no file stays");
  await index.close();
});

t.test("prune below one path leaves the others alone", async (t) => {
  const { folder, db, write } = place();
  mkdirSync(join(folder, "a"));
  mkdirSync(join(folder, "ab"));
  for (let i = 0; i < 10; i++) for (const name of ["a", "ab"]) write(`${name}/${i}.png`, `picture ${name} ${i}`);
  await runOnce(t, db, folder);
  for (const name of ["a", "ab"]) rmSync(join(folder, name, "0.png"));
  const index = await openIndex(db);
  t.teardown(() => index.close());
  t.strictSame(await index.prune({ paths: [join(folder, "a")] }), { files: 1, rows: 1 });
  t.match(await index.stats(), { rows: 19 });
  await index.close();
});
