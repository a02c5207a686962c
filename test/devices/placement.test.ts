// What becomes of a model where a card has too little memory, or says that it has more than can be had. The cards are fake-cards.cpp's.
import t, { type Test } from "tap";
import { type GmeInput, type GmeModel, load, type LoadOptions } from "../../lib";
import { bundledModelPath } from "../../lib/bundled-model";
import { imageFixture } from "../helpers/fixtures";
import { maxDelta } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";
import { buildFakeCards, noFakeCards, setCards } from "./fake-cards";

const skip = noFakeCards() ?? false;
const mebibyte = 2 ** 20;
/** ggml's products of f16 weights and those of our kernels. */
const tolerance = 5e-4;
const plenty = { free: 8e9 };
const inputs: GmeInput[] = ["a cat", "a dog by the sea", { image: imageFixture("tiny-28x28.png") }, { text: "both", image: imageFixture("tiny-28x28.png") }]; // biome-ignore format: one line says it

const open = (device: string, options: LoadOptions = {}) =>
  load(bundledModelPath, { device, threads: 1, maxTokens: 2048, ...options });
/** What is free so that so many bytes may be used: a part is left to the driver. */
const freeFor = (bytes: number) => (bytes * 16) / 15 + 16;

let onProcessor: Float32Array[] = [];
/** MiB, rounded up, that each part is estimated to need. */
const needs = { decoder: 0, tower: 0 };

async function closing<T>(model: GmeModel, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await model.close();
  }
}

/** The model loads, says what is expected, and its vectors are the processor's; `numbers` are those of its note. */
async function placed(t: Test, device: string, expected: object, note: RegExp, title: string): Promise<void> {
  const model = await open(device);
  await closing(model, async () => {
    setCards(plenty); // for what it computes
    t.match(model.info, expected, title);
    t.match(model.info.deviceNote, note, `${title}: ${model.info.deviceNote}`);
    const vectors = await model.embedBatch(inputs);
    const worst = Math.max(...vectors.map((vector, i) => maxDelta(vector, onProcessor[i])));
    t.ok(worst <= tolerance, `${title}: vectors as the processor's, worst |Δ| ${worst}`);
  });
}

async function needOf(part: "decoder" | "vision tower", free: number): Promise<number> {
  setCards({ free, most: plenty.free });
  const error = await open("vulkan:0").then((model) => model.close(), (caught) => caught); // biome-ignore format: one line says it
  const found = new RegExp(`the ${part} needs about (\\d+) MiB`).exec(String((error as Error | undefined)?.message));
  if (found === null) throw new Error(`no need of the ${part} in: ${error}`);
  return Number(found[1]);
}

t.before(async () => {
  if (skip !== false) return;
  const model = await open("cpu");
  onProcessor = await closing(model, () => model.embedBatch(inputs));
  buildFakeCards();
  needs.decoder = await needOf("decoder", 1);
  needs.tower = await needOf("vision tower", freeFor(needs.decoder * mebibyte));
});

const nothing = { device: "cpu", visionDevice: "cpu", deviceDescription: "" };
const allOfIt = { device: "vulkan:0", visionDevice: "vulkan:0", deviceDescription: "Fake card 0" };

t.test("both parts fit: both are on the card, nothing is to be said", { skip }, async (t) => {
  setCards(plenty);
  await placed(t, "auto", allOfIt, /^$/, "auto");
  await placed(t, "vulkan:0", allOfIt, /^$/, "named");
  t.ok(needs.decoder > 1 && needs.tower > 1, `estimates: decoder ${needs.decoder} MiB, tower ${needs.tower} MiB`);
});

t.test("the decoder fits, the tower beside it does not", { skip }, async (t) => {
  setCards({ free: freeFor(needs.decoder * mebibyte), most: plenty.free });
  const note = new RegExp(`^the vision tower needs about ${needs.tower} MiB, [01] MiB are free on vulkan:0: it runs on the processor$`); // biome-ignore format: one line says it
  await placed(t, "auto", { device: "vulkan:0", visionDevice: "cpu" }, note, "auto");
  setCards({ free: freeFor(needs.decoder * mebibyte), most: plenty.free });
  const error = await rejectsWith(t, () => open("vulkan:0"), "GME_OUT_OF_MEMORY", "named");
  t.match(error, {
    field: "device",
    expected: `${needs.tower} MiB`,
    message: /the vision tower needs about .* on vulkan:0/,
  });
});

t.test("nothing fits", { skip }, async (t) => {
  setCards({ free: freeFor(mebibyte), most: plenty.free });
  const note = new RegExp(`^the decoder needs about ${needs.decoder} MiB, 2 MiB are free on vulkan:0: it runs on the processor$`); // biome-ignore format: one line says it
  await placed(t, "auto", nothing, note, "auto");
  setCards({ free: freeFor(mebibyte), most: plenty.free });
  const error = await rejectsWith(t, () => open("vulkan:0"), "GME_OUT_OF_MEMORY", "named");
  t.match(error, { field: "device", value: "2 MiB free", expected: `${needs.decoder} MiB` });
});

t.test("the estimate fits, and the memory cannot be had all the same", { skip }, async (t) => {
  setCards({ ...plenty, most: 1000 });
  const note = /^the decoder needs about \d+ MiB, \d+ MiB are free, yet they could not be had \(no memory for tensors on vulkan:0 .*\) on vulkan:0: it runs on the processor$/; // biome-ignore format: one line says it
  await placed(t, "auto", nothing, note, "auto");
  setCards({ ...plenty, most: 1000 });
  const error = await rejectsWith(t, () => open("vulkan:0"), "GME_OUT_OF_MEMORY", "named");
  t.match(error.message, /the decoder needs about .* yet they could not be had/);
});

t.test("the decoder's memory can be had, the tower's cannot", { skip }, async (t) => {
  let [tooLittle, enough] = [0, 64 * mebibyte];
  while (enough - tooLittle > 1000) {
    const most = Math.round((tooLittle + enough) / 2);
    setCards({ ...plenty, most });
    const model = await open("auto");
    if (model.info.device === "cpu") tooLittle = most;
    else enough = most;
    await model.close();
  }
  t.ok(enough < needs.decoder * mebibyte, `${enough} bytes for the decoder's weights`);
  setCards({ ...plenty, most: enough });
  const note = /^the vision tower needs about \d+ MiB, \d+ MiB are free, yet they could not be had \(no memory for tensors on vulkan:0 .*\) on vulkan:0: it runs on the processor$/; // biome-ignore format: one line says it
  await placed(t, "auto", { device: "vulkan:0", visionDevice: "cpu" }, note, "auto");
  setCards({ ...plenty, most: enough });
  await rejectsWith(t, () => open("vulkan:0"), "GME_OUT_OF_MEMORY", "named");
});

t.test("a card without memory for one graph rejects that call, not the model's load", { skip }, async (t) => {
  setCards(plenty);
  const model = await open("vulkan:0");
  await closing(model, async () => {
    setCards({ ...plenty, most: 0 });
    const error = await rejectsWith(t, () => model.embed("a cat"), "GME_OUT_OF_MEMORY");
    t.match(error.message, /vulkan:0/);
    setCards(plenty);
    t.ok(maxDelta(await model.embed("a cat"), onProcessor[0]) <= tolerance, "with memory it works again");
  });
});
