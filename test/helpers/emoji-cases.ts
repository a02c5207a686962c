import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { GmeInput } from "../../lib/index";
import { fixture, readJson, readTensors, root } from "./fixtures";

interface EmojiCase {
  id: string;
  image: string | null;
  text: string | null;
}

/** The demonstration model's 158 cases and the reference's vectors. */
export const { cases: emojiCases } = readJson<{ cases: EmojiCase[] }>("emoji-tiny", "cases.json");
export const emojiVectors = readTensors(fixture("emoji-tiny", "vectors.safetensors"));
const samples = sampleFolder();

/** The folder of the committed sample pictures. */
function sampleFolder(): string {
  const found = readdirSync(join(root, "models"), { recursive: true, encoding: "utf8" }).find((name) =>
    name.endsWith("airplane.png"),
  );
  if (found === undefined) throw new Error("models/ holds no sample pictures");
  return join(root, "models", found, "..");
}

export function emojiInput({ text, image }: EmojiCase): GmeInput {
  return { ...(text !== null && { text }), ...(image !== null && { image: join(samples, image) }) };
}
