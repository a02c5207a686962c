// The examples of docs/server.md and docs/adapters.md, taken out of the documents and run: against a server of our own, as they stand but for
// its port, and with the demonstration model where they name a model. Each must give the library's vectors, and fit its package's types.
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { bundledModelPath, type GmeInput } from "../../../lib/index";
import { sameVectors } from "../../helpers/demonstration";
import { root, temporaryFolder } from "../../helpers/fixtures";
import { bicycle, type ClientServer, clientServer, instruction, outputOf, pythonWith } from "./client-server";

t.setTimeout(300_000);

interface Example {
  title: string;
  language: string;
  code: string;
}

/** The code blocks below `### title` of the section, or below `## title` of the whole document. */
function examplesOf(document: string, heading: string, section?: string): Example[] {
  const whole = readFileSync(join(root, "docs", document), "utf8");
  const from = section === undefined ? 0 : whole.indexOf(`\n## ${section}\n`);
  const end = section === undefined ? -1 : whole.indexOf("\n## ", from + 1);
  const text = whole.slice(from, end < 0 ? undefined : end);
  return text.split(`\n${heading} `).flatMap((part, i) => {
    const blocks = [...part.matchAll(/^```(\w+)\n(.*?)^```$/gms)];
    return i === 0 ? [] : blocks.map(([, language, code]) => ({ title: part.split("\n", 1)[0], language, code }));
  });
}

const red = "a red bicycle";
const picture = { image: bicycle.path };
const fused = { image: bicycle.path, text: "my bicycle" };
const query = { text: red, prompt: instruction };
/** What each example embeds. */
const items: Record<string, GmeInput[]> = {
  "openai (npm)": [red, "a banana", picture, fused],
  "openai (PyPI)": [red, "a banana", picture, fused],
  "@langchain/openai": [red, "a banana"],
  "LlamaIndex TS": [red, "a banana", picture],
  "Vercel AI SDK": [red, "a banana", "my bicycle"],
  "cohere-ai": [red, picture, fused],
  voyageai: [red, picture, fused],
  curl: [red, picture, fused, { text: "a banana", prompt: instruction }],
  "ai-sdk": [picture, fused, query],
  langchain: [picture, fused, query],
  llamaindex: [picture, "my bicycle", query],
};
const examples = [...examplesOf("server.md", "###", "Clients"), ...examplesOf("adapters.md", "##")];

const folder = temporaryFolder();
let server: ClientServer;
t.before(async () => {
  server = await clientServer(t, "my-own-key");
  copyFileSync(bicycle.path, join(folder, "bicycle.png"));
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  symlinkSync(root, join(modules, "gme-embed"), "junction");
  const packages = ["openai", "ai", "cohere-ai", "voyageai", "@ai-sdk", "@langchain", "@llamaindex", "@types"];
  for (const name of packages) symlinkSync(join(root, "node_modules", name), join(modules, name), "junction");
});

const fileOf = ({ title }: Example, ending: string) => `example-${title.replace(/\W+/g, "-")}.${ending}`;

function writeExample(example: Example, ending: string, last: string): string {
  const code = example.code
    .replaceAll("http://127.0.0.1:7410", server.url)
    .replaceAll('load("gme-2b")', `load(${JSON.stringify(bundledModelPath)}, { threads: 1 })`);
  writeFileSync(join(folder, fileOf(example, ending)), `${code}${last}\n`);
  return fileOf(example, ending);
}

/** What the example left in `vectors`. */
async function run(example: Example): Promise<unknown> {
  switch (example.language) {
    case "ts": {
      const file = writeExample(example, "mts", "console.log(JSON.stringify(vectors));");
      const loader = pathToFileURL(require.resolve("tsx")).href;
      return JSON.parse(await outputOf(process.execPath, ["--import", loader, file], { cwd: folder }));
    }
    case "python": {
      const file = writeExample(example, "py", "import json\nprint(json.dumps(vectors))");
      return JSON.parse(await outputOf("python3", [file], { cwd: folder }));
    }
    default: {
      const { data } = JSON.parse(await outputOf("sh", [writeExample(example, "sh", "")], { cwd: folder }));
      return data.map(({ embedding }: { embedding: number[] }) => embedding);
    }
  }
}

async function reasonToSkip({ language }: Example): Promise<string | false> {
  if (language === "python") return (await pythonWith("openai")).skip;
  if (language !== "sh") return false;
  const version = await outputOf("curl", ["--version"]).catch(() => "curl 0.0");
  const [major, minor] = version.split(/[ .]/).slice(1).map(Number);
  return major > 7 || (major === 7 && minor >= 82) ? false : `needs curl 7.82, this is ${version.split("\n", 1)[0]}`;
}

t.test("each client has its example", async (t) => {
  t.same(
    examples.map(({ title }) => title),
    Object.keys(items),
  );
});

for (const example of examples) {
  t.test(example.title, async (t) => {
    const skip = await reasonToSkip(example);
    t.test("gives the library's vectors", { skip }, async (t) => {
      sameVectors(t, await run(example), await server.model.embedBatch(items[example.title]));
    });
  });
}

t.test("the examples fit the packages' types", async (t) => {
  const files = examples.filter(({ language }) => language === "ts").map((example) => fileOf(example, "mts"));
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const options = "--noEmit --strict --target es2022 --module node16 --lib es2023,dom,dom.iterable,esnext.disposable";
  const args = [compiler, ...options.split(" "), "--types", "node", "--skipLibCheck", ...files];
  const said = await outputOf(process.execPath, args, { cwd: folder }).catch(({ stdout }) => stdout);
  t.equal(said, "");
});
