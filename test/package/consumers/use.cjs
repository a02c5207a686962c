// What a user's CommonJS program does: the demonstration model, a text and a picture. Prints JSON { vectors: [base64], engine }.
const { bundledModelPath, diagnose, load } = require("gme-embed");
const { dirname, join } = require("node:path");

async function main() {
  const model = await load(bundledModelPath, { threads: 2 });
  const picture = join(dirname(bundledModelPath), "emoji-tiny", "samples", "bicycle.png");
  const vectors = [await model.embed("a red bicycle"), await model.embed({ image: picture })];
  await model.close();
  const { engine } = await diagnose();
  const { openIndex } = require("gme-embed/index");
  const same = (await import("gme-embed")).load === load;
  const base64 = vectors.map(({ buffer }) => Buffer.from(buffer).toString("base64"));
  console.log(JSON.stringify({ vectors: base64, engine: engine.file, same, index: typeof openIndex }));
}

main();
