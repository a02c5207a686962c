// What a hostile model that loads does with a few inputs: a finite vector of length 1, or GME_NON_FINITE at a stage.
import { GmeError, type GmeInput, type GmeModel, type LoadOptions } from "../../lib/index";
import { imageFixture } from "../helpers/fixtures";
import { loadHostile } from "./gguf-models";
import { removeHostile, writeHostile } from "./gguf-refusal";
import type { GgufTree } from "./gguf-tree";
import { decoderOf, type Fill, type ModelShape, together, towerOf } from "./model-shapes";

const image = imageFixture("tiny-28x28.png");

export const picture: GmeInput = { image };
export const fused: GmeInput = { text: "a ~ photo", image };
export const short: GmeInput = { text: "a ~ cat" };
/** Over 128 tokens, from where on products take another way. */
export const long: GmeInput = { text: "a ~ cat ".repeat(40) };
/** Over 768 tokens, so that the decoder goes through its layers in two chunks. */
export const chunks: GmeInput = { text: "a ~ cat ".repeat(120) };

export const modelOf = (shape: ModelShape, fill: Fill): GgufTree =>
  together(decoderOf(shape, fill), towerOf(shape, fill));

export async function withModel(
  single: GgufTree,
  use: (model: GmeModel) => Promise<void>,
  options?: LoadOptions,
): Promise<void> {
  const files = writeHostile({ single });
  try {
    const model = await loadHostile(files.path, undefined, options);
    try {
      await use(model);
    } finally {
      await model.close();
    }
  } finally {
    removeHostile(files);
  }
}

/** "finite", the stage that GME_NON_FINITE names, another GmeError's code, or what should never be. */
export async function outcome(model: GmeModel, input: GmeInput): Promise<string> {
  try {
    const vector = await model.embed(input);
    const length = Math.hypot(...vector);
    return Math.abs(length - 1) < 1e-4 ? "finite" : `a vector of length ${length}`;
  } catch (error) {
    if (!(error instanceof GmeError)) return `not a GmeError: ${error}`;
    return error.code === "GME_NON_FINITE" ? String(error.field) : error.code;
  }
}
