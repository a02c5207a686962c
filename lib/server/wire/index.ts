import type { Dialect } from "./dialect";
import { openai } from "./openai";

/** The dialects, one a path. */
export const dialects: readonly Dialect[] = [openai as Dialect];
