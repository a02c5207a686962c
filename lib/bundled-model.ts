import { join } from "node:path";
import { besideAsar } from "./asar-path";

/** The demonstration model that comes with the package: about 3 M parameters, made to show the machinery. In an asar archive: beside it. */
export const bundledModelPath = besideAsar(join(__dirname, "..", "models", "emoji-tiny-f16.gguf"));
