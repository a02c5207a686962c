// Too little address space: loading and embedding end with GME_OUT_OF_MEMORY, the process and its other model go on.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { childSetup, modelFile } from "../lifetime/native-model";
import { writeWideModel } from "./wide-model";

const run = promisify(execFile);
const script = join(__dirname, "children", "under-limit.cjs");
const megabyte = 2 ** 20;
const skip = process.platform !== "linux" || !existsSync("/usr/bin/prlimit") ? "prlimit of Linux is needed" : false;

interface Outcome {
  codes: string[];
  after: boolean;
  again: boolean;
}

async function under(room: number, work: string, wide: string, mmap: boolean): Promise<Outcome> {
  const { addon, loadParams, embedParams } = JSON.parse(childSetup(0));
  const setup = { addon, small: modelFile, wide, mmap, room, work, loadParams, embedParams };
  if (work === "pictures") setup.loadParams = { ...loadParams, maxImageTokens: 1280, minImageTokens: 1280 };
  const { stdout } = await run(process.execPath, [script, JSON.stringify(setup)], {
    env: { ...process.env, NODE_OPTIONS: "", MALLOC_ARENA_MAX: "2" },
    timeout: 120_000,
  });
  return JSON.parse(stdout);
}

t.test("L16 a model that does not fit into the address space is an error", { skip }, async (t) => {
  const wide = join(t.testdir(), "wide.gguf");
  const size = await writeWideModel(modelFile, wide, 300 * megabyte);
  let refused = 0;
  for (const mmap of [true, false]) {
    const figures: string[] = [];
    for (const extra of [-64, 0, 64, 256]) {
      const { codes, after, again } = await under(size + extra * megabyte, "load", wide, mmap);
      const title = `${mmap ? "mapped" : "owned"}, model size ${extra < 0 ? "" : "+"}${extra} MB`;
      t.ok(
        codes.every((code) => code === "ok" || code === "GME_OUT_OF_MEMORY"),
        `${title}: ${codes.join(", ")}`,
      );
      t.ok(after && again, `${title}: small work goes on with the same bits, in the old model and in a new one`);
      if (extra < 0) t.equal(codes[0], "GME_OUT_OF_MEMORY", `${title} is refused`);
      if (extra === 256) t.strictSame(codes, ["ok", "ok"], `${title} is enough`);
      if (codes.includes("GME_OUT_OF_MEMORY")) refused++;
      figures.push(`${extra < 0 ? "" : "+"}${extra} MB ${codes.join(" then ")}`);
    }
    t.comment(`L16: ${(size / megabyte).toFixed(0)} MB ${mmap ? "mapped" : "owned"}: ${figures.join("; ")}`);
  }
  t.ok(refused >= 2, `${refused} of 8 were refused`);
});

t.test("L16 pictures that do not fit into the address space are an error of the call", { skip }, async (t) => {
  const { codes, after, again } = await under(40 * megabyte, "pictures", modelFile, true);
  t.strictSame(codes, ["GME_OUT_OF_MEMORY"]);
  t.ok(after && again, "small work goes on with the same bits");
  t.comment(`L16: 24 pictures of 1024×1024 with 40 MB left: ${codes.join(", ")}, the model goes on`);
});
