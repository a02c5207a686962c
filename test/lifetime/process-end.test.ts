import t, { type Test } from "tap";
import { type ChildEnd, runChild } from "./child";
import { childSetup, itemsFor, open, randomNumbers } from "./native-model";
import { isSanitized, quantile, rounds } from "./rounds";

let setup: string;

t.before(async () => {
  const model = await open();
  const items = await itemsFor(model, 400);
  await model.close();
  setup = childSetup(items.length);
});

/** Ends a child during an embed(): `how` as in children/end-of-process.cjs. Time counts from the moment it ends itself. */
async function run(how: string, delay = 0): Promise<ChildEnd & { toEnd: number }> {
  let asked = Number.NaN;
  const end = await runChild("end-of-process.cjs", [how, delay], {
    setup,
    onOutput: (text) => {
      if (text.includes("ending")) asked = performance.now();
    },
  });
  return { ...end, toEnd: performance.now() - asked };
}

interface Expected {
  code: number | null;
  signal: NodeJS.Signals | null;
  output?: RegExp;
}

/** The row's counts: each way to end `count` times at random moments, with its exit code and within two seconds. */
async function endsAs(t: Test, how: string, longest: number, count: number, expected: Expected): Promise<void> {
  const random = randomNumbers(how.length);
  const times: number[] = [];
  let asExpected = 0;
  for (let round = 0; round < count; round++) {
    const end = await run(how, random() * longest);
    const matches =
      end.code === expected.code && end.signal === expected.signal && (expected.output?.test(end.output) ?? true);
    if (matches) asExpected++;
    else t.fail(`${how}: ${end.code} ${end.signal}`, { output: end.output });
    times.push(end.toEnd);
  }
  t.equal(asExpected, count, `${how}: ${count} times the expected end`);
  const slowest = Math.max(...times);
  t.ok(slowest < (isSanitized ? 30_000 : 2000), `${how}: ended after ${slowest.toFixed(0)} ms at most`);
  const means = expected.signal ?? `exit code ${expected.code}`;
  t.comment(
    `L08: ${how} ×${count}: ${means} ${asExpected} times, ${quantile(times, 0.5).toFixed(0)} ms (median), ${slowest.toFixed(0)} ms (worst) to the end`,
  );
}

const count = rounds(5, 200);
const windows = process.platform === "win32";

t.test("L08 process.exit() during embed() keeps its exit code", async (t) => {
  await endsAs(t, "exit", 60, count, { code: 7, signal: null });
  await endsAs(t, "exit-in-callback", 60, count, { code: 7, signal: null });
});

t.test("L08 process.exit() while a model loads keeps its exit code", (t) =>
  endsAs(t, "exit-while-loading", 10, count, { code: 7, signal: null }),
);

t.test("L08 an uncaught exception during embed() ends with code 1", (t) =>
  endsAs(t, "throw", 60, count, { code: 1, signal: null, output: /uncaught on purpose/ }),
);

t.test("L08 SIGTERM and SIGINT during embed() end the process", { skip: windows && "no signals" }, async (t) => {
  await endsAs(t, "SIGTERM", 60, count, { code: null, signal: "SIGTERM" });
  await endsAs(t, "SIGINT", 60, count, { code: null, signal: "SIGINT" });
});

t.test("L09 an open model that does nothing does not keep the process alive", async (t) => {
  const times = [];
  for (const how of ["natural", "natural-after-embed"]) {
    const end = await run(how);
    t.match(end, { code: 0, signal: null }, end.output);
    if (how !== "natural") t.match(end.output, /embedded/);
    times.push(end.milliseconds);
  }
  t.comment(
    `L09: exit code 0 without close(), ${times.map((time) => time.toFixed(0)).join(" and ")} ms for the whole process`,
  );
});

t.test("L09 a running embed() keeps the process alive until its promise settles", async (t) => {
  t.match(await run("pending"), { code: 0, signal: null, output: /embedded/ });
});
