import t from "tap";
import { cosine, planImage } from "../../lib/index";
import { fixture, imageFixture, readJson, readTensors } from "../helpers/fixtures";
import { converted, loadReference, pairPath, templateIds, Worst } from "../helpers/parity";

interface ExtraCase {
  id: string;
  text: string;
  ids_text?: number[];
  ids_parse?: number[];
  n_tokens?: number;
  n_tokens_full?: number;
}

const extra = readJson<ExtraCase[]>("more", "text-extra-cases.json");
const extraVectors = readTensors(fixture("more", "text-extra-vectors.safetensors"));
const defaultInstruction = "You are a helpful assistant.";

t.test("special strings in texts: both modes give the reference's ids and vectors", async (t) => {
  const gme = await loadReference(pairPath("tiny-a"));
  for (const specialTokens of ["text", "parse"] as const) {
    const worst = new Worst(`special strings, ${specialTokens}`);
    for (const item of extra.filter(({ id }) => id.startsWith("special-"))) {
      const ids = specialTokens === "text" ? item.ids_text : item.ids_parse;
      t.strictSame(await templateIds(gme, item.text, defaultInstruction, specialTokens), ids, `${item.id}: ids`);
      const golden = extraVectors.get(`${item.id}-${specialTokens}`)?.data;
      t.ok(worst.add(await gme.embed(item.text, { specialTokens }), golden), `${item.id}, ${specialTokens}`);
      t.equal((await gme.countTokens(item.text, { specialTokens })).total, ids?.length, `${item.id}: count`);
    }
    worst.report(t);
  }
  await gme.close();
});

t.test(
  "a text over the limit: cut as the reference cuts, truncated before the closing tokens, or refused",
  async (t) => {
    const { text, n_tokens } = extra.find(({ id }) => id === "long-full") as ExtraCase;
    const whole = await loadReference(pairPath("tiny-a"));
    const worst = new Worst("overflow");
    t.equal((await whole.countTokens(text)).total, n_tokens);
    t.ok(worst.add(await whole.embed(text), extraVectors.get("long-full")?.data), "the whole text");
    await whole.close();
    const short = await loadReference(pairPath("tiny-a"), { maxTokens: 1800 });
    const cut = await short.embed(text, { overflow: "reference" });
    t.ok(worst.add(cut, extraVectors.get("overflow-reference-1800")?.data), "cut from the right at 1,800");
    const truncated = await short.embed(text, { overflow: "truncate" });
    t.not(cosine(truncated, cut).toFixed(6), "1.000000", "truncate keeps the closing tokens");
    t.rejects(short.embed(text), { code: "GME_TEXT_TOO_LONG", message: /3642.*1800|1800.*3642/ });
    worst.report(t);
    await short.close();
  },
);

t.test("the single resize of SWIFT-tuned models gives the reference's vectors in both position modes", async (t) => {
  const golden = readTensors(fixture("more", "single-resize-vectors.safetensors"));
  const worst = new Worst("single resize");
  for (const positions of ["sequential", "mrope"] as const) {
    const gme = await loadReference(pairPath("tiny-a"), { loaderResize: false, positions });
    for (const key of [...golden.keys()].filter((name) => name.endsWith(`-${positions}`))) {
      const image = key.slice(0, -positions.length - 1);
      t.ok(worst.add(await gme.embed({ text: "a photo", image: imageFixture(image) }), golden.get(key)?.data), key);
    }
    await gme.close();
  }
  t.equal(worst.count, golden.size);
  worst.report(t);
});

t.test("a sharded bf16 checkpoint gives the vectors of its weights", async (t) => {
  const golden = readTensors(fixture("more", "bf16-vectors.safetensors"));
  const { items } = readJson<{ items: { text: string; image?: string }[] }>("more", "lora-cases.json");
  const inputs = items.map(({ text, image }) => ({ text, ...(image && { image: imageFixture(image) }) }));
  // As f32 the converted weights are exact; as bf16 the engine rounds what it multiplies.
  const exact = await loadReference(await converted("more/checkpoint-tiny-b-bf16-sharded", "f32"));
  const worst = new Worst("bf16 weights in an f32 file");
  const vectors = await exact.embedBatch(inputs);
  for (const [i, vector] of vectors.entries()) {
    t.ok(worst.add(vector, golden.get(String(i))?.data), `f32 file, item ${i}`);
  }
  worst.report(t);
  await exact.close();
  const rounded = await loadReference(await converted("more/checkpoint-tiny-b-bf16-sharded", "bf16"));
  const worstRounded = new Worst("bf16 weights in a bf16 file");
  for (const [i, input] of inputs.entries()) {
    t.ok(worstRounded.add(await rounded.embed(input), golden.get(String(i))?.data, 0.999, 1), `bf16 file, item ${i}`);
  }
  worstRounded.report(t);
  await rounded.close();
});

t.test("3,000 source sizes have the reference's sizes after each resize", async (t) => {
  const sizes = readJson<Record<"loader" | "processor_min256" | "processor_min4" | "size", [number, number]>[]>(
    "more",
    "sizes.json",
  );
  t.ok(sizes.length >= 3_000);
  const wrong = sizes.filter(({ size, loader, processor_min256, processor_min4 }) => {
    const usual = planImage(...size);
    const small = planImage(...size, { minImageTokens: 4 });
    const found = [usual.loader, usual.processor, small.loader, small.processor];
    return JSON.stringify(found) !== JSON.stringify([loader, processor_min256, loader, processor_min4]);
  });
  t.strictSame(wrong, []);
});
