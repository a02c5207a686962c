// As use.cjs, as an ES module.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { bundledModelPath, diagnose, load } from "gme-embed";
import { openIndex } from "gme-embed/index";

const model = await load(bundledModelPath, { threads: 2 });
const picture = join(dirname(bundledModelPath), "emoji-tiny", "samples", "bicycle.png");
const vectors = [await model.embed("a red bicycle"), await model.embed({ image: picture })];
await model.close();
const { engine } = await diagnose();
const same = createRequire(import.meta.url)("gme-embed").load === load;
const base64 = vectors.map(({ buffer }) => Buffer.from(buffer).toString("base64"));
console.log(JSON.stringify({ vectors: base64, engine: engine.file, same, index: typeof openIndex }));
