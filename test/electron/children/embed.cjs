// Embeds a text and a picture with the built package, and prints the vectors as JSON; argv: the control addon, or nothing.
const { join } = require("node:path");
const { bundledModelPath, load } = require("../../../dist/index.js");

const [control] = process.argv.slice(2);
const image = join(__dirname, "..", "..", "..", "models", "emoji-tiny", "samples", "bicycle.png");

async function embed() {
  const status = control === undefined ? undefined : require(control).status;
  const model = await load(bundledModelPath, { threads: 1 });
  const vectors = await model.embedBatch(["a bicycle", { image }, { text: "a bicycle", image }]);
  const stages = (await model.inspectStages("a")).length;
  await model.close();
  return { status, stages, vectors: vectors.map((vector) => Array.from(vector)) };
}

embed().then((report) => console.log(JSON.stringify(report)));
