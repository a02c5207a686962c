import { cohere } from "./cohere";
import type { Dialect } from "./dialect";
import { ollama } from "./ollama";
import { openai } from "./openai";
import { tei } from "./tei";
import { voyage } from "./voyage";

/** The dialects, one a path. What `read` returns as a form goes back to the `write` of the same dialect only. */
export const dialects: readonly Dialect[] = [openai, cohere, voyage, tei, ollama] as readonly Dialect[];

export type { Dialect } from "./dialect";
export { openAiError } from "./openai-error";
