// Processes that are killed, and processes that pull the same at once. GME_TEST_KILLS sets how many are killed.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import t, { type Test } from "tap";
import { FileLock } from "../../lib/store/file-lock";
import { temporaryFolder } from "../helpers/fixtures";
import type { HubServer } from "../helpers/hub-server";
import {
  blobPath,
  blobs,
  cacheProblems,
  checkpointHub,
  embedOnce,
  freshStore,
  pullFrom,
  repository,
  weights,
  weightsDigest,
} from "./pull-setup";

const kills = Number(process.env.GME_TEST_KILLS ?? 15);

interface Puller {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly begun: Promise<unknown>;
  readonly ended: Promise<unknown>;
}

/** About half of a pull's time is the download. */
async function slowHub(): Promise<HubServer> {
  const hub = await checkpointHub();
  hub.pace = { bytes: 100_000, ms: 10 };
  return hub;
}

function startPull(hub: HubServer, { store, hub: cache }: ReturnType<typeof freshStore>): Puller {
  const script = join(__dirname, "children", "pull.ts");
  const loader = pathToFileURL(require.resolve("tsx")).href;
  const child = spawn(process.execPath, ["--import", loader, script, hub.endpoint, repository], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, GME_HOME: store, HF_HUB_CACHE: cache },
  });
  const lines: string[] = [];
  child.stdout?.on("data", (data) => lines.push(...String(data).trim().split("\n")));
  return { child, lines, begun: once(child.stdout as NodeJS.ReadableStream, "data"), ended: once(child, "close") };
}

/** One store, killed again and again at random moments of the time that a whole pull takes; every third time it starts empty. */
async function killOften(t: Test, times: number, duration: number): Promise<{ ranges: number; converted: number }> {
  const hub = await slowHub();
  let place = freshStore();
  const counts = { ranges: 0, converted: 0 };
  for (let i = 0; i < times; i++) {
    if (i % 3 === 0) place = freshStore();
    const puller = startPull(hub, place);
    await puller.begun;
    await sleep(Math.random() * duration);
    puller.child.kill("SIGKILL");
    await puller.ended;
    counts.ranges += hub.take().filter(({ range }) => range !== undefined).length;

    const blob = blobPath(place, weightsDigest(hub));
    if (existsSync(blob)) t.ok(readFileSync(blob).equals(hub.files.get(weights) as Buffer), `kill ${i}: a whole blob`);
    const folder = join(place.store, "models", "tiny-a");
    const files = existsSync(folder) ? readdirSync(folder).filter((name) => /^[^.].*\.gguf$/.test(name)) : [];
    counts.converted += files.length;
    for (const file of files) t.ok((await embedOnce(join(folder, file))).length > 0, `kill ${i}: a whole model`);
  }
  const last = startPull(hub, place);
  await last.ended;
  t.equal(last.child.exitCode, 0, last.lines.join("; "));
  t.same(cacheProblems(place, hub), []);
  t.same(readdirSync(join(place.store, "models", "tiny-a")).sort(), ["model.json", "tiny-a-f16.gguf"]);
  t.ok((await embedOnce(join(place.store, "models", "tiny-a", "tiny-a-f16.gguf"))).length > 0);
  return counts;
}

t.test(`a pull that is killed, ${kills} times in all, ends with the right file`, { timeout: 600_000 }, async (t) => {
  const whole = startPull(await slowHub(), freshStore());
  await whole.begun;
  const start = performance.now();
  await whole.ended;
  const duration = performance.now() - start;
  t.equal(whole.child.exitCode, 0, whole.lines.join("; "));
  const counts = await Promise.all([0, 1, 2].map(() => killOften(t, Math.ceil(kills / 3), duration * 1.5)));
  t.comment(`a pull takes ${duration.toFixed(0)} ms; killed: ${JSON.stringify(counts)}`);
});

t.test("two processes at once download each file once and end with the same model", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  hub.pace = { bytes: 200_000, ms: 20 };
  const pullers = [startPull(hub, place), startPull(hub, place)];
  await Promise.all(pullers.map(({ ended }) => ended));
  t.same(
    pullers.map(({ child }) => child.exitCode),
    [0, 0],
    pullers.flatMap(({ lines }) => lines).join("; "),
  );
  t.equal(hub.take().filter(({ where }) => where === "cdn").length, 1);
  t.same(cacheProblems(place, hub), []);
  t.equal(pullers[0].lines.at(-1), pullers[1].lines.at(-1));
});

t.test("two names from one repository, pulled at once, share its files", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  hub.pace = { bytes: 200_000, ms: 5 };
  const notes: string[] = [];
  const onNote = (note: string) => notes.push(note);
  await Promise.all(["one", "two"].map((name) => pullFrom(hub, { name, onNote })));
  t.equal(hub.take().filter(({ where }) => where === "cdn").length, 1);
  t.same(cacheProblems(place, hub), []);
  t.ok(
    notes.some((note) => note.includes(`process ${process.pid}`)),
    notes.join("; "),
  );
});

t.test("a lock is taken over when its holder has ended, and waited for while it lives", async (t) => {
  const folder = temporaryFolder();
  const path = join(folder, "a.lock");
  const ended = spawn(process.execPath, ["-e", "0"]);
  await once(ended, "close");
  const old = new Date(Date.now() - 3_600_000);
  const rows: [string, string][] = [
    ["a process that has ended", JSON.stringify({ id: "x", pid: ended.pid, host: hostname() })],
    ["a later process with the same id", JSON.stringify({ id: "x", pid: process.pid, host: hostname(), started: "1" })],
    ["another machine, long silent", JSON.stringify({ id: "x", pid: 1, host: "elsewhere" })],
    ["nonsense, long there", "{"],
  ];
  for (const [title, content] of rows) {
    if (title.includes("later") && process.platform !== "linux") continue;
    writeFileSync(path, content);
    if (title.includes("long")) utimesSync(path, old, old);
    const lock = await FileLock.acquire(path);
    t.equal(await lock.isHeld(), true, title);
    await lock.release();
    t.same(readdirSync(folder), [], title);
  }
  for (const content of [JSON.stringify({ id: "x", pid: 1, host: "elsewhere" }), "{"]) {
    writeFileSync(path, content);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    await t.rejects(
      FileLock.acquire(path, { signal: controller.signal }),
      { code: "GME_ABORTED" },
      "fresh: waited for",
    );
  }
  writeFileSync(path, rows[0][1]);
  const holders: number[] = [];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const lock = await FileLock.acquire(path);
      holders.push(1);
      t.equal(holders.length, 1, "one holder at a time");
      await sleep(2);
      holders.pop();
      await lock.release();
    }),
  );
});

t.test("a lock that was left beside an unfinished file does not hold up the next pull", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const digest = weightsDigest(hub);
  const locks = join(place.hub, ".locks", "models--someone--tiny-a");
  mkdirSync(locks, { recursive: true });
  mkdirSync(join(blobPath(place, digest), ".."), { recursive: true });
  writeFileSync(join(locks, `${digest}.gme-lock`), JSON.stringify({ id: "x", pid: 2 ** 22 + 1, host: hostname() }));
  writeFileSync(blobPath(place, `${digest}.incomplete`), (hub.files.get(weights) as Buffer).subarray(0, 2_000_000));
  await pullFrom(hub);
  t.match(hub.take().find(({ where }) => where === "cdn")?.range, "bytes=2000000-");
  t.same(cacheProblems(place, hub), []);
  t.equal(blobs(place).includes(digest), true);
});
