// A thousand mutated models in each run, as many as GME_TEST_LONG says in a long one (GME_TEST_LONG=1: 100,000).
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { GmeError } from "../../lib/index";
import { temporaryFolder } from "../helpers/fixtures";
import { countOpenFiles } from "../lifetime/process-state";
import { randomNumbers } from "../lifetime/native-model";
import { bases, goodFile } from "./gguf-cases";
import { decoderPath, goldenInput, goodVector, loadHostile } from "./gguf-models";
import { mutate } from "./gguf-mutations";
import { sameBits } from "./gguf-refusal";

const long = Number(process.env.GME_TEST_LONG ?? 0);
const count = long === 0 ? 1_000 : long === 1 ? 100_000 : long;
const seed = Number(process.env.GME_TEST_SEED ?? 20_261_124);

const outcomes = new Map<string, number>();

/** "" where the file ends as it must: a typed error, or vectors that are finite and of unit length. */
async function judge(path: string, tower: string | undefined, withPicture: boolean): Promise<string> {
  let outcome = "vector";
  try {
    const model = await loadHostile(path, tower);
    try {
      const vector = await model.embed(withPicture && model.info.vision ? goldenInput : "a photo");
      const norm = Math.hypot(...vector);
      if (!(Math.abs(norm - 1) < 1e-3)) return `a vector of length ${norm}`;
    } finally {
      await model.close();
    }
  } catch (error) {
    if (!(error instanceof GmeError)) return `not a GmeError: ${error}`;
    if (error.code === "GME_INTERNAL" || error.code === "GME_ENGINE_CRASHED") return `${error.code}: ${error.message}`;
    if (/0x[0-9a-f]{6,}/.test(error.message)) return `a pointer in ${error.message}`;
    outcome = error.code;
  }
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  return "";
}

t.test(
  `${count.toLocaleString("en")} mutated models end in a typed error or a finite unit vector`,
  { timeout: 0 },
  async (t) => {
    const folder = temporaryFolder();
    const good = await goodVector();
    const files = countOpenFiles();
    const wrong: string[] = [];
    for (let i = 0; i < count && wrong.length < 10; i++) {
      const random = randomNumbers(seed + i);
      const base = bases[i % bases.length];
      const path = join(folder, "mutated.gguf");
      writeFileSync(path, mutate(random, goodFile(base).tree));
      const reason =
        base === "mmproj" ? await judge(decoderPath, path, true) : await judge(path, undefined, base === "single");
      if (reason !== "") wrong.push(`number ${i} (${base}): ${reason}`);
      if (i % 500 === 499 && !sameBits(await goodVector(), good))
        wrong.push(`after number ${i} the good vector is another one`);
      if (long > 0 && i % 1_000 === 999) t.comment(`${i + 1} files, ${wrong.length} that end otherwise`);
    }
    t.same(wrong, [], "no file ends otherwise");
    t.ok(sameBits(await goodVector(), good), "the good pair gives its vector afterwards");
    // Fewer are no leak: the process closes some of its own within minutes.
    t.ok(countOpenFiles() <= files, `no file stays open: ${countOpenFiles()}, before ${files}`);
    const counts = [...outcomes].sort(([, a], [, b]) => b - a).map(([name, n]) => `${name} ${n}`);
    t.comment(`count malformed-files: ${count}`);
    t.comment(`G (mutations): ${count} files from seed ${seed}: ${counts.join(", ")}`);
  },
);
