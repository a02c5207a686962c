// The server over an engine that costs nothing: what is left is the server.
import type { EmbedResult, ModelInfo } from "../../lib";
import { startServer } from "../../lib/server";

const dimensions = 1536;
const embedding = Float32Array.from({ length: dimensions }, (_, i) => Math.sin(i + 1) / 28);
const info = {
  ...{ name: "stub", file: "stub.gguf", dimensions, vision: true, device: "cpu", type: "f32", fingerprint: "stub" },
  limits: {
    maxTokens: 32_768,
    contextLength: 32_768,
    maxTextLength: 2 ** 20,
    maxImagePixels: 64e6,
    maxImageSide: 32_768,
    maxImageBytes: 2 ** 26,
  },
  defaults: { instruction: "You are a helpful assistant.", minImageTokens: 256, maxImageTokens: 1280 },
} as unknown as ModelInfo;

async function* embedMany(items: readonly unknown[]): AsyncGenerator<EmbedResult, void, undefined> {
  for (const index of items.keys()) yield { index, embedding, tokens: { text: 8, image: 0, total: 30 } };
}

void startServer({ model: { dimensions, info, embedMany }, port: 0, logLevel: "warn" }).then(({ url, close }) => {
  process.stderr.write(`listens at ${url}\n`);
  process.on("SIGTERM", () => void close().then(() => process.exit(0)));
});
