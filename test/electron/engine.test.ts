// The example app's engine, in a process that looks to it like Electron's utilityProcess: real files, model and index.
import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import t from "tap";
import type { Progress, Status } from "../../examples/electron/src/protocol";
import { attribution } from "../../lib";
import { buildExample, samples, startEngine } from "./example-app";

const app = buildExample(t);
const sampleNames = [
  "bicycle.png",
  "airplane.png",
  "banana.png",
  "books.png",
  "cactus.png",
  "camera.png",
  "butterfly.png",
];
const { client, events, children, ended } = startEngine(t, app);
const progress = () => events.flatMap((event) => ("progress" in event ? [event.progress] : []));
const failed = () => events.flatMap((event) => ("failed" in event ? [event.failed] : []));

t.test("before anything is indexed: a status, no results, no thumbnails", async (t) => {
  t.match(await client.call("status"), { entries: 0, attribution } satisfies Partial<Status>);
  t.strictSame(await client.call("search", "a cat"), []);
  t.equal(await client.call("thumbnail", "0".repeat(64)), undefined);
});

t.test(
  "L24 a folder is indexed in a stand-in for a utility process, its progress told, a broken picture told with its code",
  async (t) => {
    const folder = join(app.folder, "pictures");
    for (const name of sampleNames) cpSync(join(samples, name), join(folder, name), { recursive: true });
    mkdirSync(join(folder, "more"));
    writeFileSync(join(folder, "more", "broken.png"), "no picture at all");
    writeFileSync(join(folder, "more", "note.txt"), "Bring the tent and two bicycles to the mountain.");
    const summary = await client.call("index", [folder]);
    t.equal(summary.failed, 1);
    t.ok(summary.embedded >= sampleNames.length, `${summary.embedded} embedded`);
    const last = progress().at(-1) as Progress;
    t.ok(progress().length > 1 && last.done === last.total && last.counted, JSON.stringify(last));
    t.notOk(
      progress().some(({ current }) => current !== undefined && current !== basename(current)),
      "names, not paths",
    );
    t.match(failed(), [{ code: "GME_IMAGE_FORMAT", path: /broken\.png$/ }]);
    t.equal((await client.call("status")).entries, summary.embedded);
  },
);

t.test("what was indexed is found, best first, without a path", async (t) => {
  const hits = await client.call("search", "a bicycle");
  t.equal(hits[0].name, "bicycle.png");
  for (let i = 1; i < hits.length; i++) t.ok(hits[i - 1].score >= hits[i].score, "sorted");
  t.notMatch(JSON.stringify(hits), app.folder);
  const text = (await client.call("search", "tent")).find(({ kind }) => kind === "text");
  t.match(text, { name: "note.txt", hasThumbnail: false, snippet: /tent/ });
  t.strictSame(await client.call("search", "   "), []);
});

t.test("a newer search wins over an older one", async (t) => {
  const [older, newer] = await Promise.allSettled([client.call("search", "a cat"), client.call("search", "a dog")]);
  t.match(older, { status: "rejected", reason: { code: "GME_ABORTED" } });
  t.equal(newer.status, "fulfilled");
});

t.test("thumbnails and files only of keys that are in the index", async (t) => {
  const [hit] = await client.call("search", "a bicycle");
  const picture = Buffer.from((await client.call("thumbnail", hit.key)) as Uint8Array);
  t.equal(picture.toString("latin1", 8, 12), "WEBP");
  t.ok(existsSync((await client.call("pathOf", hit.key)) as string));
  const bad = [
    "f".repeat(64),
    "",
    "..",
    "/etc/passwd",
    join(samples, "bicycle.png"),
    `${hit.key}' OR '1'='1`,
    "' OR 1=1 --",
    7,
    null,
    {},
  ];
  for (const key of bad as string[]) {
    t.equal(await client.call("thumbnail", key), undefined, String(key));
    t.equal(await client.call("pathOf", key), undefined, String(key));
  }
});

t.test("errors keep their code over the channel, and calls that do not exist are refused", async (t) => {
  t.equal((await client.call("index", [join(app.folder, "missing")])).failed, 1);
  t.match(failed().at(-1), { code: "GME_IO_ERROR", path: /missing$/ });
  await t.rejects(client.call("index", []), { code: "GME_INPUT_INVALID" });
  for (const name of ["constructor", "__proto__", "open", "entry"])
    await t.rejects(client.call(name as "status"), { code: "APP_ERROR", message: /no call/ });
});

t.test("stop ends a run with GME_ABORTED, and two runs at once are refused", async (t) => {
  const folder = join(app.folder, "texts");
  mkdirSync(folder);
  for (let i = 0; i < 400; i++) writeFileSync(join(folder, `${i}.txt`), `Text number ${i}. `.repeat(60));
  const before = progress().length;
  const run = client.call("index", [folder]);
  while (progress().length < before + 2) await new Promise((next) => setTimeout(next, 10));
  await t.rejects(client.call("index", [folder]), { message: /being indexed/ });
  await client.call("stop");
  await t.rejects(run, { code: "GME_ABORTED" });
  t.ok((await client.call("search", "a bicycle")).length > 0, "and the index goes on answering");
});

t.test("a second app on the same index is told who has it", async (t) => {
  const second = startEngine(t, app);
  const index = join(app.folder, "more-pictures");
  mkdirSync(index);
  await t.rejects(second.client.call("index", [index]), { code: "GME_INDEX_LOCKED" });
});

t.test("a crash rejects what waits, and the next call finds the index again in a new process", async (t) => {
  const { entries } = await client.call("status");
  const pending = client.call("search", "a cat");
  children[0].kill("SIGKILL");
  await t.rejects(pending, { code: "GME_ENGINE_CRASHED" });
  t.equal((await client.call("status")).entries, entries);
  t.equal(children.length, 2);
});

t.test("close lets the process end with code 0", async (t) => {
  await client.close();
  t.equal(await ended(), 0);
});

t.test("a process that ends before its first answer is followed by one without graphics", async (t) => {
  const run = startEngine(t, app, { model: join(app.folder, "missing.gguf"), env: {} });
  const first = run.client.call("status");
  run.children[0].kill("SIGKILL");
  await t.rejects(first, { code: "GME_ENGINE_CRASHED" });
  await t.rejects(run.client.call("status"), { code: /^GME_(IO_ERROR|MODEL_NOT_FOUND)$/ });
  t.strictSame(run.devices, ["auto", "cpu"]);
  await run.client.close();
});
