// The good models that the hostile ones are made of: the tiny pair, and one file that holds both of its parts.
import { readFileSync } from "node:fs";
import { type GmeInput, type GmeModel, type LoadOptions, load } from "../../lib/index";
import { fixture, goldenCases, imageFixture, readTensors } from "../helpers/fixtures";
import { testThreads } from "../helpers/parity";
import { copyTree, type GgufTree, readTree } from "./gguf-tree";

export const decoderPath = fixture("gguf", "tiny-a-f32.gguf");
export const mmprojPath = fixture("gguf", "mmproj-tiny-a-f32.gguf");

const decoder = readTree(readFileSync(decoderPath));
const mmproj = readTree(readFileSync(mmprojPath));

/** Fresh trees of the two files, free to be changed. */
export const decoderTree = (): GgufTree => copyTree(decoder);
export const mmprojTree = (): GgufTree => copyTree(mmproj);

/** The single file: the decoder's keys, the tower's own (clip.…), and the tensors of both. */
export function singleTree(): GgufTree {
  const [a, b] = [decoderTree(), mmprojTree()];
  const towers = b.keys.filter(({ key }) => String(key).startsWith("clip."));
  return { ...a, keys: [...a.keys, ...towers], tensors: [...a.tensors, ...b.tensors] };
}

/** A text with a picture, so that both parts compute: few tokens, a few milliseconds. */
export const goldenInput: GmeInput = { text: "a photo", image: imageFixture("tiny-28x28.png") };

const options: LoadOptions = { threads: testThreads, minImageTokens: 4, maxImageTokens: 16 };

export function loadHostile(path: string, tower?: string, more: LoadOptions = {}): Promise<GmeModel> {
  return load(path, { ...options, ...(tower !== undefined && { mmproj: tower }), ...more });
}

/** The vector of the golden input, from a model that is loaded for it and closed again. */
export async function vectorOf(path: string, tower?: string, more: LoadOptions = {}): Promise<Float32Array> {
  const model = await loadHostile(path, tower, more);
  try {
    return await model.embed(goldenInput);
  } finally {
    await model.close();
  }
}

/** The good pair's vector, in this process. */
export const goodVector = (): Promise<Float32Array> => vectorOf(decoderPath, mmprojPath);

/** One case of the published reference, to show that "the good pair's vector" is the right one: [ours, the reference's]. */
export async function referenceCase(): Promise<[Float32Array, Float32Array]> {
  const known = readTensors(fixture("tiny-a", "vectors.safetensors"));
  const example = goldenCases("tiny-a").find(
    ({ id, image, text, positions }) => image === null && text !== null && positions === "sequential" && known.has(id),
  );
  const golden = example && known.get(example.id)?.data;
  if (example === undefined || golden === undefined) throw new Error("tiny-a has no golden text");
  const model = await load(decoderPath, { threads: testThreads });
  const { text, instruction } = example;
  const ours = await model.embed({ text: text as string, prompt: instruction });
  await model.close();
  return [ours, golden];
}
