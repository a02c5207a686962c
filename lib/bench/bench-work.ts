import { randomSource } from "../convert/synthetic-model";
import type { GmeInput, RawImage } from "../input";
import type { GmeModel } from "../model";

/** What is measured: loading, texts of so many tokens (template included), batches of so many short texts, pictures of so many image tokens. */
export const benchWorks = [
  "first",
  "short",
  "text-254",
  "text-1000",
  "batch-8",
  "batch-64",
  "picture-256",
  "picture-391",
  "picture-1222",
] as const;
export type BenchWork = (typeof benchWorks)[number];

/** Tokens of a short text, the template's included. */
export const shortTokens = 31;

/** Widths and heights that no resize changes, while pictures may have 256 to 1280 image tokens. */
const pictureSizes: { readonly [tokens: string]: readonly [number, number] } = {
  "256": [448, 448],
  "391": [644, 476],
  "1222": [1316, 728],
};

const words =
  "river candle orbit mustard valley ticket harbour walnut signal copper meadow lantern engine violin desert pencil thunder blanket " +
  "island ladder winter basket mirror planet saddle garden hammer ribbon forest button castle feather";

/** Makes inputs of exact sizes from a seed, new ones at every call, so that nothing of an earlier input can be reused. */
export class WorkMaker {
  private constructor(
    private readonly model: GmeModel,
    private readonly wordLengths: ReadonlyMap<string, number>,
    private readonly templateTokens: number,
    private readonly random: () => number,
  ) {}

  static async create(model: GmeModel, seed: number): Promise<WorkMaker> {
    const lengths = new Map<string, number>();
    for (const word of words.split(" ")) lengths.set(word, (await model.tokenize(` ${word}`)).length);
    return new WorkMaker(model, lengths, (await model.countTokens("")).total, randomSource(seed));
  }

  /** The inputs of one round. */
  inputs(work: BenchWork): GmeInput[] {
    const [kind, size] = work.split("-");
    if (kind === "picture") return [{ image: this.picture(size) }];
    if (kind === "batch") return Array.from({ length: Number(size) }, () => this.text(shortTokens));
    return [this.text(size === undefined ? shortTokens : Number(size))];
  }

  async countTokens(inputs: readonly GmeInput[]): Promise<{ tokens: number; imageTokens: number }> {
    const sum = { tokens: 0, imageTokens: 0 };
    for (const input of inputs) {
      const { total, image } = await this.model.countTokens(input);
      sum.tokens += total;
      sum.imageTokens += image;
    }
    return sum;
  }

  /** Words with a blank before each, then digits, which are a token each. */
  private text(tokens: number): string {
    const known = [...this.wordLengths];
    const longest = Math.max(...this.wordLengths.values());
    let left = tokens - this.templateTokens;
    let text = "";
    while (left >= longest) {
      const [word, length] = known[Math.floor(this.random() * known.length)];
      text += ` ${word}`;
      left -= length;
    }
    while (left-- > 0) text += Math.floor(this.random() * 10);
    return text;
  }

  private picture(tokens: string): RawImage {
    const [width, height] = pictureSizes[tokens];
    const data = new Uint8Array(width * height * 3);
    for (let i = 0; i < data.length; i++) data[i] = this.random() * 256;
    return { data, width, height, channels: 3 };
  }
}
