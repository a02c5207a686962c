// Conversions that are killed at random moments. GME_TEST_KILLS sets how many.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import t from "tap";
import { convert } from "../../lib/index";
import { root, temporaryFolder } from "../helpers/fixtures";

const kills = Number(process.env.GME_TEST_KILLS ?? 15);
const folder = temporaryFolder();
const loader = ["--import", pathToFileURL(require.resolve("tsx")).href];

function digest(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

/** Kills a conversion `killAfter` ms after its first bytes; undefined: lets it end. The time from the first bytes to the end, in ms. */
async function run(source: string, target: string, type: string, killAfter?: number): Promise<number> {
  const args = [...loader, join(__dirname, "children", "convert.ts"), source, target, type];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "close");
  await once(child.stdout, "data");
  const start = performance.now();
  if (killAfter !== undefined) {
    await Promise.race([sleep(killAfter), ended]);
    child.kill("SIGKILL");
  }
  await ended;
  return performance.now() - start;
}

t.test(
  `after ${kills} kills the targets were always absent or whole, and the next run clears what was left`,
  async (t) => {
    const source = join(folder, "source.gguf");
    const script = join(root, "scripts", "make-model.ts");
    execFileSync(process.execPath, [...loader, script, "--shape", "tiny-full-vocab", "--out", source]);
    const reference = join(folder, "reference");
    mkdirSync(reference);
    const duration = await run(source, join(reference, "m.gguf"), "q8_0");
    const names = readdirSync(reference).sort();
    t.same(names, ["m.gguf", "mmproj-m.gguf"]);
    const digests = new Map(names.map((name) => [name, digest(join(reference, name))]));
    const counts = { absent: 0, whole: 0, leftovers: 0 };
    const place = join(folder, "killed");
    mkdirSync(place);
    for (let i = 0; i < kills; i++) {
      const at = join(place, String(i));
      mkdirSync(at);
      await run(source, join(at, "m.gguf"), "q8_0", Math.random() * duration);
      const hidden = readdirSync(at).filter((name) => name.endsWith(".part"));
      for (const [name, expected] of digests) {
        const isThere = existsSync(join(at, name));
        counts[isThere ? "whole" : "absent"]++;
        if (isThere && digest(join(at, name)) !== expected) t.fail(`${name} is there, but not whole`);
      }
      if (existsSync(join(at, "m.gguf"))) t.ok(existsSync(join(at, "mmproj-m.gguf")), "no decoder without its tower");
      counts.leftovers += hidden.length;
      await convert({ source, target: join(at, "m.gguf"), type: "q8_0", split: true, force: true });
      t.same(readdirSync(at).sort(), names, "nothing is left over");
      t.same(names.map((name) => digest(join(at, name))), [...digests.values()]); // biome-ignore format: one line says it
    }
    t.ok(counts.leftovers > 0, "some were killed while they wrote");
    t.comment(`${counts.absent} absent, ${counts.whole} whole, ${counts.leftovers} hidden files left and cleared`);
  },
);
