import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { bundledModelPath, cosine, type GmeInput, type GmeModel, listDevices, load } from "../../lib/index";
import { emojiCases, emojiInput } from "../helpers/emoji-cases";
import { fixture, type GoldenCase, goldenCases, readTensors } from "../helpers/fixtures";
import { inputOf, loadReference, pairPath } from "../helpers/parity";

/*
 * Everything on a Vulkan device: Mesa's software driver, and the library that node-llama-cpp builds of the same ggml (scripts/
 * fetch-vulkan.mjs). The driver compiles a kernel at its first use, which takes most of the time.
 */
const library = join(__dirname, "..", "..", "vendor", "vulkan", "libggml-vulkan.so");
const drivers = "/usr/share/vulkan/icd.d";
const driver = existsSync(drivers) ? readdirSync(drivers).find((name) => /^lvp_icd.*\.json$/.test(name)) : undefined;
const reason = !existsSync(library)
  ? "vendor/vulkan is not there: node scripts/fetch-vulkan.mjs"
  : driver === undefined && "Mesa's software driver is not there: apt-get install mesa-vulkan-drivers";
const settings = { skip: reason };
t.setTimeout(3_600_000);

/** What a device may differ by: it adds in another order, and some kernels round what they multiply to half precision. */
const leastDeviceCosine = 0.9999;

if (reason === false) {
  process.env.GME_BACKEND_PATH = library;
  process.env.GGML_VK_VISIBLE_DEVICES = "0"; // else devices that compute on the processor are left out
  process.env.VK_ICD_FILENAMES = join(drivers, driver as string);
}

t.test("the library and its device are listed", settings, async (t) => {
  const { devices, libraries } = await listDevices();
  t.strictSame(libraries, [{ path: library, from: "GME_BACKEND_PATH" }]);
  t.match(devices, [{ name: "vulkan:0", description: /llvmpipe/, library, software: true }]);
  const gme = await load(pairPath("tiny-a"));
  t.match(
    gme.info,
    { device: "cpu", visionDevice: "cpu", deviceNote: "" },
    "a software device is not chosen by itself",
  );
  await gme.close();
});

interface Comparison {
  readonly id: string;
  readonly input: GmeInput;
  readonly expected: Float32Array | undefined;
}

async function compare(t: Test, gme: GmeModel, comparisons: Comparison[]) {
  t.match(gme.info, { device: "vulkan:0", visionDevice: "vulkan:0", deviceNote: "" }, "all of it is on the device");
  const vectors = await gme.embedBatch(comparisons.map(({ input }) => input));
  let worst = 1;
  for (const [i, { id, expected }] of comparisons.entries()) {
    const similarity = expected === undefined ? 0 : cosine(vectors[i], expected);
    worst = Math.min(worst, similarity);
    t.ok(similarity >= leastDeviceCosine, `${id}: 1 - cosine ${(1 - similarity).toExponential(1)}`);
  }
  const { name, type } = gme.info;
  t.comment(`${name}, ${type}: ${comparisons.length} vectors, worst 1 - cosine ${(1 - worst).toExponential(1)}`);
}

/** A picture of 256 tokens takes the software driver seconds, one of 1,271 a minute: a few in each run, all of them behind GME_TEST_LONG. */
function chosen(cases: GoldenCase[]): GoldenCase[] {
  if (process.env.GME_TEST_LONG) return cases;
  const pictures = cases.filter(({ n_image_tokens: n = 0 }) => n > 0 && n < 400);
  return [...cases.filter(({ n_image_tokens: n }) => !n), ...pictures.slice(0, 3)];
}

for (const model of ["tiny-a", "tiny-b"]) {
  t.test(`${model} in f32 gives the reference's vectors`, settings, async (t) => {
    const golden = readTensors(fixture(model, "vectors.safetensors"));
    for (const positions of ["sequential", "mrope"] as const) {
      const gme = await loadReference(pairPath(model), { device: "vulkan", positions });
      const cases = chosen(goldenCases(model).filter((item) => item.positions === positions));
      const comparisons = cases.map((item) => ({
        id: item.id,
        input: inputOf(item),
        expected: golden.get(item.id)?.data,
      }));
      await compare(t, gme, comparisons as Comparison[]);
      await gme.close();
    }
  });
}

t.test("the demonstration model in f16 gives the processor's vectors", settings, async (t) => {
  const [here, there] = [
    await loadReference(bundledModelPath),
    await loadReference(bundledModelPath, { device: "vulkan:0" }),
  ];
  const vectors = await here.embedBatch(emojiCases.map(emojiInput));
  const comparisons = emojiCases.map((item, i) => ({ id: item.id, input: emojiInput(item), expected: vectors[i] }));
  await compare(t, there, comparisons);
  await Promise.all([here.close(), there.close()]);
});
