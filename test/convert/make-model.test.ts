import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { load } from "../../lib/index";
import { imageFixture, root, temporaryFolder } from "../helpers/fixtures";

const folder = temporaryFolder();

function makeModel(name: string, ...args: string[]): string {
  const out = join(folder, `${name}.gguf`);
  const tsx = pathToFileURL(require.resolve("tsx")).href;
  execFileSync(process.execPath, ["--import", tsx, join(root, "scripts", "make-model.ts"), ...args, "--out", out]);
  return out;
}

t.test("make-model writes the same bytes for the same seed, and a model that embeds", async (t) => {
  const [first, again, other] = [
    makeModel("first", "--shape", "tiny"),
    makeModel("again", "--shape", "tiny"),
    makeModel("other", "--shape", "tiny", "--seed", "2"),
  ];
  t.ok(readFileSync(first).equals(readFileSync(again)));
  t.notOk(readFileSync(first).equals(readFileSync(other)));
  const gme = await load(first, { threads: 1 });
  const vector = await gme.embed({ text: "a photo", image: imageFixture("tiny-28x28.png") });
  t.equal(vector.length, 64);
  t.ok(vector.every(Number.isFinite));
  await gme.close();
});

t.test("make-model gives a small decoder the whole vocabulary", async (t) => {
  const gme = await load(makeModel("vocabulary", "--shape", "tiny-full-vocab", "--type", "bf16"), { threads: 1 });
  t.same([...(await gme.tokenize("<|im_end|>", { specialTokens: "parse" }))], [151_645]);
  t.ok((await gme.embed("hello")).every(Number.isFinite));
  await gme.close();
});

t.test("make-model writes whole blocks of a quantised type", async (t) => {
  const gme = await load(makeModel("blocks", "--shape", "tiny-full-vocab", "--type", "q4_0"), { threads: 1 });
  t.ok((await gme.embed("hello")).every(Number.isFinite), "a tensor of several pieces has no block out of place");
  await gme.close();
});
