import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type BenchReport, bundledModelPath, load, roofline } from "../../lib/index";
import { gme } from "../helpers/cli";
import { temporaryFolder } from "../helpers/fixtures";
import { attempts, noVulkan, vulkanEnvironment } from "../helpers/vulkan";
import { rejectsWith } from "../helpers/rejects";

const folder = temporaryFolder();

/** Every number anywhere in the value, with where it stands. */
function numbersIn(value: unknown, at = ""): [string, number][] {
  if (typeof value === "number") return [[at, value]];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, part]) => numbersIn(part, `${at}.${key}`));
}

t.test(
  "gme bench --quick --json measures the bundled model: every field, finite numbers, shares above 0",
  async (t) => {
    const { code, stdout, stderr } = await gme([
      "bench",
      "--quick",
      "--json",
      "--threads",
      "1",
      "--model",
      bundledModelPath,
    ]);
    t.equal(code, 0, stderr);
    const report = JSON.parse(stdout.toString()) as BenchReport;
    for (const [at, number] of numbersIn(report)) t.ok(Number.isFinite(number), `${at} is finite`);
    t.notOk(stdout.includes("null,null"), "no number was lost on the way to JSON");
    t.match(report.machine, { threads: 1, ggml: /^\d+\.\d+/, cpu: /./ });
    t.match(report.model, { name: "emoji-tiny", type: "f16", visionType: "f16" });
    t.ok(report.model.decoderBytes > 1e6 && report.model.visionBytes > 1e6);
    t.equal(report.rounds, 1);
    t.equal(report.rooflines.length, 1);
    t.ok(report.rooflines[0].gflops > 0 && report.rooflines[0].readGigabytesPerSecond > 0);
    t.ok(report.first !== undefined && report.first.milliseconds.min > 0 && report.first.maxRssBytes > 0);
    t.strictSame(
      report.works.map(({ name, items, tokens, imageTokens }) => [name, items, tokens, imageTokens]),
      [
        ["short", 1, 31, 0],
        ["text-254", 1, 254, 0],
        ["batch-8", 8, 8 * 31, 0],
        ["picture-256", 1, report.works[3].tokens, 256],
        ["picture-391", 1, report.works[4].tokens, 391],
      ],
    );
    for (const { name, milliseconds, samples, itemsPerSecond, tokensPerSecond, limit, profile } of report.works) {
      const { min, median, max } = milliseconds;
      t.ok(min > 0 && min <= median && median <= max && samples.length > 0, `${name}: a time`);
      t.ok(itemsPerSecond > 0 && tokensPerSecond > itemsPerSecond, `${name}: rates`);
      t.ok(limit.share > 0 && limit.milliseconds > 0, `${name}: a share of the limit`);
      t.ok(profile.share > 0 && profile.gflop > 0, `${name}: a share of the roofline`);
      const counted = profile.stages.filter(({ gflop }) => gflop > 0);
      t.ok(
        counted.length > 0 && counted.every(({ share }) => share !== null && share > 0),
        `${name}: shares of stages`,
      );
      const sum = profile.stages.reduce((total, stage) => total + stage.milliseconds, profile.otherMilliseconds);
      t.ok(
        Math.abs(sum - profile.milliseconds) < 0.01,
        `${name}: the stages and what lies between them are the whole run`,
      );
    }
    t.equal(report.pictureCost?.pictures.length, 2);
    t.ok(report.memory.peakBytes > report.memory.weightsBytes && report.memory.weightsBytes > 0);
  },
);

t.test(
  "gme bench --synthetic makes the model once in the store, whole or not at all, and prints a table",
  async (t) => {
    const env = { GME_HOME: join(folder, "store") };
    const args = ["bench", "--synthetic", "tiny", "--type", "q8_0", "--quick", "--only", "short", "batch"];
    const runs = [await gme(args, { env }), await gme(args, { env })];
    for (const { code, stdout, stderr } of runs) {
      t.equal(code, 0, stderr);
      t.match(stdout.toString(), /^random-tiny: 0\.\d M parameters, q8_0/);
      t.match(stdout.toString(), /roofline q8_0: [\d.]+ GFLOP\/s/);
      for (const name of ["short", "batch-8", "batch-64"])
        t.match(stdout.toString(), new RegExp(`^${name}\\s+\\d+`, "m"));
      t.match(stdout.toString(), /^memory: peak \d+ MB/m);
    }
    t.strictSame(readdirSync(join(folder, "store", "bench")), ["random-tiny-q8_0-1.gguf"]);
  },
);

t.test("on a device gme bench has the device's roofline, and its stages shares of it", async (t) => {
  const places: [device: string, env: Record<string, string>][] = [["cpu:ggml", {}]];
  if (noVulkan === false) places.push(["vulkan:0", vulkanEnvironment]);
  else t.comment(`not on Vulkan: ${noVulkan}`);
  for (const [device, env] of places) {
    const args = ["bench", "--quick", "--only", "short", "--json", "--device", device, "--model", bundledModelPath];
    let run = await gme(args, { env });
    for (let attempt = 1; run.signal !== null && attempt < attempts; attempt++) {
      t.comment(`the driver's process ended with ${run.signal}, attempt ${attempt} of ${attempts}`);
      run = await gme(args, { env });
    }
    t.equal(run.code, 0, run.stderr);
    const { rooflines, works } = JSON.parse(run.stdout.toString()) as BenchReport;
    t.match(rooflines, [{ device, type: "f16" }]);
    t.ok(rooflines[0].gflops > 0 && rooflines[0].readGigabytesPerSecond > 0, `${device} has a roofline`);
    const { stages, milliseconds } = works[0].profile;
    t.ok(
      stages.some(({ name }) => name === "decoder.product") && stages.some(({ name }) => name === "decoder.attention"),
    );
    for (const { name, gflop, share } of stages.filter(({ gflop }) => gflop > 0))
      t.ok(share !== null && share > 0, `${device}: ${name} has a share, ${gflop.toFixed(3)} GFLOP`);
    // How the call's time is shared out is the machine's affair; that no stage counts it twice is ours.
    const spent = stages.reduce((sum, stage) => sum + stage.milliseconds, 0);
    t.ok(spent > 0 && spent <= milliseconds, `${device}: ${spent} ms of stages in a call of ${milliseconds} ms`);
  }
});

t.test("Ctrl-C ends gme bench with 130", async (t) => {
  // The notice about the bundled model comes when the signals are listened for already.
  const during = (child: ChildProcessWithoutNullStreams) =>
    void child.stderr.once("data", () => setTimeout(() => child.kill("SIGINT"), 1_500));
  const { code, stdout } = await gme(["bench", "--rounds", "1000"], { during });
  t.equal(code, 130);
  t.equal(stdout.length, 0);
});

t.test("profile gives the vectors of embedBatch and where their time went; close() waits for it", async (t) => {
  const model = await load(bundledModelPath, { threads: 1 });
  const inputs = ["a cat", { text: "a dog" }, ...Array.from({ length: 9 }, (_, i) => `text ${i}`)];
  await model.embedBatch(inputs); // what is kept for later calls is there from now on, for both that are compared
  const plain = await model.embedBatch(inputs);
  const running = model.profile(inputs);
  const closed = model.close();
  const { embeddings, stages } = await running;
  t.strictSame(embeddings, plain);
  t.ok(stages.length > 0);
  for (const { name, milliseconds, flop, runs } of stages)
    t.ok(name !== "" && milliseconds >= 0 && flop >= 0 && runs > 0, name);
  t.equal(new Set(stages.map(({ name }) => name)).size, stages.length, "a stage comes once, however many passes");
  await closed;
  await rejectsWith(t, () => model.profile(["late"]), "GME_MODEL_CLOSED");
});

t.test("roofline refuses what cannot be measured, and ends with its signal", async (t) => {
  await rejectsWith(t, () => roofline({ type: "i32", seconds: 0 }), "GME_OPTION_INVALID");
  await rejectsWith(t, () => roofline({ seconds: -1 }), "GME_OPTION_INVALID");
  await rejectsWith(t, () => roofline({ secnods: 1 } as object), "GME_OPTION_INVALID");
  await rejectsWith(t, () => roofline({ seconds: 600, threads: 1, signal: AbortSignal.timeout(200) }), "GME_ABORTED");
});
