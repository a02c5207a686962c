// The built package under Bun and Deno, where scripts/check-runtimes.mjs has laid them in vendor/runtimes. docs/runtimes.md
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root } from "../helpers/fixtures";

interface Outcome {
  name: string;
  version: string;
  way: string;
  runs: number;
  failures: string[];
  difference: number;
}

const names = ["bun", "deno"].filter((name) => existsSync(join(root, "vendor", "runtimes", name)));
const skip = names.length === 0 && "neither is in vendor/runtimes: node scripts/check-runtimes.mjs fetches them";

t.test(
  "texts and pictures get Node's vectors, errors its codes, and the process ends with code 0",
  { skip },
  async (t) => {
    const args = [join(root, "scripts", "check-runtimes.mjs"), "--no-fetch", "--runs", "1"];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 240_000, cwd: root });
    t.equal(stderr, "");
    const outcomes: Outcome[] = JSON.parse(stdout.trim().split("\n").at(-1) ?? "[]");
    t.equal(outcomes.length, names.length * 2, "in process and isolated");
    for (const { version, way, failures, difference } of outcomes) {
      t.strictSame(failures, [], `${version}, ${way}`);
      t.ok(difference <= 1e-6, `${version}, ${way}: ${difference}`);
    }
  },
);
