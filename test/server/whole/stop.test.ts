// The end of `gme serve`: by a signal, by two, while there is work and while there is none.
import t from "tap";
import { post, serve } from "../../helpers/serve-process";
import { pairPath } from "../../helpers/parity";

const model = ["--model", pairPath("tiny-a"), "--log-level", "error"];
const long = "a word after another ".repeat(700);

t.test(
  "S26 SIGTERM: what runs is finished, what waits gets 503, new connections are refused, exit code 0",
  async (t) => {
    const { url, child, ended } = await serve(t, [...model, "--max-wait", "600"]);
    const ask = (n: number) => post(`${url}/v1/embeddings`, { input: `${n} ${long}`, encoding_format: "base64" });
    const answers = Array.from({ length: 150 }, (_, n) => ask(n).catch((error: Error) => error));
    const first = await Promise.race(answers);
    t.match(first, { status: 200 }, "the server is at work");
    const stopped = performance.now();
    child.kill("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await t.rejects(fetch(`${url}/health`, { headers: { connection: "close" } }), "no new connection");
    const outcomes = await Promise.all(answers);
    const statuses = outcomes.map((outcome) => (outcome instanceof Error ? "lost" : outcome.status));
    t.strictSame(statuses.filter((status) => status !== 200 && status !== 503), [], "200 or 503, nothing else"); // biome-ignore format: one line says it
    const refused = outcomes.filter((outcome) => !(outcome instanceof Error) && outcome.status === 503);
    t.ok(refused.length > 0, `${refused.length} of 150 waited and were refused`);
    for (const answer of refused) {
      t.match(answer, { body: { error: { code: "GME_SERVER_STOPPING", type: "server_error" } } });
      t.ok("headers" in answer && answer.headers.get("retry-after"), "with Retry-After");
    }
    t.equal(await ended, 0, "exit code");
    t.comment(`stopped after ${Math.round(performance.now() - stopped)} ms`);
  },
);

t.test("S26 a second SIGTERM ends at once", async (t) => {
  const { url, child, ended } = await serve(t, [...model, "--max-wait", "600"]);
  const answers = Array.from({ length: 60 }, (_, n) => post(`${url}/v1/embeddings`, { input: `${n} ${long}` }));
  const settled = Promise.allSettled(answers);
  await Promise.race(answers);
  child.kill("SIGTERM");
  await new Promise((resolve) => setTimeout(resolve, 50));
  child.kill("SIGTERM");
  t.ok([0, 143].includes((await ended) as number), "143, or 0 where all was done by then");
  await settled;
});

t.test("without work SIGINT ends it at once, with 0", async (t) => {
  const { child, ended, said } = await serve(t, model);
  const start = performance.now();
  child.kill("SIGINT");
  t.equal(await ended, 0);
  t.ok(performance.now() - start < 5_000);
  t.match(said(), /stopping/);
});
