import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { convert, defaultModel, listModels, load, removeModel, setDefaultModel } from "../../lib/index";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { HubServer, sha256Of } from "../helpers/hub-server";
import { rejectsWith } from "../helpers/rejects";
import {
  blobs,
  cacheProblems,
  checkpointHub,
  embedOnce,
  freshStore,
  pullFrom,
  repository,
  weights,
} from "./pull-setup";

const pair = { decoder: "tiny-a-f32.gguf", tower: "mmproj-tiny-a-f32.gguf" };
const gguf = (name: string) => readFileSync(fixture("gguf", name));

t.test("a checkpoint is downloaded, converted and loaded by its name", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  const seen: string[] = [];
  const model = await pullFrom(hub, {
    onProgress: ({ step, done, total }) => {
      if (done > total) t.fail(`${step}: ${done} of ${total}`);
      if (done === total) seen.push(step);
    },
  });
  t.match(model, { name: "tiny-a", repository, revision: "main", commit: hub.commit, type: "f16", isNew: true });
  t.equal(model.licence, "apache-2.0");
  t.ok(seen.includes("download") && seen.includes("convert"), "both steps are reported to their end");
  t.same(cacheProblems(place, hub), []);
  const ref = join(place.hub, "models--someone--tiny-a", "refs", "main");
  t.equal(readFileSync(ref, "utf8"), hub.commit, "the revision is noted for other tools");

  const direct = join(temporaryFolder(), "direct.gguf");
  await convert({ source: fixture("checkpoints", "tiny-a"), target: direct });
  t.ok(readFileSync(model.file).equals(readFileSync(direct)), "the file is that of gme convert");
  const loaded = await load("tiny-a", { threads: 1 });
  t.equal(loaded.dimensions, (await embedOnce(direct)).length);
  await loaded.close();
  t.same(await embedOnce("tiny-a"), await embedOnce(direct));
});

t.test("what is there is neither downloaded nor converted again", async (t) => {
  freshStore();
  const hub = await checkpointHub();
  const first = await pullFrom(hub);
  hub.take();
  const second = await pullFrom(hub);
  t.equal(second.isNew, false);
  t.equal(second.file, first.file);
  t.same(
    hub.take().map(({ path }) => path),
    ["/api/models/someone/tiny-a/revision/main"],
  );
  const other = await pullFrom(hub, { type: "f32" });
  t.notOk(
    hub.take().some(({ method, path }) => method === "GET" && path.includes(weights)),
    "another type is converted from the files that are there",
  );
  t.equal(other.type, "f32");
  t.notOk(existsSync(first.file), "one file per name");
  t.equal((await listModels()).length, 1);
});

t.test("a known model has its short name, however its repository is written", async (t) => {
  freshStore();
  const known = "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct";
  const { files } = await checkpointHub();
  const hub = await HubServer.start(known, files);
  const model = await pullFrom(hub, { model: "gme-2b" });
  t.match(model, { name: "gme-2b", repository: known, licence: "Apache-2.0", isNew: true });
  t.match(await pullFrom(hub, { model: known.toLowerCase() }), { name: "gme-2b", isNew: false });
  await (await load("gme-2b", { threads: 1 })).close();
});

t.test("shards are those that the index names", async (t) => {
  freshStore();
  const folder = fixture("more", "checkpoint-tiny-b-bf16-sharded");
  const files = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
  files.set("model-00009-of-00009.safetensors", Buffer.alloc(300_000));
  const hub = await HubServer.start("someone/tiny-b", files);
  const model = await pullFrom(hub, { model: "someone/tiny-b", type: "bf16" });
  t.equal(model.sources.filter(({ path }) => path.endsWith(".safetensors")).length, 2);
  t.equal((await embedOnce("tiny-b")).length > 0, true);
});

t.test("a GGUF pair is taken as it is, with the tower beside the decoder", async (t) => {
  const place = freshStore();
  const files = new Map(Object.values(pair).map((name) => [name, gguf(name)]));
  const hub = await HubServer.start("someone/tiny-a-gguf", files);
  const model = await pullFrom(hub, { model: "someone/tiny-a-gguf" });
  t.match(model, { name: "tiny-a-gguf", isNew: true });
  t.notOk("type" in model);
  t.ok(readFileSync(model.file).equals(gguf(pair.decoder)));
  t.ok(readFileSync(model.mmproj as string).equals(gguf(pair.tower)));
  const loaded = await load("tiny-a-gguf", { threads: 1 });
  t.equal(loaded.info.vision, true, "the record's tower is loaded with it");
  await loaded.close();

  const sha256 = sha256Of(gguf(pair.decoder));
  const named = { model: `someone/tiny-a-gguf:${pair.decoder}`, name: "mine" };
  await rejectsWith(t, () => pullFrom(hub, { ...named, sha256: "0".repeat(64) }), "GME_HASH_MISMATCH");
  t.match(await pullFrom(hub, { ...named, sha256 }), { name: "mine" });
  t.equal(blobs(place, "someone/tiny-a-gguf").length, 2);
});

t.test("a repository with several GGUF files asks which", async (t) => {
  freshStore();
  const files = new Map([
    ["tiny-q8_0.gguf", gguf(pair.decoder)],
    ["tiny-f16.gguf", gguf(pair.decoder)],
    ["mmproj-one.gguf", gguf(pair.tower)],
    ["mmproj-two.gguf", gguf(pair.tower)],
  ]);
  const hub = await HubServer.start("someone/several", files);
  const model = "someone/several";
  const error = await rejectsWith(t, () => pullFrom(hub, { model }), "GME_OPTION_INVALID");
  t.match(error.message, "tiny-q8_0.gguf, tiny-f16.gguf");
  t.match((await rejectsWith(t, () => pullFrom(hub, { model, type: "f16" }), "GME_OPTION_INVALID")).message, "towers");
  const pulled = await pullFrom(hub, { model, type: "f16", mmproj: "mmproj-two.gguf" });
  t.match(pulled.file, /tiny-f16\.gguf$/);
  t.match(pulled.mmproj, /mmproj-two\.gguf$/);
});

t.test("a repository of something else is refused before its weights come", async (t) => {
  freshStore();
  const hub = await checkpointHub();
  const config = JSON.parse(String(hub.files.get("config.json")));
  hub.files.set("config.json", Buffer.from(JSON.stringify({ ...config, model_type: "bert" })));
  await rejectsWith(t, () => pullFrom(hub), "GME_MODEL_UNSUPPORTED");
  t.notOk(hub.take().some(({ path }) => path.includes(weights)));
  const empty = await HubServer.start(repository, new Map([["README.md", Buffer.from("hello")]]));
  await rejectsWith(t, () => pullFrom(empty), "GME_MODEL_UNSUPPORTED");
  const bad = await HubServer.start(repository, new Map([["a.gguf", Buffer.from("no GGUF at all, but long enough")]]));
  await rejectsWith(t, () => pullFrom(bad), "GME_GGUF_BAD_MAGIC");
  t.same(await listModels(), []);
});

t.test("the default is the chosen model, else the only one", async (t) => {
  const place = freshStore();
  t.equal(await defaultModel(), undefined);
  const hub = await checkpointHub();
  await pullFrom(hub, { name: "one" });
  t.equal((await defaultModel())?.name, "one");
  await pullFrom(hub, { name: "two" });
  t.equal(await defaultModel(), undefined);
  await setDefaultModel("two");
  t.equal((await defaultModel())?.name, "two");
  await rejectsWith(t, () => setDefaultModel("three"), "GME_MODEL_NOT_FOUND");

  const count = blobs(place).length;
  await removeModel("two", { all: true });
  t.equal(blobs(place).length, count, "what another model was made of stays");
  t.equal((await defaultModel())?.name, "one");
  await removeModel("one");
  t.equal(blobs(place).length, count, "the Hugging Face cache stays without --all");
  t.same(await listModels(), []);
  await pullFrom(hub, { name: "one" });
  await removeModel("one", { all: true });
  t.same(blobs(place), []);
  await rejectsWith(t, () => removeModel("one"), "GME_MODEL_NOT_FOUND");
});

t.test("a name that is not in the store says which command brings it", async (t) => {
  freshStore();
  t.match((await rejectsWith(t, () => load("gme-2b"), "GME_MODEL_NOT_FOUND")).message, "gme pull gme-2b");
  t.match((await rejectsWith(t, () => load("something"), "GME_MODEL_NOT_FOUND")).message, "gme pull");
  t.equal((await rejectsWith(t, () => load("missing.gguf"), "GME_IO_ERROR")).errno, "ENOENT");
  const hub = await checkpointHub();
  const { file } = await pullFrom(hub);
  truncateSync(file, 1000);
  const changed = await rejectsWith(t, () => load("tiny-a"), "GME_MODEL_NOT_FOUND");
  t.match(changed.message, "has changed: gme pull someone/tiny-a --name tiny-a");
  writeFileSync(join(file, "..", "model.json"), "{");
  t.match((await rejectsWith(t, () => load("tiny-a"), "GME_MODEL_NOT_FOUND")).message, "the record is damaged");
  t.same(await listModels(), []);
  t.equal((await pullFrom(hub)).isNew, true, "pulling again makes it whole");
  t.equal((await embedOnce("tiny-a")).length > 0, true);
});

t.test("an error of the caller's progress function ends the pull, and the next one goes on", async (t) => {
  const place = freshStore();
  const hub = await checkpointHub();
  for (const wanted of ["download", "convert"]) {
    const onProgress = ({ step }: { step: string }) => {
      if (step === wanted) throw new Error("mine");
    };
    t.equal((await rejectsWith(t, () => pullFrom(hub, { onProgress }), "GME_OPTION_INVALID")).message, "mine");
  }
  await pullFrom(hub);
  t.same(cacheProblems(place, hub), []);
});

t.test("a name belongs to one repository, and the known names to theirs", async (t) => {
  freshStore();
  const hub = await checkpointHub();
  await pullFrom(hub, { name: "mine" });
  const other = await HubServer.start("someone/else", hub.files);
  await rejectsWith(t, () => pullFrom(other, { model: "someone/else", name: "mine" }), "GME_TARGET_EXISTS");
  await rejectsWith(t, () => pullFrom(hub, { name: "gme-2b" }), "GME_OPTION_INVALID");
});

t.test("misspelt and wrong options name the option", async (t) => {
  freshStore();
  const hub = await checkpointHub();
  const cases: [object, string][] = [
    [{ modle: "x" }, "options.modle"],
    [{ model: "gme-3b" }, "options.model"],
    [{ model: "a/b:c.safetensors" }, "options.model"],
    [{ model: "a/b:../c.gguf" }, "options.model"],
    [{ model: "../b" }, "repository"],
    [{ model: "a--b/c" }, "repository"],
    [{ type: "q9" }, "options.type"],
    [{ revision: "../main" }, "revision"],
    [{ name: "../x" }, "options.name"],
    [{ sha256: "0".repeat(64) }, "options.sha256"],
    [{ model: "a/b:c.gguf", sha256: "zz" }, "options.sha256"],
    [{ signal: {} }, "options.signal"],
  ];
  for (const [options, field] of cases)
    t.equal((await rejectsWith(t, () => pullFrom(hub, options), "GME_OPTION_INVALID")).field, field);
  t.same(hub.take(), []);
});
