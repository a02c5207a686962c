import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import t from "tap";
import { childSetup, itemsFor, open, randomNumbers } from "./native-model";

const script = join(__dirname, "children", "end-of-process.cjs");
let env: NodeJS.ProcessEnv;

interface End {
  code: number | null;
  signal: NodeJS.Signals | null;
  output: string;
  milliseconds: number;
}

async function run(how: string, delay = 0): Promise<End> {
  const start = performance.now();
  const child: ChildProcess = spawn(process.execPath, [script, how, String(delay)], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout?.on("data", (data) => {
    output += data;
  });
  child.stderr?.on("data", (data) => {
    output += data;
  });
  const watchdog = setTimeout(() => child.kill("SIGKILL"), 10_000);
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  clearTimeout(watchdog);
  return { code, signal, output, milliseconds: performance.now() - start };
}

t.before(async () => {
  const model = await open();
  const items = await itemsFor(model, 400);
  await model.close();
  env = { ...process.env, NODE_OPTIONS: "", GME_CHILD_SETUP: childSetup(items.length) };
});

t.test("L08 process.exit() during embed() keeps its exit code", async (t) => {
  const random = randomNumbers(8);
  for (let round = 0; round < 10; round++) {
    const end = await run(round % 2 === 0 ? "exit" : "exit-in-callback", random() * 60);
    t.match(end, { code: 7, signal: null }, end.output);
    t.ok(end.milliseconds < 6000, `${end.milliseconds.toFixed(0)} ms`);
  }
});

t.test("L08 process.exit() while a model loads keeps its exit code", async (t) => {
  const random = randomNumbers(9);
  for (let round = 0; round < 5; round++) {
    const end = await run("exit-while-loading", random() * 10);
    t.match(end, { code: 7, signal: null }, end.output);
  }
});

t.test("L08 an uncaught exception during embed() ends with code 1", async (t) => {
  for (let round = 0; round < 3; round++) {
    const end = await run("throw", round * 15);
    t.match(end, { code: 1, signal: null, output: /uncaught on purpose/ });
  }
});

t.test("L08 SIGTERM during embed() ends the process", { skip: process.platform === "win32" }, async (t) => {
  t.match(await run("signal", 20), { code: null, signal: "SIGTERM" });
});

t.test("L09 an open model that does nothing does not keep the process alive", async (t) => {
  t.match(await run("natural"), { code: 0, signal: null });
  t.match(await run("natural-after-embed"), { code: 0, signal: null, output: /embedded/ });
});

t.test("L09 a running embed() keeps the process alive until its promise settles", async (t) => {
  t.match(await run("pending"), { code: 0, signal: null, output: /embedded/ });
});
