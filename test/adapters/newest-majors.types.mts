// Compiled, never run: the adapters and the examples of docs/server.md against the newest majors of their packages, which want Node 22.
// What stops fitting is a compile error here.
import type { EmbeddingModelV3, EmbeddingModelV4 } from "@ai-sdk/provider-next";
import type { EmbeddingModelV3 as PreviousV3 } from "@ai-sdk/provider";
import type { EmbeddingsInterface } from "@langchain/core/embeddings";
import type { OpenAIEmbeddings } from "@langchain/openai-next";
import type * as ai from "ai";
import type * as aiNext from "ai-next";
import type OpenAI from "openai-next";
import { gmeProvider } from "../../lib/adapters/ai-sdk.js";
import type { GmeEmbeddings } from "../../lib/adapters/langchain.js";
import type { GmeModel } from "../../lib/index.js";

type Sdk = Pick<typeof ai, "embed" | "embedMany" | "customProvider">;
type NextSdk = Pick<typeof aiNext, "embed" | "embedMany" | "customProvider">;

/** Both interfaces, each with the packages that take it. */
export async function embedWithBoth(model: GmeModel, sdk: Sdk, next: NextSdk) {
  const previous = gmeProvider(model);
  const newest = gmeProvider(model, { specificationVersion: "v4" });
  const v3: EmbeddingModelV3 & PreviousV3 = previous.textEmbeddingModel();
  const v4: EmbeddingModelV4 = newest.multimodalEmbeddingModel();
  // @ts-expect-error the interfaces are told apart
  const wrong: EmbeddingModelV4 = previous.imageEmbeddingModel();
  // @ts-expect-error there is no such interface
  gmeProvider(model, { specificationVersion: "v5" });
  // @ts-expect-error ai 6 does not take what ai 7 does
  await sdk.embed({ model: newest.textEmbeddingModel(), value: "a" });
  const six: number[] = (await sdk.embed({ model: previous.textEmbeddingModel(), value: "a" })).embedding;
  const seven: number[] = (await next.embed({ model: newest.textEmbeddingModel(), value: "a", dimensions: 8 }))
    .embedding;
  const older: number[][] = (await next.embedMany({ model: previous.imageEmbeddingModel(), values: ["a"] })).embeddings;
  const named = next.customProvider({ embeddingModels: { text: v4 } }).embeddingModel("text");
  sdk.customProvider({ embeddingModels: { text: v3 } }).embeddingModel("text");
  return { six, seven, older, named, wrong };
}

/** The class is what the newest @langchain/openai gives, too: whatever takes the one takes the other. */
export function eitherEmbeddings(ours: GmeEmbeddings, theirs: OpenAIEmbeddings): EmbeddingsInterface[] {
  return [ours, theirs];
}

/** The example's calls, on `openai` 7. */
export async function embedWithOpenAI(client: OpenAI): Promise<number[][]> {
  const { data, usage } = await client.embeddings.create({ model: "gme", input: ["a red bicycle", "a banana"] });
  const tokens: number = usage.total_tokens;
  return tokens > 0 ? data.map(({ embedding }) => embedding) : [];
}
