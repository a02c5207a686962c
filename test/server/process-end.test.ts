// A process that has closed its server and its model ends by itself: nothing of them keeps it alive.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { root, temporaryFolder } from "../helpers/fixtures";

const program = (request: string) => `
import { bundledModelPath, load } from ${JSON.stringify(join(root, "lib", "index"))};
import { startServer } from ${JSON.stringify(join(root, "lib", "server", "index"))};
(async () => {
  const model = await load(bundledModelPath, { threads: 1 });
  const server = await startServer({ model, port: 0, logLevel: "silent" });
  const ask = (body: object) => fetch(server.url + "/v1/embeddings", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  ${request}
  await server.close();
  await model.close();
  console.log("closed");
})();
`;

const requests = {
  "without a request": "",
  "after an answer, with its connection kept": 'await (await ask({ input: "a" })).json();',
  "with a request in flight": 'ask({ input: Array(100).fill("a long text ".repeat(50)) }).catch(() => undefined);',
};

for (const [when, request] of Object.entries(requests)) {
  t.test(when, async (t) => {
    const script = join(temporaryFolder(), "serve.ts");
    writeFileSync(script, program(request));
    const loader = pathToFileURL(require.resolve("tsx")).href;
    const child = spawn(process.execPath, ["--import", loader, script], { stdio: ["ignore", "pipe", "inherit"] });
    let end: NodeJS.Timeout | undefined;
    child.stdout.once("data", () => {
      end = setTimeout(() => child.kill(), 5_000);
    });
    const [code, signal] = await once(child, "exit");
    clearTimeout(end);
    t.same({ code, signal }, { code: 0, signal: null }, "within 5 s of closing");
  });
}
