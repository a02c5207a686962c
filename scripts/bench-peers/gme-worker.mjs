// Our side, in a process of its own: gme-worker.mjs MODEL THREADS PACKAGE; calls come over Node's message channel.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { answerCalls } from "./worker-calls.mjs";

const [model, threads, packageFolder] = process.argv.slice(2);
const { load } = createRequire(import.meta.url)(join(resolve(packageFolder), "dist", "index.js"));
const gme = await load(model, { threads: Number(threads) });

answerCalls({
  embed: async (items) => {
    const vectors = items.length === 1 ? [await gme.embed(items[0])] : await gme.embedBatch(items);
    return { vectors: vectors.length, first: vectors[0] };
  },
  count: async (texts) => {
    const counts = await Promise.all(texts.map((text) => gme.countTokens(text)));
    return counts.map(({ text, total }) => ({ text, total }));
  },
  info: async () => gme.info,
});
