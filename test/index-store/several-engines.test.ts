// An index computed by two engines, on the processor in the place of two graphics cards: the rows of one engine, whatever is killed.
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { bundledModelPath } from "../../lib/bundled-model";
import { openIndex } from "../../lib/index-store/index";
import type { IndexEvent, IndexSummary } from "../../lib/index-store/index-types";
import { gme } from "../helpers/cli";
import { temporaryFolder } from "../helpers/fixtures";
import { enginePids } from "../isolated/engine-pids";
import { checkOf, modelFlags, sameRows, type StoredRow, storedRows, whole, writeSamples } from "./index-setup";

const base = temporaryFolder();
const folder = join(base, "files");

interface Run {
  readonly summary: IndexSummary;
  readonly events: readonly IndexEvent[];
}

async function runWith(
  db: string,
  device: string,
  onEvent: (event: IndexEvent) => void = () => undefined,
): Promise<Run> {
  const index = await openIndex(db, { model: bundledModelPath, modelOptions: { device, threads: 1 } });
  const events: IndexEvent[] = [];
  try {
    const listen = (event: IndexEvent) => {
      events.push(event);
      onEvent(event);
    };
    return { summary: await index.addFiles([folder], { onEvent: listen }), events };
  } finally {
    await index.close();
  }
}

function failures(events: readonly IndexEvent[]): string[] {
  return events.flatMap((event) => (event.type === "failed" ? [`${event.path} ${event.error.code}`] : [])).sort();
}

let wanted: StoredRow[] = [];
let wantedFailures: string[] = [];

t.before(async () => {
  writeSamples(folder);
  const lines = Array.from({ length: 400 }, (_, i) => JSON.stringify({ text: `a line of many, number ${i}` }));
  writeFileSync(join(folder, "table", "lines.jsonl"), `${lines.join("\n")}\n`);
  for (const name of ["no-picture.png", "neither.jpg"]) writeFileSync(join(folder, "pictures", name), "no picture");
  const { events } = await runWith(join(base, "one"), "cpu");
  wanted = await storedRows(join(base, "one"));
  wantedFailures = failures(events);
  if (wantedFailures.length !== 2) throw new Error(`${wantedFailures}`);
});

async function hasWantedRows(t: Test, db: string, title: string): Promise<void> {
  sameRows(t, await storedRows(db), wanted, title);
  t.match(await checkOf(db), { ...whole, stale: 0 });
}

t.test(
  "two engines that work at the same time make the rows of one, with the same failures",
  { timeout: 240_000 },
  async (t) => {
    const place = join(base, "meeting");
    mkdirSync(place);
    const { NODE_OPTIONS } = process.env;
    const preload = join(__dirname, "..", "isolated", "children", "meeting.cjs");
    process.env.NODE_OPTIONS = `${NODE_OPTIONS ?? ""} --require ${JSON.stringify(preload)}`;
    process.env.GME_TEST_MEETING = `2 ${place}`; // no engine answers before both have an answer
    t.teardown(() => {
      if (NODE_OPTIONS === undefined) delete process.env.NODE_OPTIONS;
      else process.env.NODE_OPTIONS = NODE_OPTIONS;
      delete process.env.GME_TEST_MEETING;
    });
    const db = join(base, "two");
    const { summary, events } = await runWith(db, "cpu,cpu");
    t.equal(readdirSync(place).length, 2, "both had work at the same time");
    const told = events.flatMap((event) => (event.type === "engine" ? [event.message] : []));
    t.ok(told.includes("the model runs on cpu,cpu"), `${told}`);
    t.match(summary, { embedded: wanted.length, failed: 2, restarts: 0 });
    t.strictSame(failures(events), wantedFailures);
    await hasWantedRows(t, db, "two engines");
    t.strictSame(enginePids(), [], "no process is left");
  },
);

t.test(
  "an engine that is killed in the middle is started again, nothing is missing",
  { timeout: 240_000 },
  async (t) => {
    const db = join(base, "killed engine");
    let killed = 0;
    const { summary, events } = await runWith(db, "cpu,cpu", ({ type }) => {
      if (type === "committed" && killed++ === 0) process.kill(enginePids()[0], "SIGKILL");
    });
    t.ok(killed > 1, `${killed} commits`);
    t.equal(
      summary.restarts,
      1,
      `${events.filter(({ type }) => type === "engine").map((event) => JSON.stringify(event))}`,
    );
    t.strictSame(failures(events), wantedFailures);
    await hasWantedRows(t, db, "one engine killed");
  },
);

/** `gme index` with two engines; killed at its first commit where that is wanted. */
async function command(db: string, isKilled: boolean): Promise<{ signal: string | null; stdout: string }> {
  const args = ["index", folder, "--db", db, ...modelFlags, "--device", "cpu,cpu", "--threads", "1", "--json"];
  const { signal, stdout } = await gme(args, {
    during: (child) => {
      child.stdin.end();
      child.stdout.on("data", (data) => {
        if (isKilled && String(data).includes('"committed"')) child.kill("SIGKILL");
      });
    },
  });
  return { signal, stdout: String(stdout) };
}

t.test(
  "kill -9 of a run with two engines: committed rows are kept, the same command goes on",
  { timeout: 240_000 },
  async (t) => {
    const db = join(base, "killed run");
    const first = await command(db, true);
    t.equal(first.signal, "SIGKILL");
    const kept = await storedRows(db);
    t.ok(kept.length >= 100 && kept.length < wanted.length, `${kept.length} of ${wanted.length} rows`);
    const { stdout } = await command(db, false);
    t.match(
      JSON.parse(stdout.trim().split("\n").at(-1) ?? ""),
      { type: "summary", embedded: wanted.length - kept.length },
      "nothing that was committed is computed again",
    );
    await hasWantedRows(t, db, "after the kill");
  },
);
