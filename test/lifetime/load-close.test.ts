import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { binding } from "../../lib/binding";
import { embedNow, embedParams, loadParams, makeItems, modelFile, open, outcomeOf, wait } from "./native-model";
import { countMappings, countOpenFiles, countThreads } from "./process-state";

t.test("L11 loading and closing a hundred times leaves threads, files and mappings flat", async (t) => {
  const items = makeItems(2);
  const round = async () => {
    const model = await open();
    await embedNow(model, items);
    await model.close();
  };
  for (let i = 0; i < 5; i++) await round();
  await wait(100); // tsx may be writing what it compiled
  const threads = countThreads();
  const files = countOpenFiles();
  for (let i = 0; i < 100; i++) await round();
  t.equal(countThreads(), threads, "threads");
  t.equal(countOpenFiles(), files, "open files");
  t.equal(countMappings(modelFile), 0, "mappings of the model");
});

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
  for (let i = 0; i < 10; i++) await round();
  t.equal(countThreads(), threads);
});

t.test("L12 failing loads leave threads and files flat and say why", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "gme-lifetime-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const cut = join(folder, "cut.gguf");
  writeFileSync(cut, readFileSync(modelFile).subarray(0, 4000));
  await outcomeOf(binding().load(cut, loadParams));
  const settleThreads = async (target: number) => {
    for (let i = 0; i < 100 && countThreads() > target; i++) await wait(5);
  };
  await wait(20);
  const threads = countThreads();
  const files = countOpenFiles();
  const codes = new Set<string>();
  for (let i = 0; i < 50; i++) {
    codes.add(await outcomeOf(binding().load(cut, loadParams)));
    codes.add(await outcomeOf(binding().load(join(folder, "missing.gguf"), loadParams)));
  }
  await settleThreads(threads);
  t.same([...codes].sort(), ["GME_GGUF_TRUNCATED", "GME_IO_ERROR"]);
  t.equal(countThreads(), threads, "threads");
  t.equal(countOpenFiles(), files, "open files");
});

t.test("L12 the error of a load names the file as the caller gave it", async (t) => {
  const error = await binding()
    .load("no-such-model.gguf", loadParams)
    .promise.catch((reason) => reason);
  t.match(error, { code: "GME_IO_ERROR", file: "no-such-model.gguf" });
});
