import t from "tap";
import { binding } from "../../lib/binding";
import { embedParams, loadParams, makeItems, modelFile, outcomeOf, wait } from "./native-model";
import { countThreads } from "./process-state";
import { rounds } from "./rounds";

t.test("L11 the compute threads of a model end with it, aborted or not", async (t) => {
  const round = async () => {
    const model = await binding().load(modelFile, { ...loadParams, threads: 3 }).promise;
    const job = model.embed(makeItems(16), embedParams);
    await wait(1);
    job.abort();
    t.match(await outcomeOf(job), /GME_ABORTED|fulfilled/);
    await model.close();
  };
  await round();
  const threads = countThreads();
  const count = rounds(10, 100);
  for (let i = 0; i < count; i++) await round();
  t.equal(countThreads(), threads);
  t.comment(`L11: ${count} loads with 3 compute threads each, aborted: ${threads} threads before and after`);
});

t.test("L12 the error of a load names the file as the caller gave it", async (t) => {
  const error = await binding()
    .load("no-such-model.gguf", loadParams)
    .promise.catch((reason) => reason);
  t.match(error, { code: "GME_IO_ERROR", file: "no-such-model.gguf" });
});
