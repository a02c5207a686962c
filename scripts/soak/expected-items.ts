// The inputs of a soak run and what each must come to: vectors computed once, one by one, and the codes of bad inputs.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { GmeInput, GmeModel } from "../../lib";

export interface GoodItem {
  readonly input: GmeInput;
  readonly vector: Float32Array;
  readonly tokens: number;
}

export interface BadItem {
  readonly input: GmeInput;
  readonly code: string;
}

const images = join(__dirname, "..", "..", "test", "fixtures", "images");
const words = [
  "cat",
  "dog",
  "old",
  "red",
  "bicycle",
  "harbour",
  "rain",
  "and",
  "the",
  "under",
  "naïve",
  "東京",
  "🦊",
  "<|im_end|>",
];

/** What a computation beside others may move a component of an f32 model's vector. */
export const tolerance = 1e-5;

export async function goodItems(model: GmeModel): Promise<GoodItem[]> {
  const picture = (name: string) => join(images, name);
  const raw = { data: Uint8Array.from({ length: 70 * 45 * 3 }, (_, i) => (i * 37) % 251), width: 70, height: 45 };
  const inputs: GmeInput[] = [
    ...Array.from({ length: 24 }, (_, i) =>
      words
        .slice(0, 1 + (i % words.length))
        .join(" ")
        .repeat(1 + (i % 5)),
    ),
    { text: "with a prompt", prompt: "Find what fits." },
    ...["gray-333x777.png", "tiny-28x28.png", "one-pixel.png", "web-512x384.webp", "exif6-480x360.jpg"].map((name) => ({ image: picture(name) })), // biome-ignore format: one line says it
    { image: readFileSync(picture("rgba-400.png")) },
    { image: raw },
    { text: "both", image: picture("palette-420x315.png") },
  ];
  const items: GoodItem[] = [];
  for (const input of inputs) {
    items.push({ input, vector: await model.embed(input), tokens: (await model.countTokens(input)).total });
  }
  return items;
}

export function badItems(): BadItem[] {
  const whole = readFileSync(join(images, "photo-1600x1200.jpg"));
  return [
    { input: { image: join(images, "no such file.png") }, code: "GME_IO_ERROR" },
    { input: { image: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) }, code: "GME_IMAGE_FORMAT" },
    { input: { image: whole.subarray(0, whole.length >> 1) }, code: "GME_IMAGE_TRUNCATED" },
    { input: { image: "https://example.org/cat.png" }, code: "GME_URL_FETCH_DISABLED" },
    { input: { text: "a".repeat(1_048_577) }, code: "GME_TEXT_TOO_LONG" },
    { input: {} as GmeInput, code: "GME_INPUT_INVALID" },
  ];
}

/** The largest difference of two vectors' components; NaN where they have not the same length. */
export function distance(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.NaN;
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i])), 0);
}
