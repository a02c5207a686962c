import { spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { type WatchSettings, watchRoots } from "../../lib/crawl/folder-watch";
import { root, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";

const all = temporaryFolder();
const settleMs = 200;

interface Watched {
  readonly calls: () => number;
  /** Waits for so many calls in all, and then whether there are more. */
  readonly calledTimes: (times: number) => Promise<number>;
  readonly end: () => Promise<void>;
}

/** Watches until the test ends, and waits for the call with which it begins. */
async function watched(
  t: Tap,
  roots: readonly string[],
  settings: WatchSettings = {},
  onChange: () => Promise<void> = async () => undefined,
): Promise<Watched> {
  const abort = new AbortController();
  let calls = 0;
  const done = watchRoots(roots, { settleMs, signal: abort.signal, ...settings }, async () => {
    calls++;
    await onChange();
  });
  const end = async () => {
    abort.abort();
    await done;
  };
  t.teardown(end);
  const calledTimes = async (times: number) => {
    for (let i = 0; i < 300 && calls < times; i++) await sleep(20);
    await sleep(settleMs * 3);
    return calls;
  };
  t.equal(await calledTimes(1), 1, "once at the start");
  return { calls: () => calls, calledTimes, end };
}

type Tap = typeof t;

for (const poll of [false, true]) {
  t.test(`a burst of changes is one call, whatever it is${poll ? ", when polling" : ""}`, async (t) => {
    const folder = mkdtempSync(join(all, "burst-"));
    mkdirSync(join(folder, "a/b"), { recursive: true });
    writeFileSync(join(folder, "a/b/1.txt"), "1");
    const { calledTimes } = await watched(t as Tap, [folder], { poll });
    const changes: [string, () => void][] = [
      ["many new files", () => Array.from({ length: 50 }, (_, i) => writeFileSync(join(folder, `${i}.txt`), "x"))],
      ["one that grows", () => appendFileSync(join(folder, "a/b/1.txt"), "more")],
      ["a new name", () => renameSync(join(folder, "a/b/1.txt"), join(folder, "a/2.txt"))],
      ["a new folder", () => mkdirSync(join(folder, "a/c/d"), { recursive: true })],
      ["a file in it", () => writeFileSync(join(folder, "a/c/d/3.jpg"), "x")],
      [
        "one replaced",
        () => [writeFileSync(join(folder, "t"), "yy"), renameSync(join(folder, "t"), join(folder, "0.txt"))],
      ],
      ["rules", () => writeFileSync(join(folder, "a/.gmeignore"), "*.md")],
      ["a folder that goes", () => rmSync(join(folder, "a"), { recursive: true })],
    ];
    let calls = 1;
    for (const [title, change] of changes) {
      change();
      t.equal(await calledTimes(++calls), calls, title);
    }
  });
}

t.test("it waits until things are quiet, and never calls twice at once", async (t) => {
  const folder = mkdtempSync(join(all, "quiet-"));
  let [running, most] = [0, 0];
  const { calls, calledTimes } = await watched(t as Tap, [folder], {}, async () => {
    most = Math.max(most, ++running);
    await sleep(settleMs * 2);
    running--;
  });
  for (let i = 0; i < 10; i++) {
    writeFileSync(join(folder, "1.txt"), String(i));
    await sleep(settleMs / 4);
    t.equal(calls(), 1, "not while it changes");
  }
  while (calls() < 2) await sleep(10);
  for (let i = 0; i < 5; i++) writeFileSync(join(folder, `during-${i}.txt`), "x");
  t.equal(await calledTimes(3), 3, "changes during a call lead to one more");
  t.equal(most, 1);
});

t.test("what is ignored, and indexes, call nothing", async (t) => {
  const folder = mkdtempSync(join(all, "ignored-"));
  for (const path of ["db/entries.lance/data", "other", "x.lance", "kept"])
    mkdirSync(join(folder, path), { recursive: true });
  const ignored = (path: string) => path === join(folder, "other") || path.startsWith(join(folder, "other/"));
  const { calls, calledTimes } = await watched(t as Tap, [folder], { ignored });
  for (const path of ["db/entries.lance/data/1.bin", "db/lock", "other/1.txt", "x.lance/1"]) {
    writeFileSync(join(folder, path), "x");
  }
  await sleep(settleMs * 4);
  t.equal(calls(), 1);
  writeFileSync(join(folder, "kept/1.txt"), "x");
  t.equal(await calledTimes(2), 2);
});

t.test("a file as a root is watched, also when another takes its place", async (t) => {
  const folder = mkdtempSync(join(all, "file-"));
  const file = join(folder, "1.txt");
  writeFileSync(file, "1");
  const { calledTimes } = await watched(t as Tap, [file]);
  appendFileSync(file, "2");
  t.equal(await calledTimes(2), 2);
  writeFileSync(join(folder, "new"), "3");
  renameSync(join(folder, "new"), file);
  t.equal(await calledTimes(3), 3);
  appendFileSync(file, "4");
  t.equal(await calledTimes(4), 4);
});

t.test("it ends when the signal aborts, after the call that is running", async (t) => {
  const folder = mkdtempSync(join(all, "end-"));
  const abort = new AbortController();
  let isDone = false;
  await watchRoots([folder], { settleMs: 10, signal: abort.signal }, async () => {
    abort.abort();
    await sleep(100);
    isDone = true;
  });
  t.ok(isDone);
  await watchRoots([folder], { signal: AbortSignal.abort() }, async () => {
    t.fail("called");
  });
});

t.test("an error of the call ends the watch with it", async (t) => {
  const folder = mkdtempSync(join(all, "error-"));
  const error = new Error("broken");
  await t.rejects(
    watchRoots([folder], { settleMs: 10 }, () => Promise.reject(error)),
    error,
  );
});

t.test("bad settings are refused", async (t) => {
  const call = async () => {
    t.fail("called");
  };
  for (const settle of [-1, Number.NaN, "1" as unknown as number]) {
    await rejectsWith(t, () => watchRoots([all], { settleMs: settle }, call), "GME_OPTION_INVALID");
  }
  await rejectsWith(t, () => watchRoots(["/tmp/\u{10ffff}"], {}, call), "GME_INPUT_INVALID");
});

t.test("when the system watches no more folders, that is said, with the remedy", { skip: !canLimitWatches() }, (t) => {
  const folder = mkdtempSync(join(all, "limit-"));
  for (let i = 0; i < 30; i++) mkdirSync(join(folder, String(i)));
  const script = `const { watchRoots } = require(${JSON.stringify(join(root, "lib/crawl/folder-watch.ts"))});
    watchRoots([${JSON.stringify(folder)}], { settleMs: 300 }, async () => {}).then(
      () => console.log("ended"),
      ({ code, errno, message }) => console.log(JSON.stringify({ code, errno, message })),
    );`;
  for (const [limit, value, errno] of [
    ["max_inotify_watches", 10, "ENOSPC"],
    ["max_inotify_instances", 0, "EMFILE"],
  ]) {
    const command = `echo ${value} > /proc/sys/user/${limit} && exec "$0" "$@"`;
    const node = [process.execPath, "--require", require.resolve("tsx/cjs"), "-e", script];
    const { NODE_OPTIONS, ...env } = process.env;
    const child = spawnSync("unshare", ["-Ur", "sh", "-c", command, ...node], {
      encoding: "utf8",
      env,
      timeout: 60_000,
    });
    const error = JSON.parse(child.stdout || JSON.stringify({ stderr: child.stderr }));
    t.match(error, { code: "GME_IO_ERROR", errno, message: /--poll/ }, String(limit));
  }
  t.end();
});

function canLimitWatches(): boolean {
  return spawnSync("unshare", ["-Ur", "sh", "-c", "echo 9 > /proc/sys/user/max_inotify_watches"]).status === 0;
}
