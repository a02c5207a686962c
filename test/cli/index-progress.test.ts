import t from "tap";
import { duration, eventLines, progressLine, startIndexProgress, summaryText } from "../../lib/cli/index-progress";
import { cellWidth } from "../../lib/cli/text-width";
import { GmeError } from "../../lib/errors";
import type { IndexProgress, IndexSummary } from "../../lib/index-store/index";

const progress: IndexProgress = {
  done: 1204,
  total: 12000,
  counted: true,
  unchanged: 3,
  skipped: 1,
  failed: 3,
  embedded: 1200,
  itemsPerSecond: 3.24,
  tokensPerSecond: 1204.4,
  secondsLeft: 740,
};

const summary: IndexSummary = {
  files: 1204,
  embedded: 180,
  tokens: 90_000,
  duplicates: 2,
  unchanged: 980,
  skipped: { hidden: 20, empty: 10, changed: 0 },
  failed: 2,
  failedBefore: 1,
  rows: 1180,
  seconds: 45,
  idleShare: 0.0123,
  restarts: 0,
};

/** What a call writes to one of this process's streams. */
async function written(stream: NodeJS.WriteStream, call: () => Promise<void>): Promise<string> {
  const { write } = stream;
  let text = "";
  stream.write = ((data: string | Uint8Array) => {
    text += data.toString();
    return true;
  }) as typeof stream.write;
  try {
    await call();
  } finally {
    stream.write = write;
  }
  return text;
}

t.test("the bar's line has all figures at 80 columns", async (t) => {
  const line = progressLine(progress, 80);
  t.match(line, /^█+░+ 1204\/12000 · 3\.2 items\/s · 1204 tokens\/s · 12 min left · 3 failed$/);
  t.ok(cellWidth(line) <= 79, `${cellWidth(line)} cells`);
  t.match(progressLine({ ...progress, counted: false, failed: 0 }, 80), /^indexing █+░+ 1204\/12000\+ · 3\.2 items/);
  t.notMatch(progressLine({ ...progress, failed: 0 }, 80), /failed/);
});

t.test("the bar's line fits every terminal, and keeps the count and the failures longest", async (t) => {
  const huge = {
    ...progress,
    done: 999_999,
    total: 12_000_000,
    itemsPerSecond: 123_456,
    tokensPerSecond: 9e9,
    failed: 999_999,
  };
  const starts = {
    ...progress,
    done: 0,
    total: 0,
    counted: false,
    itemsPerSecond: Number.NaN,
    tokensPerSecond: 0,
    secondsLeft: undefined,
  };
  const widths = Array.from({ length: 200 }, (_, i) => i + 1);
  for (const [name, shown] of Object.entries({ progress, huge, starts })) {
    const tooWide = widths.filter((columns) => cellWidth(progressLine(shown, columns)) > Math.max(1, columns - 1));
    t.strictSame(tooWide, [], name);
  }
  t.equal(progressLine(progress, 1), "…");
  t.equal(progressLine(progress, 23), "1204/12000 · 3 failed");
});

t.test("times left are words of at most two units", async (t) => {
  const words = [0.2, 8, 59.4, 59.6, 740, 3600, 11_100, 187_000, -1].map(duration);
  t.strictSame(words, ["0 s", "8 s", "59 s", "1 min", "12 min", "1 h", "3 h 5 min", "2 d 4 h", "0 s"]);
});

const error = new GmeError("GME_IMAGE_TRUNCATED", "/a\\nb.png: the picture ends too early", { file: "/a\nb.png" });
const failed = { type: "failed", path: "/a\nb.png", error } as const;
const skipped = { type: "skipped", path: "/c.png", reason: "hidden" } as const;

t.test("a failure is one line with path, reason and code", async (t) => {
  t.strictSame(eventLines(failed), ["failed: /a\\nb.png: the picture ends too early [GME_IMAGE_TRUNCATED]"]);
  t.strictSame(eventLines({ ...failed, part: 3 }), [
    "failed: /a\\nb.png, part 3: the picture ends too early [GME_IMAGE_TRUNCATED]",
  ]);
  t.strictSame(eventLines(skipped), []);
  t.strictSame(eventLines({ type: "engine", message: "started again" }), ["started again"]);
});

t.test("without a terminal only failures are written, and nothing when quiet", async (t) => {
  t.notOk(process.stderr.isTTY, "the tests have no terminal");
  const run = async (flags: { quiet?: boolean }) => {
    const view = await startIndexProgress(flags);
    view.update(progress);
    view.event(failed);
    view.event(skipped);
    view.stop();
  };
  t.equal(await written(process.stderr, () => run({})), `${eventLines(failed)[0]}\n`);
  t.equal(await written(process.stderr, () => run({ quiet: true })), "");
});

t.test("with json every event is a line, and progress comes once a second and at the end", async (t) => {
  const run = async (quiet: boolean) => {
    const view = await startIndexProgress({ json: true, quiet });
    for (let done = 0; done < 50; done++) view.update({ ...progress, done });
    view.event(failed);
    view.event(skipped);
    view.event({ type: "committed", rows: 64, total: 128 });
    view.stop();
    view.stop();
  };
  const lines = (await written(process.stdout, () => run(false))).trimEnd().split("\n");
  const events = lines.map((line) => JSON.parse(line));
  t.strictSame(
    events.map(({ type }) => type),
    ["progress", "failed", "skipped", "committed", "progress"],
  );
  t.equal(events[0].done, 0);
  t.equal(events[4].done, 49, "the last one is not lost");
  t.match(events[1], { path: "/a\nb.png", error: { code: "GME_IMAGE_TRUNCATED", file: "/a\nb.png" } });
  t.match(events[2], { path: "/c.png", reason: "hidden" });
  t.match(events[3], { rows: 64, total: 128 });
  const quiet = (await written(process.stdout, () => run(true))).trimEnd().split("\n");
  t.strictSame(
    quiet.map((line) => JSON.parse(line).type),
    ["failed", "skipped", "committed"],
  );
});

t.test("the summary says what was done and how fast", async (t) => {
  t.strictSame(summaryText(summary).split("\n"), [
    "1,204 files: 980 unchanged, 2 duplicates, 30 skipped (20 hidden, 10 empty), 2 failed, " +
      "1 failed before and not tried again (--retry-failed does)",
    "180 vectors computed in 45.0 s; 4.0 items/s, 2,000 tokens/s; the model was idle 1.2 % of its time",
    "the index has 1,180 rows",
    "",
  ]);
});

t.test("the summary of little or nothing has the right numbers of its nouns", async (t) => {
  const none = { unchanged: 0, duplicates: 0, skipped: {}, failed: 0, failedBefore: 0 };
  t.equal(
    summaryText({ ...summary, ...none, files: 1, embedded: 1, tokens: 10, rows: 1, seconds: 0.5, restarts: 1 }),
    "1 file\n1 vector computed in 0.5 s; 2.0 items/s, 20.0 tokens/s; the model was idle 1.2 % of its time\n" +
      "the engine was started again once\nthe index has 1 row\n",
  );
  t.equal(
    summaryText({ ...summary, ...none, files: 0, embedded: 0, rows: 0, seconds: 0, restarts: 2 }),
    "0 files\n0 vectors computed in 0 s\nthe engine was started again 2 times\nthe index has 0 rows\n",
  );
  t.match(summaryText({ ...summary, ...none, duplicates: 1, files: 2 }), /^2 files: 1 duplicate\n/);
});
