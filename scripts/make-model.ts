// Makes a GGUF model of random weights, for tests and measurements that need a size but no meaning. The same seed gives the same bytes.
//
//   npx tsx scripts/make-model.ts --shape tiny|tiny-full-vocab|2b|7b [--type f16|q8_0|q4_0|…] [--seed N] [--force] --out F
//
// The tokenizer is the fixtures': Qwen2's whole one, or tiny-a's. `gme bench --synthetic` makes the same weights with the demonstration model's.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fileTypes, type NumberType } from "../lib/convert/model-metadata";
import { type SyntheticShape, syntheticShapes, writeSyntheticModel } from "../lib/convert/synthetic-model";

const fixtures = join(__dirname, "..", "test", "fixtures");

async function makeModel(shape: SyntheticShape, type: NumberType, target: string, seed: number, force: boolean) {
  const tokenizer =
    shape === "tiny"
      ? { tokenizer: join(fixtures, "checkpoints", "tiny-a"), vocabulary: 2_272 }
      : { tokenizer: join(fixtures, "tokenizer") };
  const start = performance.now();
  const { parameters, bytes } = await writeSyntheticModel({ shape, type, target, seed, force, ...tokenizer });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${target}: ${parameters.toLocaleString("en")} parameters, ${bytes.toLocaleString("en")} bytes, ${seconds} s`,
  );
}

const { values } = parseArgs({
  options: {
    shape: { type: "string" },
    type: { type: "string", default: "f16" },
    out: { type: "string" },
    seed: { type: "string", default: "1" },
    force: { type: "boolean", default: false },
  },
});
const { shape = "", type, out, seed, force } = values;
if (
  !syntheticShapes.includes(shape as SyntheticShape) ||
  !Object.hasOwn(fileTypes, type) ||
  !out ||
  !/^\d{1,9}$/.test(seed)
) {
  console.error(
    `--shape ${syntheticShapes.join("|")} --type ${Object.keys(fileTypes).join("|")} --out F [--seed N] [--force]`,
  );
  process.exit(2);
}
makeModel(shape as SyntheticShape, type as NumberType, out, Number(seed), force).catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
