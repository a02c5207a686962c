// Clients of POST /v1/embeddings: so many that each wait for their answer, or requests that come whatever becomes of those before.
import { setMaxListeners } from "node:events";
import { Pool } from "undici";

type TextOf = (n: number) => string;

export interface ClosedLoop {
  readonly rate: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** `clients` connections, each with one request at a time, for so many seconds. Throws where an answer is not 200. */
export async function closedLoop(
  url: string,
  { clients, seconds, textOf }: { clients: number; seconds: number; textOf: TextOf },
): Promise<ClosedLoop> {
  const pool = new Pool(url, { connections: clients });
  const times: number[] = [];
  let n = 0;
  const start = performance.now();
  const client = async () => {
    while (performance.now() - start < seconds * 1000) {
      const { status, ms } = await post(pool, textOf(n++));
      if (status !== 200) throw new Error(`the server answered ${status}`);
      times.push(ms);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  const elapsed = (performance.now() - start) / 1000;
  await pool.close();
  return { rate: times.length / elapsed, p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

export interface OpenLoop {
  readonly sent: number;
  readonly answered: number;
  readonly refused: number;
  /** Neither 200 nor 429 nor 503, or no answer at all. */
  readonly failed: number;
  /** Answers per second after the first `rampSeconds`, when as much is at work at the end as was at the beginning. */
  readonly goodput: number;
  readonly answeredP99: number;
  readonly refusedP50: number;
  readonly refusedP99: number;
}

export interface OpenLoad {
  readonly perSecond: number;
  /** Until the queue is as full as it will be; not counted. */
  readonly rampSeconds: number;
  readonly seconds: number;
  readonly textOf: TextOf;
}

/** So many requests per second, evenly spread; those that are still open at the end are given up. */
export async function openLoop(url: string, { perSecond, rampSeconds, seconds, textOf }: OpenLoad): Promise<OpenLoop> {
  const pool = new Pool(url, { connections: 900 });
  const stop = new AbortController();
  setMaxListeners(0, stop.signal); // one for each request that is open
  const [answered, refused]: number[][] = [[], []];
  let [sent, failed, counted] = [0, 0, 0];
  const from = performance.now() + rampSeconds * 1000;
  const open: Promise<void>[] = [];
  const start = performance.now();
  const send = async (n: number) => {
    try {
      const { status, ms } = await post(pool, textOf(n), stop.signal);
      if (status === 200 && performance.now() >= from) counted++;
      if (status === 200) answered.push(ms);
      else if (status === 429 || status === 503) refused.push(ms);
      else failed++;
    } catch {
      if (!stop.signal.aborted) failed++;
    }
  };
  while (performance.now() - from < seconds * 1000) {
    const due = ((performance.now() - start) / 1000) * perSecond;
    while (sent < due) open.push(send(sent++));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  stop.abort();
  await Promise.all(open);
  await pool.destroy();
  return {
    ...{ sent, failed, answered: answered.length, refused: refused.length, goodput: counted / seconds },
    ...{
      answeredP99: quantile(answered, 0.99),
      refusedP50: quantile(refused, 0.5),
      refusedP99: quantile(refused, 0.99),
    },
  };
}

async function post(pool: Pool, input: string, signal?: AbortSignal): Promise<{ status: number; ms: number }> {
  const start = performance.now();
  const { statusCode, body } = await pool.request({
    method: "POST",
    path: "/v1/embeddings",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ input, model: "gme", encoding_format: "base64" }),
    ...(signal && { signal }),
  });
  await body.dump();
  return { status: statusCode, ms: performance.now() - start };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
