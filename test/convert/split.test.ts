import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { convert, load } from "../../lib/index";
import { gme } from "../helpers/cli";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { readGguf } from "./gguf-contents";

const folder = temporaryFolder();
const differing = /^general\.name$|^clip\.vision\.feed_forward_length$/;

function emptyFolder(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

/** Every key and tensor of llama.cpp's file, and no other. */
async function sameFile(t: Test, ours: string, theirs: string): Promise<void> {
  const [a, b] = [await readGguf(ours), await readGguf(theirs)];
  t.same([...a.metadata.keys()].sort(), [...b.metadata.keys()].sort(), "the same keys");
  for (const [key, value] of b.metadata) if (!differing.test(key)) t.same(a.metadata.get(key), value, key);
  t.same([...a.tensors.keys()].sort(), [...b.tensors.keys()].sort(), "the same tensors");
  for (const [name, { ne, type }] of b.tensors) {
    t.same([a.tensors.get(name)?.ne, a.tensors.get(name)?.type.name], [ne, type.name], name);
    t.ok(a.data.get(name)?.equals(b.data.get(name) as Buffer), `${name} has the same bytes`);
  }
}

interface Parsed {
  readonly metadata: { readonly [key: string]: unknown };
  readonly tensorInfos: readonly { readonly name: string; readonly shape: readonly bigint[]; readonly dtype: number }[];
}

/** What an independent reader makes of the file. */
async function parseIndependently(path: string): Promise<Parsed> {
  const { gguf } = await import("@huggingface/gguf");
  return (await gguf(path, { allowLocalFile: true })) as unknown as Parsed;
}

for (const model of ["tiny-a", "tiny-b"]) {
  t.test(`${model} splits into the two files of llama.cpp's converter, byte for byte in the tensors`, async (t) => {
    const at = emptyFolder(model);
    const target = join(at, "m.gguf");
    const summary = await convert({ source: fixture("checkpoints", model), target, type: "f32", split: true });
    t.same(readdirSync(at).sort(), ["m.gguf", "mmproj-m.gguf"]);
    t.same([summary.file, summary.visionFile], [target, join(at, "mmproj-m.gguf")]);
    t.same(summary.unneeded, [], "the head stays");
    await sameFile(t, target, fixture("gguf", `${model}-f32.gguf`));
    await sameFile(t, join(at, "mmproj-m.gguf"), fixture("gguf", `mmproj-${model}-f32.gguf`));
  });

  t.test(`${model}'s two files load in an independent reader`, async (t) => {
    for (const [ours, theirs] of [
      ["m.gguf", `${model}-f32.gguf`],
      ["mmproj-m.gguf", `mmproj-${model}-f32.gguf`],
    ]) {
      const a = await parseIndependently(join(folder, model, ours));
      const b = await parseIndependently(fixture("gguf", theirs));
      for (const [key, value] of Object.entries(b.metadata)) {
        if (!differing.test(key)) t.same(a.metadata[key], value, key);
      }
      const listed = (parsed: Parsed) =>
        parsed.tensorInfos.map(({ name, shape, dtype }) => `${name} ${shape.join("x")} ${dtype}`).sort();
      t.same(listed(a), listed(b));
    }
  });

  t.test(`${model}'s two files embed as the one does`, async (t) => {
    const single = join(folder, `${model}.gguf`);
    await convert({ source: fixture("checkpoints", model), target: single, type: "f32" });
    const vectors = [];
    for (const path of [single, join(folder, model, "m.gguf")]) {
      const gme = await load(path, { threads: 1 });
      vectors.push(await gme.embed({ text: "a photo", image: fixture("images", "tiny-28x28.png") }));
      await gme.close();
    }
    t.same(vectors[1], vectors[0]);
  });
}

t.test("PyPI's gguf reads both files", { skip: !hasPythonReader() && "Python's gguf is not installed" }, (t) => {
  const script =
    "import sys, gguf\nfor f in sys.argv[1:]:\n r = gguf.GGUFReader(f)\n print(len(r.tensors), len(r.fields))";
  const count = (...paths: string[]) => execFileSync("python3", ["-c", script, ...paths], { encoding: "utf8" });
  const ours = count(join(folder, "tiny-b", "m.gguf"), join(folder, "tiny-b", "mmproj-m.gguf"));
  t.equal(ours, count(fixture("gguf", "tiny-b-f32.gguf"), fixture("gguf", "mmproj-tiny-b-f32.gguf")));
  t.end();
});

function hasPythonReader(): boolean {
  try {
    execFileSync("python3", ["-c", "import gguf"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

t.test("one file splits, and its halves join to it again", async (t) => {
  const at = emptyFolder("again");
  const single = join(folder, "tiny-a.gguf");
  await convert({ source: single, target: join(at, "m.gguf"), split: true });
  await sameFile(t, join(at, "m.gguf"), fixture("gguf", "tiny-a-f32.gguf"));
  await sameFile(t, join(at, "mmproj-m.gguf"), fixture("gguf", "mmproj-tiny-a-f32.gguf"));
  await convert({ source: [join(at, "m.gguf"), join(at, "mmproj-m.gguf")], target: join(at, "one.gguf") });
  const [one, again] = [await readGguf(single), await readGguf(join(at, "one.gguf"))];
  t.same(again.data, one.data);
});

t.test("settings that differ from the defaults stay in the decoder's file", async (t) => {
  const at = emptyFolder("settings");
  const source = join(folder, "tiny-a.gguf");
  await convert({ source, target: join(at, "m.gguf"), split: true, positions: "mrope", loaderResize: false });
  const { metadata } = await readGguf(join(at, "m.gguf"));
  const own = [...metadata].filter(([key]) => key.startsWith("gme.")).map(([key, { value }]) => [key, value]);
  t.same(own, [["gme.positions", "mrope"], ["gme.loader_resize", false]]); // biome-ignore format: one line says it
});

t.test("an existing file of the two is not overwritten, and then the other does not appear", async (t) => {
  for (const name of ["m.gguf", "mmproj-m.gguf"]) {
    const at = emptyFolder(`there-${name}`);
    writeFileSync(join(at, name), "mine");
    const call = () => convert({ source: join(folder, "tiny-a.gguf"), target: join(at, "m.gguf"), split: true });
    await rejectsWith(t, call, "GME_TARGET_EXISTS");
    t.same(readdirSync(at), [name]);
  }
});

t.test("a file that appears during the conversion leaves the other unmade", async (t) => {
  const at = emptyFolder("appears");
  const target = join(at, "m.gguf");
  const onProgress = () => {
    if (!existsSync(target)) writeFileSync(target, "mine");
  };
  const call = () => convert({ source: join(folder, "tiny-a.gguf"), target, split: true, onProgress });
  await rejectsWith(t, call, "GME_TARGET_EXISTS");
  t.same(readdirSync(at), ["m.gguf"]);
});

t.test("a decoder without a tower cannot be split", async (t) => {
  const target = join(folder, "nothing.gguf");
  const call = () => convert({ source: fixture("gguf", "tiny-a-f32.gguf"), target, split: true });
  t.equal((await rejectsWith(t, call, "GME_OPTION_INVALID")).field, "options.split");
});

t.test("gme convert --split names both files", async (t) => {
  const at = emptyFolder("cli");
  const { code, stdout } = await gme(["convert", join(folder, "tiny-a.gguf"), "--split", "-o", join(at, "m.gguf")]);
  t.equal(code, 0);
  t.match(stdout.toString(), `${join(at, "m.gguf")} and ${join(at, "mmproj-m.gguf")}: `);
});
