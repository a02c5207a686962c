import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root, temporaryFolder } from "../helpers/fixtures";

const script = join(root, "scripts", "gpu-check");
const tool = join(root, "build-cmake", "bin", "gme-tool");
const python = spawnSync("python3", ["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]).status === 0;
const noPython = !python && "python3 is not there, or older than 3.10";

interface Report {
  readonly golden: readonly { title: string; vectors: number; worst: number; passed: boolean }[];
  readonly "2b-f16": readonly { work: string; itemsPerSecond: number; flop: number; stages: { stage: string }[] }[];
  readonly steps: readonly { step: string; state: string }[];
}

t.test(
  "without a card the stand-in device gives the golden vectors and a table",
  { skip: noPython || (!existsSync(tool) && "build-cmake/bin/gme-tool is not built") },
  (t) => {
    const out = temporaryFolder();
    const args = [script, "--dry", "--tool", tool, "--only", "golden,2b-f16", "--out", out, "--budget", "300"];
    const done = spawnSync("python3", args, { encoding: "utf8" });
    t.equal(done.status, 0, done.stderr + done.stdout);
    const report = JSON.parse(readFileSync(join(out, "gpu-check.json"), "utf8")) as Report;
    t.strictSame(
      report.steps.map(({ step, state }) => [step, state]),
      [
        ["build", "done"],
        ["golden", "done"],
        ["2b-f16", "done"],
      ],
    );
    t.ok(report.golden.length >= 3 && report.golden.every(({ passed, vectors }) => passed && vectors > 0));
    for (const { title, vectors, worst } of report.golden)
      t.comment(`${title}: ${vectors} vectors, worst 1 - cosine ${worst.toExponential(1)}`);
    t.strictSame(
      report["2b-f16"].map(({ work }) => work),
      ["texts", "texts", "pictures-256", "pictures-256"],
    );
    for (const { itemsPerSecond, flop, stages } of report["2b-f16"])
      t.ok(itemsPerSecond > 0 && flop > 0 && stages.some(({ stage }) => stage === "decoder.product"));
    t.end();
  },
);

t.test("a step that fails is reported, and ends the command with 1", { skip: noPython }, (t) => {
  const out = temporaryFolder();
  const args = [script, "--dry", "--tool", join(out, "no-tool"), "--only", "golden", "--out", out];
  const done = spawnSync("python3", args, { encoding: "utf8" });
  t.equal(done.status, 1, done.stderr);
  const { steps } = JSON.parse(readFileSync(join(out, "gpu-check.json"), "utf8")) as Report;
  t.match(steps.at(-1), { step: "golden", state: /^failed: / });
  t.end();
});

t.test("what it needs fits into 64 MiB", { skip: noPython }, (t) => {
  const packed = temporaryFolder();
  const done = spawnSync("python3", [script, "--pack", packed], { encoding: "utf8" });
  t.equal(done.status, 0, done.stderr);
  t.comment(done.stdout.trim().replace(packed, "packed"));
  for (const name of ["CMakeLists.txt", "native/engine/gme.h", "vendor/ggml/CMakeLists.txt", "scripts/gpu-check"])
    t.ok(existsSync(join(packed, name)), name);
  t.end();
});
