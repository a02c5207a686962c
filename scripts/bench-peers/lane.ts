/** A text, or a picture as PNG bytes already at the size that the model uses. */
export type Item = { readonly text: string } | { readonly image: Buffer };

export interface Answer {
  readonly vectors: number;
  /** Of the first item; compared between the sides. */
  readonly first: Float32Array;
}

/** One side of a comparison: a program in a process of its own, in one configuration. */
export interface Lane {
  readonly name: string;
  readonly pid: number;
  /** Works on our very prompt, not on one of the same length. */
  readonly isSamePrompt: boolean;
  /** One call, or one request. */
  embed(items: readonly Item[]): Promise<Answer>;
  /** Tokens of each text with the template; undefined where the side does not tell. */
  countTokens?(texts: readonly string[]): Promise<number[]>;
  close(): Promise<void>;
}

export const systemText = "You are a helpful assistant.";

/** The text with GME's template around it, but for the leading special token. */
export function templateTail(content: string): string {
  return `system\n${systemText}<|im_end|>\n<|im_start|>user\n${content}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>`;
}

export const leadingToken = "<|im_start|>";

export function cosine(a: Float32Array, b: Float32Array): number {
  let [product, squareA, squareB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i] * b[i];
    squareA += a[i] * a[i];
    squareB += b[i] * b[i];
  }
  return product / Math.sqrt(squareA * squareB);
}
