import t from "tap";
import { bundledModelPath, cosine } from "../../lib/index";
import { emojiCases as cases, emojiVectors as golden, emojiInput as inputOf } from "../helpers/emoji-cases";
import { converted, loadReference, Worst } from "../helpers/parity";

const files = [
  { name: "converted to f32", path: () => converted("checkpoints/emoji-tiny"), cosine: 0.999999, delta: 2e-5 },
  { name: "the committed f16 file", path: async () => bundledModelPath, cosine: 0.999, delta: 1 },
];

for (const { name, path, cosine: cosineGate, delta } of files) {
  t.test(`the demonstration model, ${name}, gives the reference's 158 vectors`, async (t) => {
    const gme = await loadReference(await path());
    t.match(
      gme.info.defaults,
      { minImageTokens: 16, maxImageTokens: 16 },
      "16 image tokens, from preprocessor_config.json",
    );
    const vectors = await gme.embedBatch(cases.map(inputOf));
    const worst = new Worst(`emoji-tiny, ${name}`);
    for (const [i, { id }] of cases.entries()) t.ok(worst.add(vectors[i], golden.get(id)?.data, cosineGate, delta), id);
    t.equal(worst.count, 158);
    worst.report(t);
    t.ok(firstRight(vectors) >= 0.6, "the right picture comes first for most captions of a style it never saw");
    await gme.close();
  });
}

/** Share of captions whose own picture has the highest score. */
function firstRight(vectors: readonly Float32Array[]): number {
  const pictures = cases.flatMap(({ id, image }, i) =>
    id.startsWith("image-") ? [{ image, vector: vectors[i] }] : [],
  );
  const captions = cases.flatMap(({ id }, i) =>
    id.startsWith("text-") ? [{ image: id.slice(5), vector: vectors[i] }] : [],
  );
  const right = captions.filter(({ image, vector }) => {
    const scores = pictures.map((picture) => cosine(picture.vector, vector));
    return pictures[scores.indexOf(Math.max(...scores))].image === image;
  });
  return right.length / captions.length;
}
