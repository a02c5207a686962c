// Runs that are killed at random moments lose nothing and double nothing. GME_TEST_KILLS: how many kills (100 by hand).
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { gme } from "../helpers/cli";
import { temporaryFolder } from "../helpers/fixtures";
import { changeSamples, checkOf, childRun, modelFlags, prune, randomFrom, sameRows, smallCommits, type StoredRow, startRun, storedRows, vectorsOf, whole, writeSamples } from "./index-setup"; // biome-ignore format: one line says it

const kills = Number(process.env.GME_TEST_KILLS ?? 15);
const seed = Number(process.env.GME_TEST_SEED ?? Date.now() % 1e9);
const random = randomFrom(seed);

const base = temporaryFolder();
const folder = join(base, "files");

function resetSamples(): void {
  rmSync(folder, { recursive: true, force: true });
  writeSamples(folder);
}

/** The rows of the changed folder, by one undisturbed run. */
async function wantedRows(): Promise<StoredRow[]> {
  resetSamples();
  changeSamples(folder);
  const db = join(base, "undisturbed");
  await childRun({ db, paths: [folder], limits: smallCommits });
  return storedRows(db);
}

async function keysOf(db: string): Promise<Set<string>> {
  const rows = await storedRows(db).catch(() => []); // killed before the table was made
  return new Set(rows.map(({ key }) => key));
}

t.test(`${kills} kills at random moments (seed ${seed})`, { timeout: 60_000 + kills * 20_000 }, async (t) => {
  const wanted = await wantedRows();
  // A run holds at most one batch that is not committed: the rows being written, those gathered and those with the engine.
  const mostLost = 2 * smallCommits.rows;
  const lost: number[] = [];
  let span = 1_500;
  let rounds = 0;
  for (let done = 0; done < kills; rounds++) {
    resetSamples();
    const db = join(base, `round-${rounds}`);
    let isChanged = false;
    for (let inRound = 0; ; inRound++) {
      if (inRound === 2) {
        changeSamples(folder);
        isChanged = true;
      }
      const before = await keysOf(db);
      const { child, opened, ended } = startRun({ db, paths: [folder], limits: smallCommits });
      await opened;
      const start = Date.now();
      const timer = setTimeout(() => child.kill("SIGKILL"), done < kills ? random() * span : 120_000);
      const result = await ended;
      clearTimeout(timer);
      t.not(result.code, 1, `a run ends by itself or by the kill ${result.stderr}`);
      if (result.signal === "SIGKILL") {
        done++;
        const after = await keysOf(db);
        const gone = wanted.filter(({ key }) => before.has(key) && !after.has(key));
        t.equal(gone.length, 0, `no committed row is lost: ${before.size} rows → ${after.size}`);
        lost.push(vectorsOf(result) - [...after].filter((key) => !before.has(key)).length);
        continue;
      }
      if (isChanged) break;
      span = Math.max(300, Date.now() - start);
      changeSamples(folder);
      isChanged = true;
      inRound = 2;
    }
    await prune(db);
    sameRows(t, await storedRows(db), wanted, `round ${rounds}`);
    t.match(await checkOf(db), { ...whole, stale: 0 });
    rmSync(db, { recursive: true });
  }
  const most = Math.max(...lost);
  const mean = lost.reduce((sum, count) => sum + count, 0) / lost.length;
  t.ok(most <= mostLost, `a kill costs at most ${mostLost} vectors`);
  t.ok(
    mean <= smallCommits.rows * 2,
    "on the average a kill costs no more than the batch in hand and the one being written",
  );
  t.comment(
    `${kills} kills in ${rounds} indexes: mean ${mean.toFixed(1)}, most ${most} vectors computed again (batch ${smallCommits.rows})`,
  );
});

t.test("a killed command leaves what it committed, and the same command goes on", async (t) => {
  const wanted = await wantedRows();
  const db = join(base, "command");
  const args = ["index", folder, "--db", db, ...modelFlags, "--quiet"];
  const killAfter = (ms: number) => runKilled(t, args, ms);
  for (const ms of [random() * 300, 300 + random() * 700, 1_000 + random() * 1_000]) await killAfter(ms);
  const last = await gme(args);
  t.equal(last.code, 0, last.stderr);
  sameRows(t, await storedRows(db), wanted, "after three kills");
  const check = await gme(["index", "--db", db, "--check"]);
  t.match(JSON.parse(check.stdout.toString()), { ...whole, stale: 0 });
});

async function runKilled(t: Test, args: readonly string[], ms: number): Promise<void> {
  const { code, signal, stderr } = await gme(args, {
    during: (child) => {
      void sleep(ms).then(() => child.kill("SIGKILL"));
    },
  });
  t.ok(signal === "SIGKILL" || code === 0, `after ${ms.toFixed(0)} ms: ${signal ?? code} ${stderr}`);
}
