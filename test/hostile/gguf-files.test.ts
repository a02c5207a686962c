// G108–G112 as load() shows them; failing disks and changes between the steps of loading are in test/engine/test-file-handle.cpp.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { GmeError, load } from "../../lib/index";
import { temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { bases, goodFile, text, withEntries, withTensor } from "./gguf-cases";
import { decoderPath, goodVector, loadHostile, mmprojPath, vectorOf } from "./gguf-models";
import { attempt, refused, refusedAt, removeHostile, row, sameBits, writeHostile } from "./gguf-refusal";
import { type GgufEntry, type GgufTree, ggufType, layOut } from "./gguf-tree";

const folder = temporaryFolder();
const isLinux = process.platform === "linux";

row(t, "G108", "what is no regular file is refused at once, with its errno", async (t) => {
  const at = (name: string) => join(folder, name);
  writeFileSync(at("file.gguf"), "x");
  symlinkSync("loop.gguf", at("loop.gguf"));
  if (isLinux) execFileSync("mkfifo", [at("fifo.gguf")]);
  const server = createServer().listen(at("socket.gguf"));
  await new Promise((resolve) => server.once("listening", resolve));
  const cases: [title: string, path: string, errno: string][] = [
    ["a missing file", at("missing.gguf"), "ENOENT"],
    ["a folder", folder, "EISDIR"],
    ["a socket", at("socket.gguf"), "EINVAL"],
    ["a loop of links", at("loop.gguf"), "ELOOP"],
    ["a path of 5,000 characters", `/${"x".repeat(5_000)}.gguf`, "ENAMETOOLONG"],
    ["a file as a folder", at("file.gguf/model.gguf"), "ENOTDIR"],
    ...(isLinux
      ? ([
          ["a pipe", at("fifo.gguf"), "EINVAL"],
          ["/dev/zero", "/dev/zero", "EINVAL"],
          ["/dev/full", "/dev/full", "EINVAL"],
          ["/dev/null", "/dev/null", "EINVAL"],
          ["/dev/tty's kind of device", "/dev/ptmx", "EINVAL"],
        ] as [string, string, string][])
      : []),
  ];
  for (const [title, path, errno] of cases) {
    const asModel = await refusedAt(t, "G108", title, { path }, { code: "GME_IO_ERROR" });
    t.same([asModel?.errno, asModel?.file], [errno, path], `${title}: errno and file`);
    const asTower = await refusedAt(
      t,
      "G108",
      `${title} as mmproj`,
      { path: decoderPath, tower: path },
      { code: "GME_IO_ERROR" },
    );
    t.same([asTower?.errno, asTower?.file], [errno, path], `${title} as mmproj: errno and file`);
  }
  server.close();
});

t.test("G108 a path that no file can have is refused as an argument", async (t) => {
  const addresses = [
    "file:///tmp/a%00.gguf",
    "file:///tmp/a%2Fb.gguf",
    "file:///tmp/caf%ff.gguf",
    "file://host/a.gguf",
  ];
  for (const model of [
    "a\0b.gguf",
    ...addresses.map((address) => new URL(address)),
    Buffer.from("caf\xff.gguf", "latin1"),
  ])
    await rejectsWith(t, () => load(model as string), "GME_INPUT_INVALID", String(model));
  const good = await load(pathToFileURL(decoderPath), { threads: 1 });
  await good.close();
  t.comment("G108: 6 paths with NUL, other hosts and broken escapes are GME_INPUT_INVALID");
});

row(t, "G109", "a file that may not be read is refused with EACCES", async (t) => {
  const path = join(folder, "secret.gguf");
  copyFileSync(decoderPath, path);
  chmodSync(path, 0);
  const isRoot = process.geteuid?.() === 0;
  chmodSync(folder, 0o755);
  if (isRoot) process.seteuid?.(65534);
  const error = await load(path, { threads: 1 }).catch((error: unknown) => error);
  if (isRoot) process.seteuid?.(0);
  t.ok(error instanceof GmeError && error.code === "GME_IO_ERROR" && error.errno === "EACCES", String(error));
  await refusedAt(t, "G109", "the file is a folder", { path: folder }, { code: "GME_IO_ERROR" });
});

t.test("G110 a file that changes while it is loaded is refused, and the next load is a good one", async (t) => {
  const good = await goodVector();
  const past = new Date(Date.now() - 3_600_000);
  let count = 0;
  const bytes = readFileSync(decoderPath);
  const changes: [string, (path: string) => void][] = [
    ["cut", (path) => writeFileSync(path, bytes.subarray(0, bytes.length / 2))],
    ["longer", (path) => writeFileSync(path, "more", { flag: "a" })],
    ["written again", (path) => writeFileSync(path, bytes)],
  ];
  for (const [title, change] of changes) {
    for (const mmap of [true, false]) {
      // The change falls somewhere into the loading: GME_CHANGED_WHILE_OPEN, or before and after it what the file is then.
      for (let delay = 0; delay < 3; delay += 0.25) {
        const path = join(folder, "changing.gguf");
        copyFileSync(decoderPath, path);
        utimesSync(path, past, past);
        const loading = vectorOf(path, mmprojPath, { mmap: false, ...(mmap && title !== "cut" && { mmap }) }).then(
          (vector) => (sameBits(vector, good) ? "" : "another vector"),
          (error: unknown) => (error instanceof GmeError ? error.code : String(error)),
        );
        const start = performance.now();
        while (performance.now() - start < delay) await new Promise(setImmediate);
        change(path);
        const outcome = await loading;
        if (!/^$|^GME_(CHANGED_WHILE_OPEN|TENSOR_BOUNDS|GGUF_TRUNCATED|GGUF_BAD_MAGIC)$/.test(outcome))
          t.fail(`${title}: ${outcome}`);
        count++;
      }
    }
  }
  t.ok(sameBits(await goodVector(), good), "the good pair gives its vector");
  t.comment(`G110: ${count} files changed at other moments of load(): each a typed error or the whole model's vector`);
});

t.test("L29 weights that are read and not mapped stay, whatever happens to the file", async (t) => {
  const good = await goodVector();
  const path = join(folder, "owned.gguf");
  copyFileSync(decoderPath, path);
  const model = await loadHostile(path, mmprojPath, { mmap: false });
  writeFileSync(path, "");
  const input = { text: "a photo", image: join(__dirname, "..", "fixtures", "images", "tiny-28x28.png") };
  t.ok(sameBits(await model.embed(input), good), "the vector is the same when the file is empty");
  await model.close();
  t.comment("L29: mmap: false, file emptied while loaded: the vector is the same bit for bit");
});

const tebi = 2 ** 40;

row(
  t,
  "G111",
  "a sparse file of 1 TiB is refused or accepted by its ranges, without memory",
  async (t) => {
    for (const base of bases) {
      const { bytes } = goodFile(base);
      const trailing = { [base]: { size: tebi, pieces: [[0, bytes]] as [number, Buffer][] } };
      await refused(t, "G111", `1 TiB of nothing after it (${base})`, trailing, {
        code: "GME_GGUF_BAD_VALUE",
        field: "data_end",
      });
      // A tensor that nothing needs and that the file really has: 2^28 rows of 1,024 f32.
      const layout = layOut(
        withTensor(goodFile(base), { name: "extra.weight", dims: [1024, 2 ** 28], data: Buffer.alloc(0) }),
      );
      const size = layout.bytes.length + tebi;
      const paths = writeHostile({ [base]: { size, pieces: [[0, layout.bytes]] } });
      const cost = await attempt(paths.path, paths.tower);
      t.equal(cost.error, undefined, `a tensor of 1 TiB (${base}): accepted`);
      t.ok(cost.growth <= 16 << 20, `its memory: ${cost.growth} bytes`);
      t.ok(sameBits(await vectorOf(paths.path, paths.tower), await goodVector()), "the same vector");
      removeHostile(paths);
    }
  },
  () => "3 files with a tensor of 1 TiB accepted, the vector bit for bit",
);

/** The good file as part `no` of `count`. */
function part(tree: GgufTree, no: number | bigint, count: number | bigint, type: number = ggufType.u16): GgufTree {
  const keys: GgufEntry[] = [
    { key: "split.no", type, value: no },
    { key: "split.count", type, value: count },
    { key: "split.tensors.count", type: ggufType.i32, value: 999 },
  ];
  return { ...tree, keys: [...tree.keys, ...keys] };
}

row(t, "G112", "a part of a split model is refused, and no other part is looked for", async (t) => {
  const unsupported = { code: "GME_MODEL_UNSUPPORTED", field: /^kv\["split\.(no|count)"\]$/ };
  for (const base of bases) {
    const tree = goodFile(base).tree;
    await refused(t, "G112", `1 of 2 (${base})`, { [base]: part(tree, 0, 2) }, unsupported);
    await refused(t, "G112", `7 of 2 (${base})`, { [base]: part(tree, 6, 2) }, unsupported);
    await refused(t, "G112", `2 of 1 (${base})`, { [base]: part(tree, 1, 1) }, unsupported);
    await refused(t, "G112", `of -1 (${base})`, { [base]: part(tree, 0, -1, ggufType.i32) }, unsupported);
    await refused(t, "G112", `of 2^63 (${base})`, { [base]: part(tree, 0, 2n ** 63n, ggufType.u64) }, unsupported);
    const named = withEntries(goodFile(base), text("split.count", "../../y-00002-of-00002.gguf"));
    await refused(
      t,
      "G112",
      `of a path (${base})`,
      { [base]: named },
      { code: "GME_GGUF_WRONG_TYPE", field: 'kv["split.count"]' },
    );
  }
  const inside = join(folder, "x");
  mkdirSync(inside);
  const outside = join(folder, "y-00002-of-00002.gguf");
  copyFileSync(decoderPath, outside);
  utimesSync(outside, new Date(0), new Date(0));
  symlinkSync(outside, join(inside, "y-00002-of-00002.gguf"));
  writeFileSync(join(inside, "y-00001-of-00002.gguf"), layOut(part(goodFile("decoder").tree, 0, 2)).bytes);
  for (const path of [join(inside, "y-00001-of-00002.gguf"), `${inside}/../x/y-00001-of-00002.gguf`])
    await refusedAt(t, "G112", "with a link to its sibling", { path }, unsupported);
  t.equal(statSync(outside).atimeMs, 0, "the file outside was not read");
  await refusedAt(
    t,
    "G112",
    "a part that is missing",
    { path: `${inside}/../../y-00001-of-00002.gguf` },
    { code: "GME_IO_ERROR" },
  );
  const whole = part(goodFile("decoder").tree, 0, 1);
  const paths = writeHostile({ decoder: whole });
  t.ok(sameBits(await vectorOf(paths.path, paths.tower), await goodVector()), "1 of 1 is a whole model");
  removeHostile(paths);
});
