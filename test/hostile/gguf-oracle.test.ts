// Our reader beside PyPI's: the same keys, types, values, names, shapes and offsets, on good files and on every mutated one we accept.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { tensorBytes, tensorTypesById } from "../../lib/convert/gguf-types";
import { fixture, root, temporaryFolder } from "../helpers/fixtures";
import { randomNumbers } from "../lifetime/native-model";
import { bases, goodFile } from "./gguf-cases";
import { mutate, type Random, randomBytes } from "./gguf-mutations";
import { type GgufEntry, type GgufTensorEntry, type GgufTree, ggufType, writeTree } from "./gguf-tree";

const folder = temporaryFolder();
const reader = join(root, "build-cmake", "bin", "test-gguf-file");
const script = join(__dirname, "gguf-oracle.py");
const hasOracle = spawnSync("python3", ["-c", "import gguf"]).status === 0;
const skip = !hasOracle && "Python's gguf is not installed";

/** The answer for each path. */
function ask(command: string, args: string[], paths: string[]): Map<string, string> {
  const { LD_PRELOAD: _ours, ...env } = process.env; // a sanitizer's runtime would report Python's own leaks
  const text = execFileSync(command, [...args, ...paths], { encoding: "utf8", maxBuffer: 1 << 29, env });
  const answers = text.split(/^path /m).slice(1);
  return new Map(answers.map((answer) => [answer.slice(0, answer.indexOf("\n")), normalised(answer)]));
}

/** Without the line that names the path and without spaces at the ends of lines, where a value is empty. */
const normalised = (answer: string): string =>
  answer
    .slice(answer.indexOf("\n") + 1)
    .replace(/ +$/gm, "")
    .trimEnd();

const ours = (paths: string[]): Map<string, string> => ask(reader, ["--dump"], paths);
const theirs = (paths: string[]): Map<string, string> => ask("python3", [script], paths);

/** Compares what we accept; answers how many files, keys and tensors that were. */
function compare(t: Test, paths: string[]): { files: number; keys: number; tensors: number; refused: number } {
  const counts = { files: 0, keys: 0, tensors: 0, refused: 0 };
  const a = ours(paths);
  const b = theirs(paths.filter((path) => !a.get(path)?.startsWith("refused ")));
  for (const path of paths) {
    const mine = a.get(path) ?? "";
    if (mine.startsWith("refused ")) {
      counts.refused++;
      continue;
    }
    if (mine !== b.get(path)) t.equal(mine.slice(0, 5000), b.get(path)?.slice(0, 5000), path);
    counts.files++;
    counts.keys += mine.match(/^key /gm)?.length ?? 0;
    counts.tensors += mine.match(/^tensor /gm)?.length ?? 0;
  }
  return counts;
}

const below = (random: Random, n: number): number => Math.floor(random() * n);
const scalarTypes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12];
const widths: { [type: number]: number } = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 10: 8, 11: 8, 12: 8 };

/** Any bits of that type: integers of all sizes, and floats with every bit pattern. */
function anyScalar(random: Random, type: number): Buffer | string {
  if (type === ggufType.string) return `texte № ${"é漢 ".repeat(below(random, 4))}${below(random, 99)}`;
  if (type === ggufType.bool) return Buffer.from([below(random, 2)]);
  return randomBytes(random, widths[type]);
}

function anyEntry(random: Random, index: number): GgufEntry {
  const key = `a${index}.${"Key_-9"[below(random, 6)]}.${below(random, 1000)}`;
  const type = scalarTypes[below(random, scalarTypes.length)];
  if (random() < 0.5) return { key, type, value: anyScalar(random, type) };
  const value = Array.from({ length: random() < 0.2 ? 0 : below(random, 40) }, () => anyScalar(random, type));
  return { key, type: ggufType.array, element: type, value };
}

function anyTensor(random: Random, index: number): GgufTensorEntry {
  const types = [...tensorTypesById.values()];
  const type = types[below(random, types.length)];
  const more = Array.from({ length: below(random, 4) }, () => 1 + below(random, 3));
  const dims = [type.block * (1 + below(random, 5)), ...more];
  return { name: `t${index}.weight`, dims, type: type.id, data: randomBytes(random, tensorBytes(type, dims)) };
}

/** Tensors at places that their descriptions do not follow. */
function shuffle(random: Random, tree: GgufTree): void {
  const order = [...tree.tensors].map((tensor) => ({ tensor, rank: random() })).sort((a, b) => a.rank - b.rank);
  let next = 0;
  for (const { tensor } of order) {
    tensor.offset = next;
    next += Math.ceil(tensor.data.length / tree.alignment) * tree.alignment;
  }
}

/** A good file that no converter would write. */
function anyTree(random: Random): GgufTree {
  const alignment = [8, 16, 32, 32, 64, 128, 4096, 65_536][below(random, 8)];
  const keys = Array.from({ length: below(random, 30) }, (_, i) => anyEntry(random, i));
  if (alignment !== 32) {
    keys.splice(below(random, keys.length + 1), 0, { key: "general.alignment", type: ggufType.u32, value: alignment });
  }
  const tensors = Array.from({ length: 1 + below(random, 9) }, (_, i) => anyTensor(random, i));
  const tree = { version: 3, keys, tensors, alignment };
  if (random() < 0.5) shuffle(random, tree);
  return tree;
}

t.test("the reader's program is there", (t) => {
  t.ok(existsSync(reader), reader);
  t.end();
});

t.test("PyPI's reader and ours agree on the fixtures and the demonstration model", { skip }, (t) => {
  const names = ["tiny-a-f32", "mmproj-tiny-a-f32", "tiny-b-f32", "mmproj-tiny-b-f32"];
  const paths = [...names.map((name) => fixture("gguf", `${name}.gguf`)), join(root, "models", "emoji-tiny-f16.gguf")];
  const { files, keys, tensors } = compare(t, paths);
  t.equal(files, paths.length, "all are accepted");
  t.comment(`G (oracle): ${files} files, ${keys} keys and ${tensors} tensors as PyPI's gguf reads them`);
  t.end();
});

t.test("PyPI's reader and ours agree on good files that no converter would write", { skip }, (t) => {
  const count = 60;
  const paths = Array.from({ length: count }, (_, i) => {
    const path = join(folder, `any-${i}.gguf`);
    writeFileSync(path, writeTree(anyTree(randomNumbers(7_000 + i))));
    return path;
  });
  const { files, keys, tensors } = compare(t, paths);
  t.equal(files, count, "all are accepted");
  t.comment(`G (oracle): ${files} generated files, ${keys} keys and ${tensors} tensors as PyPI's gguf reads them`);
  t.end();
});

t.test("PyPI's reader takes every mutated file that ours takes, with the same contents", { skip }, (t) => {
  const count = process.env.GME_TEST_LONG === undefined ? 150 : 1_500;
  const paths = Array.from({ length: count }, (_, i) => {
    const path = join(folder, `mutated-${i}.gguf`);
    writeFileSync(path, mutate(randomNumbers(11_000 + i), goodFile(bases[i % bases.length]).tree));
    return path;
  });
  const { files, refused } = compare(t, paths);
  t.ok(files > count / 20, `${files} are accepted`);
  t.comment(`G (oracle): of ${count} mutated files ${refused} refused, ${files} accepted as PyPI's gguf reads them`);
  t.end();
});
