import { join } from "node:path";

/** The demonstration model that comes with the package: about 3 M parameters, made to show the machinery. */
export const bundledModelPath = join(__dirname, "..", "models", "emoji-tiny-f16.gguf");
