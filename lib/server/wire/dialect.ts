import type { GmeError, TokenCount } from "../../index";

/** A picture as a request carries it: neither decoded nor fetched. */
export type WireImage =
  /** Base64 without the label of a data: URL. */
  | { readonly kind: "base64"; readonly base64: string }
  /** An address of any scheme but data:; whether it may be read is not decided here. */
  | { readonly kind: "address"; readonly address: string };

/** What becomes one vector. */
export interface WireItem {
  /** Where it stands in the body: `input[3]`. Errors name it. */
  readonly field: string;
  readonly text?: string;
  readonly image?: WireImage;
  readonly instruction?: string;
  readonly inputType?: "query" | "document";
}

/** The form that the bodies of all dialects are read into. */
export interface WireRequest {
  /** Absent where the dialect has no such field. */
  readonly model?: string;
  readonly items: readonly WireItem[];
  /** Length of the vectors; absent: the model's own. */
  readonly dimensions?: number;
  /** What happens to a text over the model's limit of tokens. */
  readonly overflow: "error" | "truncate";
}

/** What a dialect's answer is made of, in the order of the request's items. */
export interface WireAnswer {
  /** Made by the server. */
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  /** The name the request gave, or the model's own. */
  readonly model: string;
  readonly embeddings: readonly Float32Array[];
  readonly tokens: readonly TokenCount[];
  /** Of each item's picture as it was sent; 0 without one. */
  readonly pixels: readonly number[];
}

/** What a dialect must know to read a body. */
export interface WireRules {
  /** Items that a request may have. */
  readonly maxItems: number;
  /** Pictures that a request may have. */
  readonly maxImages: number;
  /** The model's length of vectors. */
  readonly dimensions: number;
  /** Image tokens of a picture, as the server runs the model. */
  readonly minImageTokens: number;
  readonly maxImageTokens: number;
  /** Other `dimensions` than the model's own are allowed. */
  readonly allowTruncation: boolean;
}

/** One client's way to ask and to be answered. `Form` is what `write` must know of the request beside the vectors. */
export interface Dialect<Form = unknown> {
  readonly name: string;
  readonly path: string;
  /**
   * JSON Schema of the body and of the answer, draft 7, for /openapi.json. `read` checks all that the body's schema says and more, and
   * its errors name the field and what was expected; a schema of unions cannot. So a server need not validate by it.
   */
  readonly bodySchema: object;
  readonly answerSchema: object;
  /** Any JSON value → its items. Throws a GmeError of a request's code that names the field; decodes no picture. */
  read(body: unknown, rules: WireRules): { readonly request: WireRequest; readonly form: Form };
  /** The answer's JSON text in pieces of at most one vector, so that nobody else waits for a long one. */
  write(answer: WireAnswer, form: Form): Iterable<string>;
  /** The body of an error, and the status where the dialect has one of its own instead of `status`. */
  writeError(error: GmeError, status: number): { readonly status: number; readonly body: object };
}
