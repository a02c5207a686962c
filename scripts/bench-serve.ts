// What the server costs over the engine, and what it does under more load than it can bear.
//
//   npx tsx scripts/bench-serve.ts [--shape 2b] [--type q8_0] [--rounds 3] [--seconds 60] [--only clients|overload|stub]
//
// clients:  the engine's own rate (embedMany of an isolated model, batches of 64) and the rate of 64 clients with one text per request,
//           alternating; min / median / max.
// overload: requests at 0.5, 1, 2, 4 and 10 times the measured rate, each for --seconds: answers per second, refusals and how fast they
//           came, memory of the server's process. With --threads the engine leaves processors to the server and to who asks.
// stub:     the server alone: vectors of 1,536 numbers that cost nothing.
import { parseArgs } from "node:util";
import { benchModel, type BenchShape, type ConvertType, load } from "../lib";
import { spreadOf, showSpread } from "./bench-peers/spread";
import { closedLoop, openLoop } from "./bench-serve/load";
import { startServerProcess } from "./bench-serve/server-process";

const { values } = parseArgs({
  options: {
    shape: { type: "string", default: "2b" },
    type: { type: "string", default: "q8_0" },
    rounds: { type: "string", default: "3" },
    seconds: { type: "string", default: "60" },
    clients: { type: "string", default: "64" },
    times: { type: "string", default: "0.5,1,2,4,10" },
    only: { type: "string" },
    threads: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const clients = Number(values.clients);
const wants = (part: string) => values.only === undefined || values.only === part;

/** Some thirty tokens, no two alike. */
const textOf = (n: number) =>
  `the ${n}th sentence about a harbour in the evening, its boats, and what the tide left behind`;

async function engineRate(model: string): Promise<number> {
  const engine = await load(model, { isolate: true });
  let done = 0;
  await engine.embed("warm");
  const start = performance.now();
  const isOver = () => performance.now() - start > seconds * 1000;
  const texts = function* () {
    for (let n = 0; !isOver() || n % clients !== 0; n++) yield textOf(n);
  };
  for await (const { error } of engine.embedMany(texts(), { batchSize: clients })) if (error === undefined) done++;
  const rate = done / ((performance.now() - start) / 1000);
  await engine.close();
  return rate;
}

async function clientsRate(model: string): Promise<number> {
  const server = await startServerProcess(["--model", model]);
  try {
    await closedLoop(server.url, { clients: 1, seconds: 1, textOf }); // warm
    return (await closedLoop(server.url, { clients, seconds, textOf })).rate;
  } finally {
    await server.stop();
  }
}

async function compareClients(model: string): Promise<void> {
  const [alone, served]: number[][] = [[], []];
  for (let round = 0; round < Number(values.rounds); round++) {
    // By turns who is first: a machine that warms up or is used by others meanwhile would favour one of them.
    const measures = [
      async () => void alone.push(await engineRate(model)),
      async () => void served.push(await clientsRate(model)),
    ];
    for (const measure of round % 2 === 0 ? measures : measures.reverse()) await measure();
    console.log(
      `round ${round + 1}: engine ${alone[round].toFixed(2)}, ${clients} clients ${served[round].toFixed(2)} texts/s`,
    );
  }
  const overheads = alone.map((rate, i) => (1 - served[i] / rate) * 100);
  console.log(`engine alone      ${showSpread(spreadOf(alone), 2)} texts/s`);
  console.log(`${clients} clients        ${showSpread(spreadOf(served), 2)} texts/s`);
  console.log(`overhead          ${showSpread(spreadOf(overheads), 1)} %`);
}

async function overload(model: string): Promise<void> {
  const server = await startServerProcess([
    "--model",
    model,
    ...(values.threads === undefined ? [] : ["--threads", values.threads]),
  ]);
  try {
    const { rate: capacity } = await closedLoop(server.url, { clients, seconds, textOf });
    console.log(`capacity ${capacity.toFixed(2)} texts/s with ${clients} clients`);
    for (const times of values.times.split(",").map(Number)) {
      const before = server.memory();
      const run = await openLoop(server.url, { perSecond: capacity * times, rampSeconds: 40, seconds, textOf });
      const growth = (server.memory() - before) / 2 ** 20;
      const goodput = (100 * run.goodput) / Math.min(capacity, capacity * times);
      console.log(
        `${times}x: ${run.sent} sent, ${run.answered} answered (goodput ${goodput.toFixed(1)} % of what was possible, p99 ${run.answeredP99.toFixed(0)} ms), ` +
          `${run.refused} refused (p50 ${run.refusedP50.toFixed(1)}, p99 ${run.refusedP99.toFixed(1)} ms), ${run.failed} failed, memory ${growth.toFixed(1)} MiB more`,
      );
    }
  } finally {
    await server.stop();
  }
}

async function stub(): Promise<void> {
  const server = await startServerProcess(undefined);
  try {
    await closedLoop(server.url, { clients: 100, seconds: 3, textOf });
    const run = await closedLoop(server.url, { clients: 100, seconds, textOf });
    const memory = server.memory() / 2 ** 20;
    console.log(
      `stub engine, 100 connections: ${run.rate.toFixed(0)} requests/s, p50 ${run.p50.toFixed(1)}, p99 ${run.p99.toFixed(1)} ms, memory ${memory.toFixed(0)} MiB`,
    );
  } finally {
    await server.stop();
  }
}

async function main(): Promise<void> {
  if (wants("stub")) await stub();
  if (!wants("clients") && !wants("overload")) return;
  const model = await benchModel(values.shape as BenchShape, { type: values.type as ConvertType });
  if (wants("clients")) await compareClients(model);
  if (wants("overload")) await overload(model);
}

void main();
