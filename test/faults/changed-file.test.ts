// The model's file changes while the model is open: written to, cut, unlinked, replaced; mapped and owned; in the middle of a graph.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, copyFileSync, renameSync, truncateSync, unlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type GmeModel, load } from "../../lib/index";
import { childSetup, modelFile, outcomeOf, sameVectors } from "../lifetime/native-model";
import { writeWideModel } from "./wide-model";

const text = "a cat";
const options = { threads: 1, mmproj: join(modelFile, "..", "mmproj-tiny-a-f32.gguf") };

interface Change {
  name: string;
  change(file: string): void;
  /** What a mapped model does from then on. */
  mapped: string;
}

const changes: Change[] = [
  { name: "cut to half", change: (file) => truncateSync(file, 500_000), mapped: "GME_CHANGED_WHILE_OPEN" },
  { name: "cut to nothing", change: (file) => truncateSync(file, 0), mapped: "GME_CHANGED_WHILE_OPEN" },
  { name: "appended to", change: (file) => appendFileSync(file, "x"), mapped: "GME_CHANGED_WHILE_OPEN" },
  { name: "written again in place", change: (file) => utimesSync(file, 1, 1), mapped: "GME_CHANGED_WHILE_OPEN" },
  { name: "unlinked", change: (file) => unlinkSync(file), mapped: "fulfilled" },
  {
    name: "replaced by another under its name",
    change: (file) => {
      copyFileSync(modelFile, `${file}.new`);
      renameSync(`${file}.new`, file);
    },
    mapped: "fulfilled",
  },
];

async function openCopy(folder: string, mmap: boolean): Promise<[GmeModel, string, Float32Array]> {
  const file = join(folder, "model.gguf");
  copyFileSync(modelFile, file);
  const gme = await load(file, { ...options, mmap });
  return [gme, file, await gme.embed(text)];
}

for (const { name, change, mapped } of changes) {
  t.test(`L29 a mapped file that is ${name} ends calls with ${mapped}`, async (t) => {
    const [gme, file, golden] = await openCopy(t.testdir(), true);
    const neighbour = await load(modelFile, options);
    change(file);
    const call = gme.embed(text);
    t.equal(await outcomeOf(call), mapped);
    if (mapped === "fulfilled") {
      t.ok(sameVectors(await call, golden), "the open file is still the same: same bits");
    } else {
      await t.rejects(call, { code: mapped, file, field: name.startsWith("written") ? "modified" : "size" });
      t.equal(await outcomeOf(gme.embed(text)), mapped, "each call says so");
      t.equal(
        await outcomeOf(gme.embed({ text, image: { data: new Uint8Array(56 * 56 * 3), width: 56, height: 56 } })),
        mapped,
      );
    }
    t.ok(sameVectors(await neighbour.embed(text), golden), "another model goes on");
    await gme.close();
    await neighbour.close();
    t.comment(`L29: mapped, ${name}: ${mapped}, process alive`);
  });

  t.test(`L29 a model in owned memory does not care that its file is ${name}`, async (t) => {
    const [gme, file, golden] = await openCopy(t.testdir(), false);
    change(file);
    t.ok(sameVectors(await gme.embed(text), golden));
    await gme.close();
    t.comment(`L29: owned, ${name}: same bits`);
  });
}

const script = join(__dirname, "children", "embed-for-ever.cjs");

async function childIsUp(child: ChildProcess): Promise<void> {
  for await (const line of child.stdout ?? []) if (String(line).includes("embedding")) return;
}

t.test("L29 a mapped file that is cut in the middle of a graph costs its process at most", async (t) => {
  const wide = join(t.testdir(), "wide.gguf");
  await writeWideModel(modelFile, wide, 100 * 2 ** 20);
  const { addon, loadParams, embedParams } = JSON.parse(childSetup(0));
  const { mmproj, ...alone } = loadParams;
  const ends: string[] = [];
  for (let round = 0; round < 4; round++) {
    await writeWideModel(modelFile, wide, 100 * 2 ** 20);
    const setup = JSON.stringify({ addon, model: wide, loadParams: alone, embedParams });
    const child = spawn(process.execPath, [script, setup], {
      env: { ...process.env, NODE_OPTIONS: "" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const closed = once(child, "close");
    await childIsUp(child);
    await new Promise((resolve) => setTimeout(resolve, round * 7));
    truncateSync(wide, 200_000);
    const [code, signal] = await closed;
    ends.push(String(signal ?? `exit code ${code}`));
  }
  t.ok(
    ends.every((end) => end === "SIGBUS" || end === "exit code 3"),
    `each child ends by SIGBUS, or with GME_CHANGED_WHILE_OPEN: ${ends.join(", ")}`,
  );
  const gme = await load(modelFile, options);
  t.equal((await gme.embed(text)).length, gme.info.dimensions, "this process goes on");
  await gme.close();
  t.comment(`L29: cut in the middle of a graph, in a child: ${ends.join(", ")}; this process goes on`);
});
