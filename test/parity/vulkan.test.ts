import t, { type Test } from "tap";
import { bundledModelPath, cosine, type GmeInput, type LoadOptions } from "../../lib/index";
import type { DeviceAnswer } from "../helpers/device-child";
import { emojiCases, emojiInput } from "../helpers/emoji-cases";
import { fixture, type GoldenCase, goldenCases, readTensors } from "../helpers/fixtures";
import { converted, inputOf, loadReference, pairPath, testThreads } from "../helpers/parity";
import { noVulkan, runOnDevice } from "../helpers/vulkan";

/*
 * Everything on a Vulkan device: Mesa's software driver, and the library that node-llama-cpp builds of the same ggml (scripts/
 * fetch-vulkan.mjs). The driver compiles a kernel at its first use, which takes most of the time.
 */
const settings = { skip: noVulkan };
t.setTimeout(3_600_000);

/** What a device may differ by: it adds in another order, and some kernels round what they multiply to half precision. */
const leastDeviceCosine = 0.9999;
const device: LoadOptions = { device: "vulkan", orientation: "ignore", threads: testThreads };

interface Comparison {
  readonly id: string;
  readonly input: GmeInput;
  readonly expected: Float32Array | undefined;
}

function compare(
  t: Test,
  { info, vectors, stages }: DeviceAnswer,
  comparisons: readonly Comparison[],
  profiled = true,
): void {
  const { name, type } = info;
  t.match(
    info,
    { device: "vulkan:0", visionDevice: "vulkan:0", deviceNote: "" },
    `${name}, ${type}: all weights are there`,
  );
  if (profiled) {
    for (const stage of ["vision.product", "vision.attention", "decoder.product", "decoder.attention"])
      t.ok(stages.includes(stage), `${stage} is a stage`);
    const fallen = stages.filter((stage) => stage.endsWith(".processor"));
    t.strictSame(fallen, [], "no node of a layer falls to the processor");
  }
  t.equal(vectors.length, comparisons.length);
  let worst = 1;
  for (const [i, { id, expected }] of comparisons.entries()) {
    const bytes = Buffer.from(vectors[i] ?? "", "base64");
    const vector = new Float32Array(new Uint8Array(bytes).buffer);
    const similarity = expected?.length === vector.length ? cosine(vector, expected) : 0;
    worst = Math.min(worst, similarity);
    t.ok(similarity >= leastDeviceCosine, `${id}: 1 - cosine ${(1 - similarity).toExponential(1)}`);
  }
  t.comment(`${name}, ${type}: ${comparisons.length} vectors, worst 1 - cosine ${(1 - worst).toExponential(1)}`);
}

/** A picture of 256 tokens takes the software driver seconds, one of 1,271 a minute: a few in each run, all of them behind GME_TEST_LONG. */
function chosen(cases: GoldenCase[], n_pictures: number): GoldenCase[] {
  if (process.env.GME_TEST_LONG) return cases;
  const pictures = cases.filter(({ n_image_tokens: n = 0 }) => n > 0 && n < 400);
  return [...cases.filter(({ n_image_tokens: n }) => !n), ...pictures.slice(0, n_pictures)];
}

for (const model of ["tiny-a", "tiny-b"]) {
  t.test(`${model} in f32 and f16 gives the reference's vectors`, settings, async (t) => {
    const golden = readTensors(fixture(model, "vectors.safetensors"));
    const halves = await converted(`checkpoints/${model}`, "f16");
    const kinds = [
      { path: pairPath(model), positions: "sequential", n_pictures: 2, profiled: true },
      { path: pairPath(model), positions: "mrope", n_pictures: 1, profiled: false },
      { path: halves, positions: "sequential", n_pictures: 1, profiled: true },
    ] as const;
    const all = kinds.map(({ path, positions, n_pictures, profiled }) => {
      const cases = chosen(
        goldenCases(model).filter((item) => item.positions === positions),
        n_pictures,
      );
      const comparisons = cases.map(
        (item): Comparison => ({ id: item.id, input: inputOf(item), expected: golden.get(item.id)?.data }),
      );
      const inputs = comparisons.map(({ input }) => input);
      return { load: { path, options: { ...device, positions }, inputs, profiled }, comparisons };
    });
    const answers = await runOnDevice(t, { loads: all.map(({ load }) => load) });
    t.equal(answers.length, all.length);
    for (const [i, answer] of answers.entries()) compare(t, answer, all[i].comparisons, all[i].load.profiled);
  });
}

t.test("the demonstration model in f16 gives the processor's vectors", settings, async (t) => {
  const here = await loadReference(bundledModelPath);
  const inputs = emojiCases.map(emojiInput);
  const vectors = await here.embedBatch(inputs);
  await here.close();
  const comparisons = emojiCases.map(({ id }, i) => ({ id, input: inputs[i], expected: vectors[i] }));
  const [answer] = await runOnDevice(t, {
    loads: [{ path: bundledModelPath, options: device, inputs, profiled: true }],
  });
  compare(t, answer, comparisons);
});
