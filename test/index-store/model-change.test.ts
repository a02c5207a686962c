// An index belongs to one model and its settings: vectors of others are refused by name, for indexing and for searching.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { load, type LoadOptions } from "../../lib/index";
import { openIndex } from "../../lib/index-store/index";
import type { IndexPin } from "../../lib/index-store/index-types";
import { gme } from "../helpers/cli";
import { fixture, root } from "../helpers/fixtures";
import { rejectsWith } from "../helpers/rejects";
import { CountingEmbedder, freshPlace, openWith, rowsOf, runOnce } from "./fault-setup";

const emoji = join(root, "models", "emoji-tiny-f16.gguf");
const sample = join(root, "models", "emoji-tiny", "samples", "banana.png");

t.test(
  "another model, positions, image limits or orientation: GME_MODEL_MISMATCH with both values, and nothing written",
  async (t) => {
    const { folder, db } = freshPlace();
    copyFileSync(sample, join(folder, "a.png"));
    const own = await load(emoji, { threads: 1 });
    const first = await openIndex(db, { model: own });
    await first.addFiles([folder]);
    const pin = first.pin as IndexPin;
    await first.close();
    await own.close();
    const before = await rowsOf(db);
    copyFileSync(sample, join(folder, "b.png"));
    const other = fixture("gguf", "tiny-a-f32.gguf");
    const positions = pin.positions === "mrope" ? "sequential" : "mrope";
    const orientation = pin.orientation === "ignore" ? "exif" : "ignore";
    const changes: [string, string, LoadOptions, string | number][] = [
      ["fingerprint", other, { mmproj: fixture("gguf", "mmproj-tiny-a-f32.gguf") } as LoadOptions, pin.fingerprint],
      ["positions", emoji, { positions } as LoadOptions, pin.positions],
      [
        "maxImageTokens",
        emoji,
        { minImageTokens: pin.minImageTokens, maxImageTokens: pin.maxImageTokens + 4 },
        pin.maxImageTokens,
      ],
      ["minImageTokens", emoji, { minImageTokens: pin.minImageTokens - 1 }, pin.minImageTokens],
      ["orientation", emoji, { orientation } as LoadOptions, pin.orientation],
    ];
    for (const [field, file, options, expected] of changes) {
      const model = await load(file, { threads: 1, ...options });
      for (const readOnly of [false, true]) {
        const index = await openIndex(db, { model, readOnly });
        const call = () => (readOnly ? index.search("a banana") : index.addFiles([folder]));
        const error = await rejectsWith(t, call, "GME_MODEL_MISMATCH", `${field}, ${readOnly ? "search" : "index"}`);
        t.equal(error.field, field);
        t.equal(error.expected, String(expected));
        for (const value of [error.value, error.expected])
          t.ok(error.message.includes(String(value)), `${value} is in: ${error.message}`);
        await index.close();
      }
      await model.close();
    }
    t.strictSame(await rowsOf(db), before);
  },
);

t.test("weights that differ, and vectors of another length, are another model; its name alone is not", async (t) => {
  const { folder, db } = freshPlace();
  copyFileSync(sample, join(folder, "a.png"));
  await runOnce(t, db, folder);
  const like = (changes: object) => {
    const embedder = new CountingEmbedder();
    Object.assign(embedder, { info: { ...embedder.info, ...changes } });
    return embedder;
  };
  const renamed = await runOnce(t, db, folder, like({ name: "another name" }));
  t.match(renamed, { embedded: 0, rows: 1 });
  const { defaults } = new CountingEmbedder().info;
  for (const [field, changes] of [
    ["fingerprint", { fingerprint: "e".repeat(64) }],
    ["dimensions", { dimensions: 32 }],
    ["instruction", { defaults: { ...defaults, instruction: "Another instruction." } }],
    ["specialTokens", { defaults: { ...defaults, specialTokens: "reject" } }],
    ["loaderResize", { defaults: { ...defaults, loaderResize: false } }],
  ] as const) {
    const index = await openWith(t, db, like(changes));
    t.equal((await rejectsWith(t, () => index.addFiles([folder]), "GME_MODEL_MISMATCH")).field, field);
    await index.close();
  }
});

t.test("the command says so in one line and exits 1", async (t) => {
  const { folder, db } = freshPlace();
  copyFileSync(sample, join(folder, "a.png"));
  const flags = ["--db", db, "--model", emoji];
  t.equal((await gme(["index", folder, ...flags])).code, 0);
  for (const args of [
    ["index", folder],
    ["search", "a banana"],
  ]) {
    const { code, stderr, stdout } = await gme([...args, ...flags, "--positions", "mrope"]);
    t.equal(code, 1, stderr);
    t.match(stderr, /^error: .*another decoder positions: sequential .* now mrope .*\[GME_MODEL_MISMATCH\]\n$/);
    t.equal(stdout.length, 0);
  }
});
