import t from "tap";
import { cosine, cutEmbedding, similarity } from "../../lib/embedding";
import { rejectsWith } from "../helpers/rejects";

t.test("cosine is 1 for the same direction, 0 for right angles, -1 for opposites", async (t) => {
  t.equal(cosine([1, 2], [2, 4]), 1);
  t.equal(cosine(Float32Array.of(1, 0), [0, 3]), 0);
  t.equal(cosine([1, 0], [-2, 0]), -1);
  t.equal(cosine([0, 0], [1, 0]), 0, "a vector of zeros");
});

t.test("vectors of different lengths and other values are refused GME_INPUT_INVALID", async (t) => {
  await rejectsWith(t, () => cosine([1], [1, 2]), "GME_INPUT_INVALID");
  for (const value of [null, "ab", 3, [], {}])
    await rejectsWith(t, () => cosine(value as number[], [1]), "GME_INPUT_INVALID");
  await rejectsWith(t, () => similarity([1] as unknown as number[][], [[1]]), "GME_INPUT_INVALID");
});

t.test("similarity is the matrix of cosines", async (t) => {
  const rows = similarity(
    [
      [1, 0],
      [1, 1],
    ],
    [
      [1, 0],
      [0, 1],
      [1, 1],
    ],
  );
  t.equal(rows.length, 2);
  t.ok(rows[0] instanceof Float32Array);
  t.strictSame(
    [...rows[0]].map((x) => x.toFixed(4)),
    ["1.0000", "0.0000", "0.7071"],
  );
});

t.test("a cut vector is fresh and of unit length", async (t) => {
  const whole = Float32Array.of(0.6, 0, 0.8);
  const cut = cutEmbedding(whole, 2);
  t.strictSame([...cut], [1, 0]);
  const copy = cutEmbedding(whole, 3);
  whole[0] = 9;
  t.strictSame([...copy], [...Float32Array.of(0.6, 0, 0.8)]);
});
