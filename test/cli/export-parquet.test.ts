import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { temporaryFolder } from "../helpers/fixtures";
import { entries } from "./export-entries";

const folder = temporaryFolder();

interface Result {
  error?: string;
  groups: number[];
  rows: (Record<string, unknown> & { embedding: number[] })[];
}

function run(mode: string, path: string): Result {
  const { NODE_OPTIONS, ...env } = process.env;
  const loader = ["--import", pathToFileURL(require.resolve("tsx")).href];
  const args = [...loader, join(__dirname, "children", "parquet.ts"), mode, path];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8", maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

function sorted(row: Record<string, unknown>): [string, unknown][] {
  return Object.entries(row).sort(([a], [b]) => a.localeCompare(b));
}

t.test("parquet is read back as it was, in groups of rows", async (t) => {
  const { groups, rows } = run("all", join(folder, "rows.parquet"));
  t.strictSame(groups, [1000, 1000, 500]);
  t.equal(rows.length, entries.length);
  for (const i of [0, 1, 2, 1_001, 2_499]) {
    const { embedding, ...rest } = rows[i];
    t.strictSame(embedding, Array.from(entries[i].embedding ?? []), `row ${i}: vector`);
    const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null));
    const { embedding: _, mtime, time, ...plain } = entries[i];
    const wanted: Record<string, unknown> = { ...plain, time: new Date(time).toISOString() };
    if (mtime !== undefined) wanted.mtime = new Date(Math.trunc(mtime)).toISOString();
    t.strictSame(sorted(given), sorted(wanted), `row ${i}: the rest`);
  }
});

t.test("an index without rows gives a file without rows", async (t) => {
  t.strictSame(run("none", join(folder, "none.parquet")), { groups: [], rows: [] });
});

t.test("a file appears whole or not at all, and one that cannot be written is an error", async (t) => {
  const place = join(folder, "whole");
  mkdirSync(place);
  writeFileSync(join(place, "a.parquet"), "before");
  t.equal(run("broken", join(place, "a.parquet")).error, "GME_STORE_CORRUPT");
  t.equal(readFileSync(join(place, "a.parquet"), "utf8"), "before");
  t.strictSame(readdirSync(place), ["a.parquet"], "nothing else is left");
  t.equal(run("all", join(folder, "nowhere", "x")).error, "GME_IO_ERROR");
  t.equal(run("all", folder).error, "GME_IO_ERROR", "a folder");
});
