// Run by Node, Bun or Deno: loads the demonstration model through the built package, embeds a text, a picture and both, closes, and
// prints one line of JSON. scripts/check-runtimes.mjs compares the lines.
//
//   RUNTIME scripts/runtime-smoke.cjs [isolate]
const { join } = require("node:path");
const { bundledModelPath, load } = require("../dist/index.js");

const picture = join(__dirname, "..", "models", "emoji-tiny", "samples", "bicycle.png");

async function smoke() {
  const model = await load(bundledModelPath, { threads: 1, isolate: process.argv[2] === "isolate" });
  const inputs = ["a red bicycle", { image: picture }, { text: "a bicycle", image: picture }];
  const vectors = await model.embedBatch(inputs);
  const refused = await model.embed({ image: join(__dirname, "missing.png") }).catch((error) => error.code);
  const aborted = await model.embed("a cat", { signal: AbortSignal.abort() }).catch((error) => error.code);
  await model.close();
  return { vectors: vectors.map((vector) => Array.from(vector)), refused, aborted };
}

smoke().then((report) => console.log(JSON.stringify(report)));
