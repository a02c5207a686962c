// LlamaIndex's MultiModalEmbedding on a loaded GmeModel. The base class comes from the caller's @llamaindex/core: scripts/setup.mjs writes
// this file as an ES module too, so that both kinds of user extend the class that they import themselves.
import { MultiModalEmbedding } from "@llamaindex/core/embeddings";
import type { MessageContentDetail } from "@llamaindex/core/llms";
import type { ImageType } from "@llamaindex/core/schema";
import type { EmbedOptions, GmeInput, GmeModel, ImageSource } from "../index.js";

export interface GmeEmbeddingFields extends Pick<EmbedOptions, "overflow" | "specialTokens" | "signal"> {
  /** Loaded by `load`; it stays the caller's to close. */
  model: GmeModel;
  /** Of queries, texts and pictures; documents always have the model's default one. */
  instruction?: string;
  /** Nodes that LlamaIndex hands over at a time. Default: the model's own batch. */
  embedBatchSize?: number;
}

export class GmeEmbedding extends MultiModalEmbedding {
  readonly model: GmeModel;
  readonly instruction: string | undefined;
  private readonly options: EmbedOptions;

  constructor({ model, instruction, embedBatchSize, ...options }: GmeEmbeddingFields) {
    super();
    this.model = model;
    this.instruction = instruction;
    this.options = options;
    this.embedBatchSize = embedBatchSize ?? model.info.defaults.batchSize;
    this.embedInfo = { dimensions: model.dimensions, maxTokens: model.info.limits.maxTokens };
  }

  override async getTextEmbedding(text: string): Promise<number[]> {
    return (await this.getTextEmbeddings([text]))[0];
  }

  override getTextEmbeddings = (texts: string[]): Promise<number[][]> => this.embedAll(texts);

  /** A path, a `file:` or `data:` URL, or a Blob. */
  override async getImageEmbedding(image: ImageType): Promise<number[]> {
    return (await this.getImageEmbeddings([image]))[0];
  }

  override async getImageEmbeddings(images: ImageType[]): Promise<number[][]> {
    const sources = await Promise.all(images.map(sourceOf));
    return this.embedAll(sources.map((image) => ({ image })));
  }

  /** Of a text or a picture; null for what is neither, as the base class has it. */
  override async getQueryEmbedding(query: MessageContentDetail): Promise<number[] | null> {
    const input = inputOf(query);
    return input === undefined ? null : (await this.embedAll([input], this.instruction))[0];
  }

  /** Without an instruction a query and a document are the same to the model. */
  private async embedAll(items: readonly GmeInput[], instruction?: string): Promise<number[][]> {
    const isQuery = instruction !== undefined;
    const vectors = await this.model.embedBatch(items, { ...this.options, isQuery, instruction });
    return vectors.map((vector) => Array.from(vector));
  }
}

async function sourceOf(image: ImageType): Promise<ImageSource> {
  return image instanceof Blob ? new Uint8Array(await image.arrayBuffer()) : image;
}

function inputOf(query: MessageContentDetail): GmeInput | undefined {
  switch (query.type) {
    case "text":
      return { text: query.text };
    case "image_url":
      return { image: query.image_url.url };
    case "image":
      return { image: `data:${query.mimeType};base64,${query.data}` };
    default:
      return undefined;
  }
}
