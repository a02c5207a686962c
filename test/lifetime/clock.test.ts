// Time that stands still for a while, and a clock that jumps.
import t from "tap";
import { runChild } from "./child";
import { childSetup, wait } from "./native-model";
import { preloaded } from "./preloaded";
import { isSanitized, rounds } from "./rounds";

const skip = process.platform !== "linux" && "needs Linux";

interface Report {
  calls: number;
  wrong: number;
  days: number;
}

t.test(
  "L22 a process stopped and continued in the middle of embed() goes on with the right vectors",
  { skip },
  async (t) => {
    const stops = rounds(10, 100);
    let done = 0;
    const end = await runChild("long-work.cjs", [Math.max(2000, stops * 60)], {
      setup: childSetup(40),
      patience: 120_000,
      onOutput: (text, pid) => {
        if (!text.includes("started")) return;
        void (async () => {
          for (; done < stops; done++) {
            process.kill(pid, "SIGSTOP");
            await wait(25);
            process.kill(pid, "SIGCONT");
            await wait(20);
          }
        })().catch(() => undefined); // the child has ended
      },
    });
    t.match(end, { code: 0, signal: null }, end.output);
    const { calls, wrong } = JSON.parse(end.output.trim().split("\n").at(-1) as string) as Report;
    t.equal(wrong, 0);
    t.ok(calls > 1 && done > 2, `${calls} calls, ${done} stops`);
    t.comment(`L22: ${done} × SIGSTOP and SIGCONT during ${calls} calls: ${wrong} wrong vectors`);
  },
);

t.test(
  "L22 a wall clock that jumps by a day at every look changes nothing",
  { skip: skip || (isSanitized && "two preloaded libraries") },
  async (t) => {
    const end = await runChild("long-work.cjs", [1000], {
      setup: childSetup(8),
      env: { LD_PRELOAD: preloaded("jumping-clock") },
      patience: 120_000,
    });
    t.match(end, { code: 0, signal: null }, end.output);
    const { calls, wrong, days } = JSON.parse(end.output.trim().split("\n").at(-1) as string) as Report;
    t.ok(days > 0, "the clock does jump");
    t.equal(wrong, 0);
    t.comment(
      `L22: the clock jumped a day ${days} times in ${days} pairs of looks during ${calls} calls, loads and closes: ${wrong} wrong vectors`,
    );
  },
);
