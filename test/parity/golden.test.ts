import t, { type Test } from "tap";
import { binding } from "../../lib/binding";
import { decodeImage } from "../../lib/image-decode";
import type { GmeModel } from "../../lib/index";
import { readImage } from "../../lib/input";
import { fixture, type GoldenCase, goldenCases, imageFixture, readTensors, sha256 } from "../helpers/fixtures";
import {
  converted,
  inputOf,
  largestTraceError,
  loadReference,
  pairPath,
  relativeL2,
  templateIds,
  Worst,
} from "../helpers/parity";

const sources = [
  { name: "llama.cpp's pair", path: async (model: string) => pairPath(model) },
  { name: "the converted checkpoint", path: (model: string) => converted(`checkpoints/${model}`) },
];

for (const model of ["tiny-a", "tiny-b"]) {
  for (const source of sources) {
    t.test(`${model} from ${source.name} gives the reference's vectors, counts and stages`, async (t) => {
      const path = await source.path(model);
      const models = {
        sequential: await loadReference(path),
        mrope: await loadReference(path, { positions: "mrope" }),
      };
      await checkVectors(t, models, model, source.name);
      await checkTraces(t, models.sequential, model, source.name);
      await Promise.all([models.sequential.close(), models.mrope.close()]);
    });
  }

  t.test(`${model}: token ids are the reference's`, async (t) => {
    const gme = await loadReference(pairPath(model));
    for (const { id, text, ids, instruction } of goldenCases(model)) {
      if (ids !== undefined) t.strictSame(await templateIds(gme, text ?? "", instruction, "text"), ids, id);
    }
    await gme.close();
  });
}

async function checkVectors(
  t: Test,
  models: Record<GoldenCase["positions"], GmeModel>,
  model: string,
  source: string,
): Promise<void> {
  const golden = readTensors(fixture(model, "vectors.safetensors"));
  const worst = new Worst(`${model}, ${source}`);
  for (const item of goldenCases(model)) {
    const gme = models[item.positions];
    t.ok(worst.add(await gme.embed(inputOf(item)), golden.get(item.id)?.data), `${item.id}: vector`);
    const count = await gme.countTokens(inputOf(item));
    t.equal(count.total, item.n_tokens, `${item.id}: tokens`);
    t.equal(count.image, item.n_image_tokens ?? 0, `${item.id}: image tokens`);
  }
  worst.report(t);
}

async function checkTraces(t: Test, gme: GmeModel, model: string, source: string): Promise<void> {
  for (const item of goldenCases(model).filter(({ trace }) => trace !== undefined)) {
    const golden = readTensors(fixture(model, item.trace as string));
    const stages = await gme.inspectStages(inputOf(item));
    t.strictSame(stages.map(({ name }) => name).sort(), [...golden.keys()].sort(), `${item.id}: names of the stages`);
    let worst = 0;
    for (const { name, shape, data } of stages) {
      const expected = golden.get(name);
      t.strictSame(shape, expected?.shape, `${item.id}: shape of ${name}`);
      const error = expected === undefined ? Number.POSITIVE_INFINITY : relativeL2(data, expected.data);
      worst = Math.max(worst, error);
      t.ok(error <= largestTraceError, `${item.id}: ${name}, relative L2 ${error.toExponential(1)}`);
    }
    t.comment(`${model}, ${source}, ${item.trace}: worst relative L2 ${worst.toExponential(1)}`);
  }
}

t.test("sizes and pixels after each resize are the reference's", async (t) => {
  const seen = new Map(goldenCases("tiny-a").flatMap((item) => (item.image ? [[item.image, item] as const] : [])));
  for (const [image, item] of seen) {
    const picture = await decodeImage(readImage(imageFixture(image), "image"), {
      orientation: "ignore",
      maxImagePixels: 64e6,
    });
    const limits = { loaderResize: true, minImageTokens: 256, maxImageTokens: 1280 };
    const { plan, loader, processor, pixelValues } = await binding().preprocessImage(picture, limits).promise;
    t.match(
      plan,
      { loader: item.loader_size, processor: item.processor_size, gridThw: item.grid_thw },
      `${image}: sizes`,
    );
    t.equal(sha256(loader), item.loader_rgb_sha256, `${image}: pixels after the loader's resize`);
    t.equal(sha256(processor), item.processor_rgb_sha256, `${image}: pixels after the processor's resize`);
    t.equal(sha256(pixelValues), item.pixel_values_sha256, `${image}: pixel_values`);
  }
});
