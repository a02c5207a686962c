import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { convert, hashTensors, inspectFile } from "../../lib/index";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";

const folder = temporaryFolder();
process.env.GME_HOME = join(folder, "home");

const hashOf = async (path: string, options?: object) => hashTensors(await inspectFile(path), options);

t.test("the tensors' sha256 tells weights apart, not keys, and is remembered until the file changes", async (t) => {
  const [path, renamed] = [join(folder, "model.gguf"), join(folder, "renamed.gguf")];
  copyFileSync(fixture("gguf", "tiny-a-f32.gguf"), path);
  const first = await hashOf(path);
  t.match(first, /^[0-9a-f]{64}$/);
  const records = () => readdirSync(join(folder, "home", "hashes"));
  t.equal(records().length, 1);
  let read = false;
  t.equal(await hashOf(path, { onProgress: () => (read = true) }), first);
  t.notOk(read, "the second call reads nothing");
  const source = fixture("gguf", "tiny-a-f32.gguf");
  await convert({ source, target: renamed, name: "another name" });
  await convert({ source, target: join(folder, "named.gguf"), name: "a third" });
  t.equal(await hashOf(renamed), await hashOf(join(folder, "named.gguf")), "keys do not count");
  const bytes = readFileSync(path);
  bytes[bytes.length - 100] ^= 1;
  writeFileSync(path, bytes);
  t.not(await hashOf(path), first, "one flipped bit is another hash");
  writeFileSync(join(folder, "home", "hashes", records()[0]), "damaged");
  t.match(await hashOf(path), /^[0-9a-f]{64}$/, "a damaged record is made anew");
});

t.test("hashing stops at an abort GME_ABORTED", async (t) => {
  const path = join(folder, "aborted.gguf");
  copyFileSync(fixture("gguf", "tiny-b-f32.gguf"), path);
  const report = await inspectFile(path);
  await rejectsWith(t, () => hashTensors(report, { signal: AbortSignal.abort() }), "GME_ABORTED");
});
