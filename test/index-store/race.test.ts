// One writer per index: who comes second is told so, a dead writer's lock is taken over, a lost one stops the writer.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { EntryRow } from "../../lib/index-store/entry-row";
import { EntryTable } from "../../lib/index-store/entry-table";
import { openIndex } from "../../lib/index-store/index";
import { indexPlace } from "../../lib/index-store/index-place";
import type { IndexPin } from "../../lib/index-store/index-types";
import { gme } from "../helpers/cli";
import { temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { ContentEmbedder, contentName, runWith, vectorOfContent } from "./content-embedder";
import { checkOf, modelFlags, samplePictures, smallCommits, startRun, storedRows, whole, writeSamples } from "./index-setup"; // biome-ignore format: one line says it

const base = temporaryFolder();
const folder = join(base, "files");
writeSamples(folder);
let count = 0;
const newDb = () => join(base, `index-${count++}`);
const pictures = readdirSync(samplePictures).length;

t.test("while one command indexes, a second one ends at once and names the first", async (t) => {
  const db = newDb();
  const { child, opened, ended } = startRun({ db, paths: [folder], limits: smallCommits });
  await opened;
  const start = Date.now();
  const error = await rejectsWith(t, () => openIndex(db), "GME_INDEX_LOCKED");
  t.ok(Date.now() - start <= 1_000, `refused after ${Date.now() - start} ms`);
  t.match(error, { message: `process ${child.pid} on ${hostname()}`, value: `${child.pid}@${hostname()}` });
  const reader = await openIndex(db, { readOnly: true }).catch(({ code }) => code as string);
  t.ok(typeof reader !== "string" || reader === "GME_INDEX_NOT_FOUND", "a reader needs no lock");
  if (typeof reader !== "string") await reader.close();
  t.equal((await ended).code, 0, "the first one works on");
});

t.test("of commands that start together on one index one works, and the others exit with 1", async (t) => {
  const db = newDb();
  const args = ["index", samplePictures, "--db", db, ...modelFlags, "--quiet"];
  const results = await Promise.all([gme(args), gme(args), gme(args)]);
  t.equal(results.filter(({ code }) => code === 0).length, 1, results.map(({ stderr }) => stderr).join("|"));
  for (const { code, stderr } of results.filter((result) => result.code !== 0)) {
    t.equal(code, 1);
    t.match(stderr, /GME_INDEX_LOCKED|is being written by process \d+ on /);
  }
  t.equal((await storedRows(db)).length, pictures);
  t.match(await checkOf(db), whole);
});

interface WrittenLock {
  pid: number;
  host: string;
  started?: string;
}

/** A lock that somebody left, whose heart beat last so many seconds ago. */
function leaveLock(db: string, lock: WrittenLock | string, secondsAgo = 0): string {
  mkdirSync(db, { recursive: true });
  const path = join(db, "writer.lock");
  writeFileSync(path, typeof lock === "string" ? lock : JSON.stringify({ id: "somebody", ...lock }));
  const time = Date.now() / 1_000 - secondsAgo;
  utimesSync(path, time, time);
  return path;
}

const elsewhere = { pid: process.pid, host: "another-machine" };
/** Above the largest process id of Linux. */
const deadPid = 4_194_305;

const stale: { [title: string]: { lock: WrittenLock | string; secondsAgo: number } } = {
  "of a process that has ended": { lock: { pid: deadPid, host: hostname() }, secondsAgo: 0 },
  "of another machine without a heartbeat for three minutes": { lock: elsewhere, secondsAgo: 180 },
  "with damaged content, three minutes old": { lock: "{", secondsAgo: 180 },
  ...(process.platform === "linux" && {
    "of an earlier process with this one's id": {
      lock: { pid: process.pid, host: hostname(), started: "1" },
      secondsAgo: 0,
    },
  }),
};

for (const [title, { lock, secondsAgo }] of Object.entries(stale)) {
  t.test(`a lock ${title} is taken over`, async (t) => {
    const db = newDb();
    const path = leaveLock(db, lock, secondsAgo);
    const index = await openIndex(db);
    t.equal(JSON.parse(readFileSync(path, "utf8")).pid, process.pid);
    await index.close();
    t.notOk(existsSync(path), "and gone with its new holder");
    t.strictSame(
      readdirSync(db).filter((name) => name.startsWith("writer.lock")),
      [],
      "without drafts",
    );
  });
}

const living: { [title: string]: { lock: WrittenLock | string; secondsAgo: number } } = {
  "of another machine with a heartbeat": { lock: elsewhere, secondsAgo: 30 },
  "with a time in the future": { lock: elsewhere, secondsAgo: -3_600 },
  "of a living process of this machine, however old": { lock: { pid: process.pid, host: hostname() }, secondsAgo: 9e5 },
  "with damaged content, a moment old": { lock: "{", secondsAgo: 0 },
};

for (const [title, { lock, secondsAgo }] of Object.entries(living)) {
  t.test(`a lock ${title} is respected`, async (t) => {
    const db = newDb();
    const path = leaveLock(db, lock, secondsAgo);
    await rejectsWith(t, () => openIndex(db), "GME_INDEX_LOCKED");
    t.ok(existsSync(path));
    t.strictSame(readdirSync(db), ["writer.lock"], "nothing else is left");
  });
}

t.test("a clock that is an hour off takes no lock of another machine for dead", async (t) => {
  const { now } = Date;
  for (const hours of [1, -1]) {
    const db = newDb();
    leaveLock(db, elsewhere, 10);
    Date.now = () => now() + hours * 3_600_000;
    try {
      await rejectsWith(t, () => openIndex(db), "GME_INDEX_LOCKED");
    } finally {
      Date.now = now;
    }
  }
});

t.test("the heartbeat of a lock sets its file's time", { timeout: 40_000 }, async (t) => {
  const db = newDb();
  const index = await openIndex(db);
  const path = join(db, "writer.lock");
  utimesSync(path, 1_000, 1_000);
  await sleep(11_000);
  t.ok(Math.abs(statSync(path).mtimeMs - Date.now()) < 5_000, "it has beaten");
  t.equal(JSON.parse(readFileSync(path, "utf8")).pid, process.pid);
  await index.close();
});

t.test("a writer whose lock is deleted stops before its next commit", async (t) => {
  const db = newDb();
  const { child, ended } = startRun({ db, paths: [folder], limits: smallCommits });
  let isRemoved = false;
  let output = "";
  child.stdout?.on("data", (data) => {
    output += data;
    if (isRemoved || !output.includes('"committed"')) return;
    rmSync(join(db, "writer.lock"));
    isRemoved = true;
  });
  const { code, stderr, lines } = await ended;
  t.ok(isRemoved);
  t.equal(code, 1);
  t.match(stderr, /^GME_INDEX_LOCKED .*lost its lock/);
  const merged = lines.reduce((sum, line) => sum + (line.type === "merging" ? line.rows : 0), 0);
  const rows = await storedRows(db);
  t.ok(rows.length < pictures && rows.length === merged, `${rows.length} rows, ${merged} in its commits`);
  const next = startRun({ db, paths: [folder], limits: smallCommits });
  t.equal((await next.ended).code, 0, "the next run goes on");
  t.match(await checkOf(db), whole);
});

t.test("a list of failures that is deleted in the middle of a run is no harm", async (t) => {
  const db = newDb();
  const bad = join(base, "bad");
  mkdirSync(bad);
  for (const name of ["a.png", "z.png"]) writeFileSync(join(bad, name), `no picture ${name}`);
  const { child, ended } = startRun({ db, paths: [bad, folder], limits: smallCommits });
  let output = "";
  child.stdout?.on("data", (data) => {
    output += data;
    if (output.includes('"committed"')) rmSync(join(db, "errors.jsonl"), { force: true });
  });
  const { code, stderr } = await ended;
  t.equal(code, 0, stderr);
  t.match(await checkOf(db), { duplicates: 0, bad: 0 });
  const again = startRun({ db, paths: [bad, folder], limits: smallCommits });
  const second = await again.ended;
  t.equal(second.code, 0, second.stderr);
  t.match(second.lines.at(-1), { type: "done", embedded: 0 }, "only what failed is tried again");
});

const pin: IndexPin = {
  ...{ version: 1, model: "none", fingerprint: "0".repeat(64), dimensions: 8, positions: "sequential" },
  ...{ loaderResize: true, minImageTokens: 4, maxImageTokens: 64, orientation: "apply" },
  ...{ instruction: "", specialTokens: "escape" },
};

function row(number: number): EntryRow {
  const source = { path: `/${number}`, row: null, image: null, size: null, mtime: null, file: null, parts: 1 };
  return {
    ...{ key: `key ${number}`, kind: "text", vector: Float32Array.of(1, 0, 0, 0, 0, 0, 0, 0), time: 1 },
    ...{ page: null, passage: null, snippet: null, caption: null, width: null, height: null, thumbnail: null },
    sources: [{ ...source, captionSize: null, captionMtime: null }],
  };
}

t.test("without the lock two merges of the same new keys double them, so there is one", async (t) => {
  // lancedb#3377: no conflict is found, since neither merge sees rows of the other. If this fails with a new LanceDB, that is mended.
  const rows = Array.from({ length: 50 }, (_, i) => row(i));
  const attempts = 5;
  let doubled = 0;
  for (let i = 0; i < attempts; i++) {
    const db = newDb();
    const place = indexPlace(db);
    mkdirSync(db);
    const first = await EntryTable.create(place, pin);
    const second = (await EntryTable.open(place)) as EntryTable;
    await Promise.allSettled([first.merge(rows), second.merge(rows)]);
    const reader = (await EntryTable.open(place)) as EntryTable;
    if ((await reader.countRows()) > rows.length) doubled++;
    for (const table of [first, second, reader]) table.close();
  }
  t.ok(doubled > 0, `doubled ${doubled} of ${attempts} times`);
  t.comment(`two merges at once doubled the rows ${doubled} of ${attempts} times`);
});

t.test("with the lock, processes that index the same files at the same time double nothing", async (t) => {
  const db = newDb();
  const request = { db, paths: [folder], limits: smallCommits };
  let [completed, refused] = [0, 0];
  for (let round = 0; round < 3; round++) {
    const results = await Promise.all([startRun(request).ended, startRun(request).ended]);
    for (const { code, stderr } of results) {
      if (code === 0) completed++;
      else if (stderr.startsWith("GME_INDEX_LOCKED")) refused++;
      else t.fail(stderr);
    }
  }
  t.ok(completed >= 3 && refused > 0, `${completed} runs to the end, ${refused} refused`);
  const rows = await storedRows(db);
  t.equal(new Set(rows.map(({ key }) => key)).size, rows.length, "no key twice");
  t.match(await checkOf(db), whole);
});

t.test("names of the same content that are found while a commit is being written are not lost", async (t) => {
  const db = newDb();
  const copies = join(base, "same");
  mkdirSync(copies);
  const run = () => runWith(new ContentEmbedder(), { db, paths: [copies], limits: { ...smallCommits, rows: 1 } });
  const write = (from: number, to: number) => {
    for (let i = from; i < to; i++) writeFileSync(join(copies, `${i}.png`), "one content");
  };
  write(0, 1);
  await run();
  const { findKeys } = EntryTable.prototype;
  EntryTable.prototype.findKeys = async function (keys) {
    const found = await findKeys.call(this, keys);
    await sleep(300); // longer than the commit that the look-up before began
    return found;
  };
  try {
    write(1, 200);
    await run();
  } finally {
    EntryTable.prototype.findKeys = findKeys;
  }
  const rows = await storedRows(db);
  t.strictSame(
    rows.map(({ paths }) => paths.length),
    [200],
    "one row with every name",
  );
});

t.test("a known PDF that changes twice, before and during a run, has the rows of its last state", async (t) => {
  const db = newDb();
  const pages = join(base, "changing");
  mkdirSync(pages);
  const path = join(pages, "a.pdf");
  const run = (embedder: ContentEmbedder) => runWith(embedder, { db, paths: [pages], limits: smallCommits });
  writeFileSync(path, "first state pages=3");
  await run(new ContentEmbedder());
  writeFileSync(path, "second state pages=3");
  const embedder = new ContentEmbedder();
  const { embed } = embedder;
  // The file changes after its first page was read; whatever else is asked for meanwhile comes after that.
  let changed: Promise<unknown> | undefined;
  embedder.embed = async (tasks, signal) => {
    const isFirst = changed === undefined;
    const first = changed ?? embed.call(embedder, tasks.slice(0, 1), signal);
    changed = isFirst ? first.then(() => writeFileSync(path, "the last state pages=3")) : first;
    await changed;
    if (!isFirst) return embed.call(embedder, tasks, signal);
    return [
      ...((await first) as Awaited<ReturnType<typeof embed>>),
      ...(await embed.call(embedder, tasks.slice(1), signal)),
    ];
  };
  const { failed } = await run(embedder);
  t.ok(changed);
  t.equal(failed, 0);
  const wanted = [1, 2, 3].map((page) =>
    vectorOfContent(contentName.page(Buffer.from("the last state pages=3"), page)),
  );
  const vectors = (await storedRows(db)).map(({ vector }) => vector.join());
  t.strictSame(vectors.sort(), wanted.map((vector) => vector.join()).sort());
  t.match(await checkOf(db), { ...whole, stale: 0 });
});
