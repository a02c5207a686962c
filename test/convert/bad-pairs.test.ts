import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readGgufHeader } from "../../lib/convert/gguf-reader";
import { convert } from "../../lib/index";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";

const folder = temporaryFolder();
const target = join(folder, "never.gguf");
const decoder = fixture("gguf", "tiny-a-f32.gguf");
const mmproj = fixture("gguf", "mmproj-tiny-a-f32.gguf");

t.test("two files that are no pair are refused", async (t) => {
  await rejectsWith(t, () => convert({ source: [decoder, decoder], target }), "GME_MODEL_UNSUPPORTED");
  await rejectsWith(t, () => convert({ source: [mmproj, mmproj], target }), "GME_MODEL_UNSUPPORTED");
  const other = fixture("gguf", "mmproj-tiny-b-f32.gguf");
  t.equal(
    (await rejectsWith(t, () => convert({ source: [decoder, other], target }), "GME_MMPROJ_MISMATCH")).file,
    other,
  );
  await rejectsWith(t, () => convert({ source: [decoder, join(folder, "nowhere")], target }), "GME_IO_ERROR");
  await rejectsWith(t, () => convert({ source: [decoder, fixture("README.md")], target }), "GME_GGUF_BAD_MAGIC");
});

t.test("a file cut anywhere is refused with a typed error", async (t) => {
  const whole = readFileSync(mmproj);
  const file = join(folder, "cut.gguf");
  const { tensors } = await readGgufHeader(mmproj);
  const headerEnd = Math.min(...[...tensors.values()].map(({ offset }) => offset));
  for (let size = 0; size < whole.length; size += size < headerEnd ? 37 : 200_003) {
    writeFileSync(file, whole.subarray(0, size));
    const error = await readGgufHeader(file).then(
      () => undefined,
      (error) => error,
    );
    const expected = size < 4 || size < headerEnd - 32 ? "GME_GGUF_TRUNCATED" : "GME_TENSOR_BOUNDS";
    if (error?.code !== expected) t.equal(error?.code, expected, `cut at ${size}`);
  }
  t.pass("all lengths");
});

t.test("a header with single bytes changed is read or refused, never more", async (t) => {
  const whole = readFileSync(mmproj);
  const file = join(folder, "changed.gguf");
  const codes = new Set<string>();
  for (let i = 0; i < 400; i++) {
    const changed = Buffer.from(whole);
    changed[(i * 7_919) % 4_000] ^= 1 << (i % 8);
    changed[(i * 104_729) % 4_000] = 0xff;
    writeFileSync(file, changed);
    const error = await readGgufHeader(file).then(
      () => undefined,
      (error) => error,
    );
    if (error === undefined) continue;
    if (error.name !== "GmeError") t.fail(`change ${i}: ${error.stack}`);
    codes.add(error.code);
  }
  t.ok(codes.size >= 5, [...codes].join(", "));
});
