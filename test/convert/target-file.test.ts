import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { GgufWriter } from "../../lib/convert/gguf-writer";
import { tensorType, text } from "../../lib/convert/gguf-types";
import { convert } from "../../lib/index";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";

const source = fixture("checkpoints", "tiny-a");
let made = 0;
const parent = temporaryFolder();

function emptyFolder(): string {
  const folder = join(parent, String(made++));
  mkdirSync(folder);
  return folder;
}

t.test("a finished conversion leaves the target alone in its folder", async (t) => {
  const folder = emptyFolder();
  await convert({ source, target: join(folder, "a.gguf") });
  t.same(readdirSync(folder), ["a.gguf"]);
});

t.test("an aborted conversion leaves nothing, whenever it is aborted", async (t) => {
  for (const after of [0, 1, 40, 93]) {
    const folder = emptyFolder();
    const controller = new AbortController();
    let reports = 0;
    const onProgress = () => {
      if (++reports >= after) controller.abort();
    };
    if (after === 0) controller.abort();
    const call = () => convert({ source, target: join(folder, "a.gguf"), signal: controller.signal, onProgress });
    const error = await rejectsWith(t, call, "GME_ABORTED", `after ${after} tensors`);
    t.equal(error.name, "AbortError");
    t.same(readdirSync(folder), []);
  }
});

t.test("an error of the caller's progress function leaves nothing", async (t) => {
  const folder = emptyFolder();
  const onProgress = () => {
    throw new Error("mine");
  };
  const error = await rejectsWith(
    t,
    () => convert({ source, target: join(folder, "a.gguf"), onProgress }),
    "GME_OPTION_INVALID",
  );
  t.equal(error.message, "mine");
  t.same(readdirSync(folder), []);
});

t.test("an existing target stays as it is without force, and is replaced with it", async (t) => {
  const target = join(emptyFolder(), "a.gguf");
  writeFileSync(target, "mine");
  const error = await rejectsWith(t, () => convert({ source, target }), "GME_TARGET_EXISTS");
  t.equal(error.file, target);
  t.equal(readFileSync(target, "utf8"), "mine");
  await convert({ source, target, force: true });
  t.equal(readFileSync(target).toString("latin1", 0, 4), "GGUF");
});

t.test("a target that appears during the conversion is not overwritten", async (t) => {
  const folder = emptyFolder();
  const target = join(folder, "a.gguf");
  const onProgress = () => {
    if (!existsSync(target)) writeFileSync(target, "mine");
  };
  await rejectsWith(t, () => convert({ source, target, onProgress }), "GME_TARGET_EXISTS");
  t.equal(readFileSync(target, "utf8"), "mine");
  t.same(readdirSync(folder), ["a.gguf"]);
});

t.test("a folder that is not there, a folder as target, and more bytes than the disk has are refused", async (t) => {
  const folder = emptyFolder();
  await rejectsWith(t, () => convert({ source, target: join(folder, "no", "a.gguf") }), "GME_IO_ERROR");
  await rejectsWith(t, () => convert({ source, target: folder, force: true }), "GME_IO_ERROR");
  const huge = [{ name: "huge", type: tensorType("f32"), ne: [2 ** 31 - 1, 2 ** 20] }];
  const metadata = new Map([["general.architecture", text("qwen2vl")]]);
  await rejectsWith(t, () => GgufWriter.create(join(folder, "huge.gguf"), metadata, huge, false), "GME_DISK_FULL");
  t.same(readdirSync(folder), []);
});

t.test("the writer refuses more or fewer bytes than a tensor has", async (t) => {
  const folder = emptyFolder();
  const tensors = [{ name: "one", type: tensorType("f32"), ne: [4] }];
  const writer = await GgufWriter.create(join(folder, "a.gguf"), new Map(), tensors, false);
  await t.rejects(writer.finish(), RangeError);
  await t.rejects(writer.append(new Uint8Array(17)), RangeError);
  await writer.discard();
  t.same(readdirSync(folder), []);
});

t.test("misspelt and wrong options name the option", async (t) => {
  const target = join(emptyFolder(), "a.gguf");
  const cases: [object, string][] = [
    [{ source, target, tpye: "f16" }, "options.tpye"],
    [{ source, target, type: "q9" }, "options.type"],
    [{ source, target: 3 }, "options.target"],
    [{ source: [source], target }, "options.source"],
    [{ source, target, force: "yes" }, "options.force"],
    [{ source, target, signal: {} }, "options.signal"],
  ];
  for (const [options, field] of cases) {
    t.equal((await rejectsWith(t, () => convert(options as never), "GME_OPTION_INVALID")).field, field);
  }
});
