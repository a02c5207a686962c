// The engine's process dies or hangs under `gme serve`, as its clients see it.
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { pairPath } from "../../helpers/parity";
import { type Answer, post, type ServeProcess, serve } from "../../helpers/serve-process";

const model = ["--model", pairPath("tiny-a"), "--max-wait", "600", "--log-level", "error"];
const long = "a word after another ".repeat(300);

/** The engine's process of a server, as the system knows it. */
function enginePid({ child }: ServeProcess): number | undefined {
  for (const name of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [, state, parent] = /\) (\S) (\d+)/.exec(readFileSync(`/proc/${name}/stat`, "utf8")) ?? [];
      const isEngine = readFileSync(`/proc/${name}/cmdline`, "utf8").includes("engine-host");
      if (isEngine && Number(parent) === child.pid && state !== "Z") return Number(name);
    } catch {} // it has just ended
  }
  return undefined;
}

const ask = (server: ServeProcess, input: string): Promise<Answer> =>
  post(`${server.url}/v1/embeddings`, { input, encoding_format: "base64" });

async function health({ url }: ServeProcess): Promise<number> {
  return (await fetch(`${url}/health`)).status;
}

/** Milliseconds until a condition holds. */
async function until(holds: () => Promise<boolean>, mostMs: number): Promise<number> {
  const start = performance.now();
  while (!(await holds()) && performance.now() - start < mostMs) await sleep(20);
  return performance.now() - start;
}

const skip = process.platform === "linux" ? false : "finds the engine's process in /proc";

for (const signal of ["SIGKILL", "SIGABRT", "SIGSEGV"] as const) {
  t.test(`S27 ${signal} under load: 503 for what was with it, and it answers again`, { skip }, async (t) => {
    const server = await serve(t, model);
    t.equal((await ask(server, "first")).status, 200);
    const answers = Array.from({ length: 80 }, (_, i) => ask(server, `${i} ${long}`));
    await Promise.race(answers);
    process.kill(enginePid(server) as number, signal);
    const outcomes = await Promise.all(answers);
    const refused = outcomes.filter(({ status }) => status === 503);
    t.strictSame([...new Set(outcomes.map(({ status }) => status))].sort(), [200, 503], "200 or 503, nothing else");
    t.ok(refused.length < 80, `${refused.length} of 80 were with it or came while it was down`);
    for (const { body, headers } of refused) {
      t.match(body, { error: { code: "GME_ENGINE_RESTARTED", type: "server_error" } });
      t.ok(headers.get("retry-after"));
    }
    const back = await until(async () => (await ask(server, "again")).status === 200, 20_000);
    t.ok(back < 10_000, `an answer ${Math.round(back)} ms later`);
    t.equal(await health(server), 200, "S29 healthy again");
    const line = server.said().split("\n").find((text) => text.includes("the engine's process ended")); // biome-ignore format: one line says it
    t.match(
      JSON.parse(line as string),
      { crash: { digests: [/^[0-9a-f]{16,64}$/] } },
      "the log has the items' digests",
    );
    t.notMatch(server.said(), /a word after another/, "and not their texts");
  });
}

t.test("S28 an engine that hangs is seen within seconds, and healthy once it goes on", { skip }, async (t) => {
  const server = await serve(t, model);
  await until(async () => (await health(server)) === 200, 10_000);
  const pid = enginePid(server) as number;
  process.kill(pid, "SIGSTOP");
  const seen = await until(async () => (await health(server)) === 503, 20_000);
  t.ok(seen < 10_000, `/health is 503 after ${Math.round(seen)} ms; 5 s on a machine with nothing else to do`);
  t.match(await ask(server, "meanwhile"), { status: 503, body: { error: { code: "GME_ENGINE_RESTARTED" } } });
  process.kill(pid, "SIGCONT");
  const back = await until(async () => (await health(server)) === 200, 20_000);
  t.ok(back < 15_000, `/health is 200 ${Math.round(back)} ms after it goes on`);
  t.equal((await ask(server, "after")).status, 200);
});
