// One call with one huge text in a process of its own: what it answers, how long it takes, by how much memory grows at most.
//
//   text-memory.ts MODEL CALL  ->  {"code", "milliseconds", "growthMiB", "textMiB"} on stdout
import { readFileSync, writeFileSync } from "node:fs";
import { type GmeModel, load } from "../../../lib/index";

const longest = 2 ** 29 - 24; // V8's longest string
// repeat() makes a tree of references; reading a character would write the whole string out
const huge = "x".repeat(longest);
const tenMegabytes = Buffer.alloc(10_000_000, "a ten megabyte text, ").toString("latin1");

const calls: Record<string, [text: string, call: (gme: GmeModel) => unknown]> = {
  "embed 512 MB": [huge, (gme) => gme.embed(huge)],
  "embed { text } of 512 MB": [huge, (gme) => gme.embed({ text: huge })],
  "embedBatch with 512 MB": [huge, (gme) => gme.embedBatch(["a", { text: huge }])],
  "embedMany with 512 MB": [
    huge,
    async (gme) => ((await gme.embedMany([huge]).next()).value as { error: unknown }).error,
  ],
  "countTokens 512 MB": [huge, (gme) => gme.countTokens(huge)],
  "tokenize 512 MB": [huge, (gme) => gme.tokenize(huge)],
  "inspectStages 512 MB": [huge, (gme) => gme.inspectStages(huge)],
  "instruction of 512 MB": [huge, (gme) => gme.embed("a", { instruction: huge })],
  "prompt of 512 MB": [huge, (gme) => gme.embed({ text: "a", prompt: huge })],
  "a list that is 512 MB of text": [huge, (gme) => gme.embedBatch(huge as unknown as string[])],
  "a picture's path of 512 MB": [huge, (gme) => gme.embed({ image: huge })],
  "a model's path of 512 MB": [huge, () => load(huge)],
  "embed 10 MB": [tenMegabytes, (gme) => gme.embed(tenMegabytes)],
  "embed 10 MB in UTF-16": [`${tenMegabytes}\u5b57`, (gme) => gme.embed(`${tenMegabytes}\u5b57`)],
  "truncate 10 MB of words": [tenMegabytes, (gme) => gme.embed(tenMegabytes, { overflow: "truncate" })],
  "truncate one word of 10 MB": [tenMegabytes, (gme) => gme.embed("a".repeat(10_000_000), { overflow: "truncate" })],
  "truncate one lone surrogate, 134 million times": [
    huge,
    (gme) => gme.embed("\ud800".repeat(2 ** 27), { overflow: "truncate" }),
  ],
};

/** The most memory since resetPeak(), in MiB; where the system does not tell, the memory now. */
function peak(): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024;
  } catch {
    return process.memoryUsage().rss / 2 ** 20;
  }
}

function resetPeak(): void {
  try {
    writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // not Linux, or not allowed: the peak then includes what loading took
  }
}

async function main(): Promise<void> {
  const [model, ...names] = process.argv.slice(2);
  const gme = await load(model, { threads: 1, maxTokens: 200 });
  await gme.embed("a text before, so that what is only made once is there");
  for (const name of names) {
    const [text, call] = calls[name];
    resetPeak();
    const before = peak();
    const start = performance.now();
    let code = "ok";
    try {
      const result = await call(gme);
      if (result instanceof Error) throw result;
    } catch (error) {
      code = (error as { code?: string }).code ?? String(error);
    }
    const milliseconds = performance.now() - start;
    const textMiB = text === huge ? 512 : (text.length * (/[^\0-\xff]/.test(text) ? 2 : 1)) / 2 ** 20;
    console.log(JSON.stringify({ name, code, milliseconds, growthMiB: peak() - before, textMiB }));
  }
  const after = await gme.embed("hello");
  console.log(
    JSON.stringify({
      name: "after",
      code: after.every(Number.isFinite) ? "ok" : "not finite",
      milliseconds: 0,
      growthMiB: 0,
      textMiB: 0,
    }),
  );
  await gme.close();
}

main();
