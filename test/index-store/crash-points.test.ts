// Killed at each named moment (lib/index-store/crash-points.ts), the index has whole commits only, and the next run completes it.
import { rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { CrashPoint } from "../../lib/index-store/crash-points";
import { temporaryFolder } from "../helpers/fixtures";
import type { RunLine } from "./children/index-run";
import { type ChildResult, changeSamples, checkOf, childRun, prune, randomFrom, sameRows, smallCommits, type StoredRow, storedRows, whole, writeSamples } from "./index-setup"; // biome-ignore format: one line says it

/** An object, so that a point that is missing here does not compile. */
const pointSet: { readonly [point in CrashPoint]: true } = {
  "batch.embedded": true,
  "merge.before": true,
  "merge.after": true,
  "optimize.before": true,
  "optimize.after": true,
};
const points = Object.keys(pointSet) as CrashPoint[];

const base = temporaryFolder();
const folder = join(base, "files");
writeSamples(folder);
const paths = [join(folder, "pictures"), join(folder, "texts"), join(folder, "copies")];
const limits = { ...smallCommits, rows: 10, maintainEvery: 3 };
let run = 0;
const newDb = () => join(base, `index-${run++}`);

const sum = (lines: readonly RunLine[], type: "merging" | "committed") =>
  lines.reduce((rows, line) => rows + (line.type === type ? line.rows : 0), 0);

/** Rows that a table may have after the lines' end: without or with the commit in hand, of which the lines tell. */
function rowsAfter({ lines }: ChildResult, point: CrashPoint): number[] {
  const [merging, committed] = [sum(lines, "merging"), sum(lines, "committed")];
  if (point === "batch.embedded") return [committed, merging]; // a commit may be under way
  return [point === "merge.before" ? committed : merging];
}

function isSubset(rows: readonly StoredRow[], wanted: readonly StoredRow[]): boolean {
  const keys = new Set(wanted.map(({ key }) => key));
  return rows.every(({ key }) => keys.has(key));
}

/** Runs that are killed at the K-th time, or at the last time before it that a run comes to the point. */
async function crash(db: string, point: CrashPoint, times: number) {
  for (let at = times; at > 0; at--) {
    const result = await childRun({ db, paths, limits }, `${point}:${at}`);
    if (result.signal === "SIGKILL") return { result, at };
    rmSync(db, { recursive: true });
  }
  throw new Error(`no run comes to ${point}`);
}

t.test("an index killed at a named moment", async (t) => {
  const undisturbed = newDb();
  const first = await childRun({ db: undisturbed, paths, limits });
  const wanted = await storedRows(undisturbed);
  for (const point of points) {
    const hits = first.lines.filter((line) => line.type === "reached" && line.point === point).length;
    t.ok(hits >= 2, `${point} is reached ${hits} times`);
    for (const times of new Set([1, (hits >> 1) + 1, hits])) {
      await t.test(`is whole after ${point}:${times}, and the next run completes it`, async (t) => {
        const db = newDb();
        const { result, at } = await crash(db, point, times);
        const rows = await storedRows(db);
        const possible = rowsAfter(result, point);
        t.ok(possible.includes(rows.length), `${rows.length} rows, whole commits have ${possible} (hit ${at})`);
        t.ok(isSubset(rows, wanted), "no row that an undisturbed run does not make");
        t.match(await checkOf(db), { duplicates: 0, bad: 0 });
        const next = await childRun({ db, paths, limits });
        t.equal(next.code, 0, next.stderr);
        sameRows(t, await storedRows(db), wanted, "the same rows");
        t.match(await checkOf(db), whole);
      });
    }
  }
});

const faults = Number(process.env.GME_TEST_FAULTS ?? 8);
const seed = Number(process.env.GME_TEST_SEED ?? Date.now() % 1e9);
const title = `runs killed again while they resume, ${faults} times (seed ${seed}), end with the same rows`;

t.test(title, { timeout: 100_000 + faults * 10_000 }, async (t) => {
  const random = randomFrom(seed);
  const wantedNow = async () => {
    const clean = newDb();
    await childRun({ db: clean, paths, limits });
    return storedRows(clean);
  };
  let wanted = await wantedNow();
  let db = newDb();
  let told: string[] = [];
  let isChanged = false;
  const end = async () => {
    await prune(db);
    sameRows(t, await storedRows(db), wanted, told.join(", "));
    t.match(await checkOf(db), { ...whole, stale: 0 });
    [db, told] = [newDb(), []];
  };
  for (let kills = 0; kills < faults; ) {
    if (kills === faults >> 1 && !isChanged) {
      isChanged = true;
      changeSamples(folder); // the run that is resumed finds other files
      wanted = await wantedNow();
      told.push("changed");
    }
    const fault = `${points[Math.floor(random() * points.length)]}:${1 + Math.floor(random() * 3)}`;
    const { signal, code, stderr } = await childRun({ db, paths, limits }, fault);
    told.push(fault);
    t.ok(signal === "SIGKILL" || code === 0, `${fault} ${stderr}`);
    if (signal === "SIGKILL") kills++;
    else await end();
  }
  const last = await childRun({ db, paths, limits });
  t.equal(last.code, 0, last.stderr);
  await end();
});
