// Calls that fail and calls that work, all with a secret in the text; prints everything that an application would log of the errors.
import { inspect } from "node:util";
import { type GmeInput, load } from "../../../lib/index";

async function main(): Promise<void> {
  const [model, secret, image] = process.argv.slice(2);
  const gme = await load(model, { threads: 1, maxTokens: 100 });
  const long = `${secret} `.repeat(200);
  const calls: (() => unknown)[] = [
    () => gme.embed(secret),
    () => gme.embed({ id: 1, text: secret, prompt: secret }),
    () => gme.embed(secret, { instruction: secret }),
    () => gme.embed(long),
    () => gme.embed(long, { overflow: "truncate" }),
    () => gme.embed({ text: secret, prompt: long }),
    () => gme.embed(secret, { instruction: long }),
    () => gme.embed(secret.repeat(100_000)),
    () => gme.embed({ text: secret, image: "missing.png" }),
    () => gme.embed({ text: secret, image: Buffer.from("no picture") }),
    () => gme.embed({ text: secret, image }),
    () => gme.embed({ text: [secret] as unknown as string }),
    () => gme.embed({ text: new String(secret) as string }),
    () => gme.embed({ text: { toString: () => secret } as unknown as string }),
    () => gme.embed([secret] as unknown as string),
    () => gme.embedBatch([secret, 3 as unknown as string]),
    () => gme.embedBatch(secret as unknown as string[]),
    () => gme.embedBatch([[secret]] as unknown as string[]),
    () => gme.embedMany(secret as unknown as string[]).next(),
    () => gme.embedMany([secret, long]).next(),
    () => gme.getTextEmbeddings({ texts: secret as unknown as string[] }),
    () => gme.getFusedEmbeddings({ texts: [secret], images: [] }),
    () => gme.countTokens(secret),
    () => gme.tokenize(secret),
    () => gme.tokenize([secret] as unknown as string),
    () => gme.profile([secret]),
    () => gme.inspectStages({ text: secret, image: "missing.png" } as GmeInput),
    () => gme.embed(secret, { signal: AbortSignal.abort() }),
  ];
  let failed = 0;
  for (const call of calls) {
    try {
      await call();
    } catch (error) {
      failed++;
      console.log(inspect(error, { depth: 8, showHidden: true }), JSON.stringify(error), String(error));
    }
  }
  await gme.close();
  await gme.embed(secret).catch((error) => console.log(inspect(error)));
  console.log(`${calls.length} calls, ${failed} failed`);
}

main();
