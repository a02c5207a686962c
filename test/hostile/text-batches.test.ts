// T27: a text's vector does not depend on the company it is in.
import t from "tap";
import { load } from "../../lib/index";
import { maxDelta, pairPath } from "../helpers/parity";
import { randomNumbers } from "../lifetime/native-model";
import { hostileStrings } from "./text-random";

const next = hostileStrings(27, 60);
const texts = Array.from({ length: 32 }, (_, i) => `${i} ${next()}`);

t.test("T27 alone, in a shuffled batch of 32, and with other threads at work the vector is the same", async (t) => {
  const worst: Record<string, number> = {
    "in a batch": 0,
    "in shuffled batches": 0,
    "with two threads": 0,
    "beside other calls": 0,
  };
  const gme = await load(pairPath("tiny-a"), { threads: 1 });
  const alone: Float32Array[] = [];
  for (const text of texts) alone.push(await gme.embed(text));
  const compare = (name: string, vectors: readonly Float32Array[], order = texts.map((_, i) => i)) => {
    for (const [at, i] of order.entries()) worst[name] = Math.max(worst[name], maxDelta(vectors[at], alone[i]));
  };
  compare("in a batch", await gme.embedBatch(texts));
  const random = randomNumbers(27);
  for (let round = 0; round < 8; round++) {
    const order = texts.map((_, i) => i).sort(() => random() - 0.5);
    compare(
      "in shuffled batches",
      await gme.embedBatch(
        order.map((i) => texts[i]),
        { batchSize: [1, 5, 32, 64][round % 4] },
      ),
      order,
    );
  }
  const other = await load(pairPath("tiny-a"), { threads: 2 });
  compare("with two threads", await other.embedBatch(texts));
  const noise = Array.from({ length: 20 }, () => other.embedBatch(texts.slice(0, 16)));
  compare("beside other calls", await Promise.all(texts.map((text) => gme.embed(text))));
  await Promise.all(noise);
  const again: Float32Array[] = [];
  for (const text of texts) again.push(await gme.embed(text));
  await Promise.all([gme.close(), other.close()]);
  for (const [name, delta] of Object.entries(worst)) t.ok(delta <= 1e-5, `${name}: ${delta}`);
  t.equal(Math.max(...again.map((vector, i) => maxDelta(vector, alone[i]))), 0, "alone again, to the bit");
  const figures = Object.entries(worst).map(([name, delta]) => `${name} ${delta.toExponential(1)}`);
  t.comment(`T27: 32 hostile texts, worst |Δ| to the vector alone: ${figures.join(", ")}`);
});
