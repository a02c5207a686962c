// What a stopped `gme index` leaves: everything that has its vector is committed, no process and no lock stays, the next run goes on.
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { command, jsonLines } from "../helpers/cli";
import { temporaryFolder } from "../helpers/fixtures";
import { checkOf, modelFlags, samplePictures, storedRows, whole } from "./index-setup";

const base = temporaryFolder();
const table = join(base, "rows.jsonl");
/** Some ten seconds of work, and far less than one commit of it before the signal. */
const rowCount = 800;
const pictures = readdirSync(samplePictures).sort();
writeFileSync(
  table,
  Array.from({ length: rowCount }, (_, i) => {
    const image = join(relative(base, samplePictures), pictures[i % pictures.length]);
    return `${JSON.stringify({ text: `number ${i}`, image })}\n`;
  }).join(""),
);

interface Command {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

function startCommand(args: readonly string[], options: SpawnOptions = {}): Command {
  const child = spawn(process.execPath, [...command, ...args], {
    env: { ...process.env, GME_THREADS: "1" },
    stdio: ["ignore", "pipe", "pipe"],
    ...options,
  });
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (data) => {
    stdout += data;
  });
  child.stderr?.on("data", (data) => {
    stderr += data;
  });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  return { child, output: () => stdout, stderr: () => stderr, ended };
}

const lastEmbedded = (output: string) => Number([...output.matchAll(/"embedded":(\d+)/g)].at(-1)?.[1] ?? 0);

async function untilEmbedded({ output, ended }: Command, count: number): Promise<void> {
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  while (lastEmbedded(output()) < count && !isOver) await sleep(20);
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

/** A process that was taken over by init and not waited for yet is dead as well. */
function isAlive(pid: number): boolean {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "latin1");
    return line.slice(line.lastIndexOf(")") + 2)[0] !== "Z";
  } catch {
    return false;
  }
}

const onLinux = process.platform === "linux" ? {} : { skip: "reads /proc" };
const indexArgs = (db: string) => ["index", table, "--db", db, ...modelFlags, "--json"];

const stops: { signal: NodeJS.Signals; code: number; toGroup: boolean }[] = [
  { signal: "SIGINT", code: 130, toGroup: false },
  { signal: "SIGINT", code: 130, toGroup: true },
  { signal: "SIGTERM", code: 143, toGroup: false },
  { signal: "SIGHUP", code: 129, toGroup: false },
  { signal: "SIGHUP", code: 129, toGroup: true },
];

for (const { signal, code, toGroup } of stops) {
  const title = `${signal} ${toGroup ? "to the process group" : "to the command"} stops it within 5 s with what it embedded`;
  t.test(title, onLinux, async (t) => {
    const db = join(base, `${signal}-${toGroup}`);
    const command = startCommand(indexArgs(db), { detached: toGroup });
    await untilEmbedded(command, 20);
    const pid = command.child.pid as number;
    const engines = childrenOf(pid).filter((child) => readFileSync(`/proc/${child}/cmdline`, "utf8").includes("engine-host")); // biome-ignore format: one line says it
    t.equal(engines.length, 1, "the engine is a child");
    const embedded = lastEmbedded(command.output());
    const start = Date.now();
    process.kill(toGroup ? -pid : pid, signal);
    const result = await command.ended;
    t.strictSame(result, { code, signal: null }, command.stderr());
    t.ok(Date.now() - start <= 5_000, `ends after ${Date.now() - start} ms`);
    t.match(command.stderr(), "what was embedded is kept");
    const rows = await storedRows(db);
    t.ok(rows.length >= embedded && rows.length < rowCount, `${rows.length} rows, ${embedded} embedded at the signal`);
    t.notOk(engines.some(isAlive), "no orphan engine");
    t.notOk(existsSync(join(db, "writer.lock")), "no lock is left");

    const next = startCommand(indexArgs(db));
    await untilEmbedded(next, 1);
    next.child.kill(signal);
    await next.ended;
    const more = await storedRows(db);
    t.ok(more.length > rows.length, "the next run goes on");
    t.strictSame(
      rows.filter(({ key }) => !more.some((row) => row.key === key)),
      [],
      "from what is there",
    );
    t.match(await checkOf(db), { duplicates: 0, bad: 0 });
  });
}

t.test("SIGKILL of the command ends its engine too", onLinux, async (t) => {
  const command = startCommand(indexArgs(join(base, "killed")));
  await untilEmbedded(command, 20);
  const engines = childrenOf(command.child.pid as number);
  command.child.kill("SIGKILL");
  await command.ended;
  const start = Date.now();
  while (engines.some(isAlive) && Date.now() - start < 5_000) await sleep(20);
  t.ok(engines.length > 0 && !engines.some(isAlive), "the engine is gone");
});

t.test("a command whose stdout and stderr are closed indexes all the same", async (t) => {
  for (const flags of [["--json"], []]) {
    const db = join(base, `closed-${flags.length}`);
    const args = ["index", samplePictures, "--db", db, ...modelFlags, ...flags];
    const command = startCommand(args);
    command.child.stdout?.once("data", () => command.child.stdout?.destroy()); // as `| head -1` does
    if (flags.length === 0) command.child.stderr?.destroy();
    const { code, signal } = await command.ended;
    t.equal(signal, null);
    t.ok(code === 0, `exit code ${code}`);
    t.equal((await storedRows(db)).length, pictures.length, "every picture is indexed");
    t.match(await checkOf(db), whole);
  }
});

t.test("without a terminal, progress is lines without control characters", async (t) => {
  const db = join(base, "no-terminal");
  const command = startCommand(["index", samplePictures, "--db", db, ...modelFlags]);
  t.strictSame(await command.ended, { code: 0, signal: null });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  t.notMatch(command.output() + command.stderr(), /[\x00-\x09\x0b-\x1f\x7f]/);
  const json = startCommand(["index", samplePictures, "--db", db, ...modelFlags, "--json"]);
  await json.ended;
  t.match(jsonLines(Buffer.from(json.output())).at(-1), { type: "summary", unchanged: pictures.length });
});
