import { join } from "node:path";
import t from "tap";
import { convert, cosine, load } from "../../lib/index";
import { fixture, temporaryFolder } from "../helpers/fixtures";

const folder = temporaryFolder();
const samples = join(__dirname, "..", "..", "models", "emoji-tiny", "samples");
const names = ["airplane", "banana", "cat face", "guitar", "key", "rose", "pizza", "umbrella", "books", "castle"];

/** Captions, pictures and both together. */
const inputs = names.flatMap((text) => {
  const image = join(samples, `${text.replaceAll(" ", "-")}.png`);
  return [text, { image }, { text, image }];
});

async function vectorsOf(type: "f32" | "q8_0"): Promise<Float32Array[]> {
  const target = join(folder, `${type}.gguf`);
  await convert({ source: fixture("checkpoints", "emoji-tiny"), target, type });
  const model = await load(target, { threads: 1 });
  const vectors = await model.embedBatch(inputs);
  await model.close();
  return vectors;
}

t.test("the trained demonstration model in q8_0 keeps a mean cosine of 0.999 to f32", async (t) => {
  const [exact, quantised] = [await vectorsOf("f32"), await vectorsOf("q8_0")];
  const cosines = quantised.map((vector, i) => cosine(vector, exact[i]));
  const mean = cosines.reduce((sum, value) => sum + value, 0) / cosines.length;
  t.ok(mean >= 0.999, `mean ${mean}`);
  t.ok(mean < 0.9999999, "the file is quantised indeed");
  t.ok(Math.min(...cosines) >= 0.99, `worst ${Math.min(...cosines)}`);
});
