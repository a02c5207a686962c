// A peer from the npm registry, in a process of its own: registry-worker.mjs NAME ENTRY DECODER THREADS; texts only.
// Every text comes with GME's template around it; each peer is set to causal attention over the last token, CPU only.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { answerCalls } from "./worker-calls.mjs";

const [name, entry, decoder, threads] = process.argv.slice(2);
const contextTokens = 2048;

/** Prompts -> vectors. Embeds one at a time: its own lock does so whatever is asked. */
async function nodeLlamaCpp() {
  const { getLlama } = await import(pathToFileURL(entry).href);
  const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", maxThreads: Number(threads) });
  const model = await llama.loadModel({ modelPath: decoder });
  const context = await model.createEmbeddingContext({
    contextSize: contextTokens,
    batchSize: 512,
    threads: Number(threads),
  });
  const embed = async (prompt) => (await context.getEmbeddingFor(model.tokenize(prompt, true))).vector;
  return { embed, count: (prompt) => model.tokenize(prompt, true).length };
}

async function llamaNode() {
  const { loadModel } = createRequire(import.meta.url)(entry);
  const context = await loadModel({
    model: decoder,
    embedding: true,
    pooling_type: "last",
    embd_normalize: 2,
    n_threads: Number(threads),
    n_gpu_layers: 0,
    n_ctx: contextTokens,
    n_batch: contextTokens,
    n_ubatch: 512,
    n_parallel: 1,
  });
  const embed = async (prompt) => (await context.embedding(prompt)).embedding;
  return { embed, count: async (prompt) => (await context.tokenize(prompt)).tokens.length };
}

const peer = await { "node-llama-cpp": nodeLlamaCpp, "@fugood/llama.node": llamaNode }[name]();

answerCalls({
  embed: async (prompts) => {
    const vectors = await Promise.all(prompts.map((prompt) => peer.embed(prompt)));
    return { vectors: vectors.length, first: Float32Array.from(vectors[0]) };
  },
  count: (prompts) => Promise.all(prompts.map((prompt) => peer.count(prompt))),
});
