// device "all": an engine on each card. The cards are fake-cards.cpp's, found by the library as real ones are.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { bundledModelPath } from "../../lib/bundled-model";
import { type GmeInput, type GmeModel, load, type LoadOptions } from "../../lib";
import { gme, jsonLines } from "../helpers/cli";
import { imageFixture, temporaryFolder } from "../helpers/fixtures";
import { maxDelta } from "../helpers/parity";
import { rejectsWith } from "../helpers/rejects";
import { enginePids } from "../isolated/engine-pids";
import { buildFakeCards, noFakeCards, setCards } from "./fake-cards";

const skip = noFakeCards() ?? false;
const plenty = { free: 8e9 };
const tooSmall = { free: 1e6 };
const inputs: GmeInput[] = [...Array.from({ length: 20 }, (_, i) => `text number ${i}`), { image: imageFixture("tiny-28x28.png") }]; // biome-ignore format: one line says it
const long = { timeout: 240_000, skip };

let onProcessor: Float32Array[] = [];
t.before(async () => {
  if (skip !== false) return;
  const model = await load(bundledModelPath, { device: "cpu", threads: 1 });
  onProcessor = await model.embedBatch(inputs);
  await model.close();
  buildFakeCards();
});

async function open(t: Test, device: LoadOptions["device"], options: LoadOptions = {}): Promise<GmeModel> {
  const model = await load(bundledModelPath, { device, threads: 1, maxTokens: 2048, ...options });
  t.teardown(() => model.close());
  return model;
}

async function sameVectors(t: Test, model: GmeModel): Promise<void> {
  const vectors = await model.embedBatch(inputs);
  const worst = Math.max(...vectors.map((vector, i) => maxDelta(vector, onProcessor[i])));
  t.ok(worst <= 5e-4, `${model.info.device}: ${vectors.length} vectors, worst |Δ| ${worst} to the processor's`);
}

t.test("an engine on each of two cards; the drivers stay in the engines' processes", long, async (t) => {
  setCards(plenty, plenty);
  const model = await open(t, "all");
  const both = "vulkan:0,vulkan:1";
  t.match(model.info, { device: both, visionDevice: both, deviceDescription: "Fake card 0, Fake card 1", deviceNote: "" }); // biome-ignore format: one line says it
  t.equal(enginePids().length, 2);
  await sameVectors(t, model);
  const holds = (pid: number | "self") => readFileSync(`/proc/${pid}/maps`, "utf8").includes("libggml-vulkan");
  t.strictSame([holds("self"), ...enginePids().map(holds)], [false, true, true]);
});

t.test("a card on which the model has no room is left out, and said so", long, async (t) => {
  setCards(tooSmall, plenty);
  const model = await open(t, "all");
  t.match(model.info, { device: "vulkan:1", deviceNote: /^left out: the decoder needs about \d+ MiB, \d MiB are free on vulkan:0/ }); // biome-ignore format: one line says it
  await sameVectors(t, model);
  const error = await rejectsWith(t, () => open(t, ["vulkan:1", "vulkan:0"]), "GME_OUT_OF_MEMORY", "named");
  t.match(error.message, /on vulkan:0/);
  t.equal(enginePids().length, 1, "of the two that were named none is left");
});

t.test("no card has room: the processor, with each card's reason", long, async (t) => {
  setCards(tooSmall, tooSmall);
  const model = await open(t, "all");
  t.match(model.info, { device: "cpu", visionDevice: "cpu", deviceNote: /left out: .* on vulkan:0.*left out: .* on vulkan:1.*it runs on the processor$/ }); // biome-ignore format: one line says it
  await sameVectors(t, model);
});

t.test("auto takes the one with the most free memory", long, async (t) => {
  setCards({ free: 1e9 }, { free: 2e9 }, { free: 15e8 });
  t.match((await open(t, "auto", { isolate: true })).info, { device: "vulkan:1", deviceNote: "" });
});

t.test("a library that does not load, and none: the processor, with the reason", long, async (t) => {
  setCards(plenty);
  const { GME_BACKEND_PATH } = process.env;
  t.teardown(() => {
    process.env.GME_BACKEND_PATH = GME_BACKEND_PATH;
  });
  process.env.GME_BACKEND_PATH = "/nowhere/libggml-cuda.so";
  const broken = await open(t, "all");
  t.match(broken.info, { device: "cpu", deviceNote: /^no graphics card was found for the device "all" \(\/nowhere\/libggml-cuda\.so: .*\): it runs on the processor$/ }); // biome-ignore format: one line says it
  process.env.GME_BACKEND_PATH = "";
  const none = await open(t, "all");
  t.match(none.info, { device: "cpu", deviceNote: /^no graphics card was found for the device "all": it runs on the processor$/ }); // biome-ignore format: one line says it
  await sameVectors(t, none);
});

t.test("gme index and gme embed with --device all", long, async (t) => {
  setCards(plenty, plenty);
  const base = temporaryFolder();
  mkdirSync(join(base, "files"));
  writeFileSync(join(base, "files", "a.jsonl"), inputs.slice(0, 20).map((text) => `${JSON.stringify({ text })}\n`).join("")); // biome-ignore format: one line says it
  const flags = ["--model", bundledModelPath, "--device", "all", "--max-tokens", "2048"];
  const index = await gme(["index", join(base, "files"), "--db", join(base, "db"), "--json", ...flags]);
  const lines = jsonLines(index.stdout);
  const told = lines.filter(({ type }) => type === "engine").map(({ message }) => message);
  t.ok(told.includes("the model runs on vulkan:0,vulkan:1"), `${told} ${index.stderr}`);
  t.match([index.code, lines.at(-1)], [0, { type: "summary", embedded: 20, failed: 0 }]);
  const stdin = inputs.slice(0, 20).map((text) => `${JSON.stringify({ text })}\n`).join(""); // biome-ignore format: one line says it
  const embed = await gme(["embed", "--jsonl", ...flags], { stdin });
  const vectors = jsonLines(embed.stdout).map(({ embedding }) => Float32Array.from(embedding as number[]));
  const worst = Math.max(...vectors.map((vector, i) => maxDelta(vector, onProcessor[i])));
  t.ok(embed.code === 0 && vectors.length === 20 && worst <= 5e-4, `gme embed: worst |Δ| ${worst} ${embed.stderr}`);
});
