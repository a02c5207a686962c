// The adapters as the package exports them: each entry as CommonJS and as an ES module, with the types of both, out of dist.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { root, temporaryFolder } from "../helpers/fixtures";

const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

const program = `
const bases = { langchain: Embeddings, llamaindex: MultiModalEmbedding };
const model = await load(bundledModelPath, { threads: 1 });
const langchain = new GmeEmbeddings({ model });
const llamaindex = new GmeEmbedding({ model });
const { embeddings } = await gmeProvider(model).textEmbeddingModel().doEmbed({ values: ["a"] });
const expected = Array.from(await model.embed("a"));
const vectors = [await langchain.embedQuery("a"), await llamaindex.getTextEmbedding("a"), embeddings[0]];
const refused = await langchain.embedDocuments([7]).catch((error) => error);
await model.close();
console.log(JSON.stringify({
  bases: [langchain instanceof Embeddings, llamaindex instanceof MultiModalEmbedding],
  vectors: vectors.map((vector) => JSON.stringify(vector) === JSON.stringify(expected)),
  error: refused instanceof GmeError,
}));
`;
const names = {
  "gme-embed": "bundledModelPath, GmeError, load",
  "gme-embed/ai-sdk": "gmeProvider",
  "gme-embed/langchain": "GmeEmbeddings",
  "gme-embed/llamaindex": "GmeEmbedding",
  "@langchain/core/embeddings": "Embeddings",
  "@llamaindex/core/embeddings": "MultiModalEmbedding",
};

/** A project that has the package and its peers. */
function project(): string {
  const folder = temporaryFolder();
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  symlinkSync(root, join(modules, "gme-embed"), "junction");
  for (const scope of ["@langchain", "@llamaindex", "@types"])
    symlinkSync(join(root, "node_modules", scope), join(modules, scope), "junction");
  return folder;
}

function runs(script: string): unknown {
  return JSON.parse(execFileSync(process.execPath, [script], { encoding: "utf8" }));
}

const right = { bases: [true, true], vectors: [true, true, true], error: true };

t.test("every entry's files exist", async (t) => {
  for (const kinds of Object.values(exports)) {
    if (typeof kinds === "string") continue;
    for (const files of Object.values(kinds as Record<string, Record<string, string>>))
      for (const file of Object.values(files)) t.ok(readFileSync(join(root, file)).length > 0, file);
  }
});

t.test("as an ES module: the classes extend those that an ES module imports", async (t) => {
  const script = join(project(), "use.mjs");
  const imports = Object.entries(names).map(([from, what]) => `import { ${what} } from "${from}";`);
  writeFileSync(script, `${imports.join("\n")}\n${program}`);
  t.same(runs(script), right);
});

t.test("as CommonJS: those that CommonJS requires", async (t) => {
  const script = join(project(), "use.cjs");
  const requires = Object.entries(names).map(([from, what]) => `const { ${what} } = require("${from}");`);
  writeFileSync(script, `${requires.join("\n")}\n(async () => {${program}})();`);
  t.same(runs(script), right);
});

const typed = `
import { Embeddings } from "@langchain/core/embeddings";
import { MultiModalEmbedding } from "@llamaindex/core/embeddings";
import type { GmeModel } from "gme-embed";
import { gmeProvider, type GmeProvider } from "gme-embed/ai-sdk";
import { GmeEmbeddings } from "gme-embed/langchain";
import { GmeEmbedding } from "gme-embed/llamaindex";

export function use(model: GmeModel): [Embeddings, MultiModalEmbedding, GmeProvider] {
  // @ts-expect-error a field that does not exist
  new GmeEmbeddings({ model, instrction: "a" });
  // @ts-expect-error a model is needed
  new GmeEmbedding({});
  return [new GmeEmbeddings({ model }), new GmeEmbedding({ model }), gmeProvider(model)];
}
`;

t.test("types, as either kind of module", async (t) => {
  const folder = project();
  for (const name of ["use.mts", "use.cts"]) writeFileSync(join(folder, name), typed);
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const options = "--noEmit --strict --target es2022 --module node16 --lib es2023,dom,esnext.disposable --types node";
  const args = [compiler, ...options.split(" "), "--skipLibCheck", "use.mts", "use.cts"];
  let output = "";
  try {
    output = execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
  } catch (error) {
    output = (error as { stdout: string }).stdout;
  }
  t.equal(output, "");
});
