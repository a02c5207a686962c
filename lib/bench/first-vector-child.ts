// The child process of first-vector: one request, one answer, then it ends.
import { load } from "../model";
import type { FirstVectorAnswer, FirstVectorRequest } from "./first-vector";

async function measure({ model, load: options, text }: FirstVectorRequest): Promise<FirstVectorAnswer> {
  const start = performance.now();
  const gme = await load(model, options);
  const loadMilliseconds = performance.now() - start;
  await gme.embed(text);
  const milliseconds = performance.now() - start;
  const maxRssBytes = process.resourceUsage().maxRSS * 1024;
  await gme.close();
  return { loadMilliseconds, milliseconds, maxRssBytes };
}

process.once("message", (request) => {
  measure(request as FirstVectorRequest)
    .catch((error: Error): FirstVectorAnswer => ({ error: error.message }))
    .then((answer) => process.send?.(answer, () => process.exit()));
});
process.once("disconnect", () => process.exit());
process.on("SIGINT", () => undefined); // Ctrl-C reaches the whole group; the parent decides
