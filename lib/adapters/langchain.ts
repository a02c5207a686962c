// LangChain's Embeddings on a loaded GmeModel. The base class comes from the caller's @langchain/core: scripts/setup.mjs writes this file as
// an ES module too, so that both kinds of user extend the class that they import themselves.
import { Embeddings } from "@langchain/core/embeddings";
import type { EmbedOptions, GmeInput, GmeModel, ImageSource } from "../index.js";

export interface GmeEmbeddingsFields extends Pick<EmbedOptions, "overflow" | "specialTokens" | "batchSize"> {
  /** Loaded by `load`; it stays the caller's to close. */
  model: GmeModel;
  /** Of queries; documents always have the model's default one. */
  instruction?: string;
  /** Stops every call that is made after it, and those in flight. */
  signal?: AbortSignal;
}

export interface GmeEmbedCallOptions extends Pick<EmbedOptions, "signal"> {
  /** Makes the pictures queries, and says what they look for. */
  instruction?: string;
}

export type MultimodalItem = Pick<Exclude<GmeInput, string>, "text" | "image">;

export class GmeEmbeddings extends Embeddings {
  readonly model: GmeModel;
  readonly instruction: string | undefined;
  private readonly options: EmbedOptions;

  constructor({ model, instruction, ...options }: GmeEmbeddingsFields) {
    super({});
    this.model = model;
    this.instruction = instruction;
    this.options = options;
  }

  override embedDocuments(documents: string[]): Promise<number[][]> {
    return this.embedAll(documents, {});
  }

  override async embedQuery(text: string): Promise<number[]> {
    return (await this.embedAll([text], { instruction: this.instruction }))[0];
  }

  /** A picture as a document: a path, a `file:` or `data:` URL, encoded bytes or raw pixels. */
  async embedImage(image: ImageSource, options: GmeEmbedCallOptions = {}): Promise<number[]> {
    return (await this.embedImages([image], options))[0];
  }

  embedImages(images: readonly ImageSource[], options: GmeEmbedCallOptions = {}): Promise<number[][]> {
    return this.embedAll(
      images.map((image) => ({ image })),
      options,
    );
  }

  /** A text and a picture in one vector; an array gives a vector for each item. */
  embedMultimodal(item: MultimodalItem, options?: GmeEmbedCallOptions): Promise<number[]>;
  embedMultimodal(items: readonly MultimodalItem[], options?: GmeEmbedCallOptions): Promise<number[][]>;
  async embedMultimodal(
    given: MultimodalItem | readonly MultimodalItem[],
    options: GmeEmbedCallOptions = {},
  ): Promise<number[] | number[][]> {
    const isList = Array.isArray(given);
    const vectors = await this.embedAll(isList ? given : [given as MultimodalItem], options);
    return isList ? vectors : vectors[0];
  }

  /** Without an instruction a query and a document are the same to the model. */
  private async embedAll(items: readonly GmeInput[], options: GmeEmbedCallOptions): Promise<number[][]> {
    const isQuery = options.instruction !== undefined;
    const vectors = await this.model.embedBatch(items, { isQuery, ...this.options, ...options });
    return vectors.map((vector) => Array.from(vector));
  }
}
