// What the example's main process asks of Electron: a sandboxed page, a scheme of its own, calls from its own page only.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { buildExample } from "./example-app";

const app = buildExample(t);
const build = join(app.folder, "build", "src");

t.test("the window is closed to everything but the app's own page", async (t) => {
  const script = join(__dirname, "children", "main-stand-in.cjs");
  const args = [script, join(build, "main.js"), app.folder];
  const env = { ...process.env, NODE_OPTIONS: "", GME_MODEL: "" };
  const notes = JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8", timeout: 60_000, env }));
  const preload = join(build, "preload.js");
  t.strictSame(notes.options, { preload, contextIsolation: true, sandbox: true, nodeIntegration: false });
  t.match(notes, {
    sandbox: true,
    url: "app://gme/",
    windowOpen: "deny",
    navigation: "prevented",
    permissions: [false],
  });
  t.strictSame(notes.scheme, { scheme: "app", privileges: { standard: true, secure: true } });
  t.equal(notes.credits, "Built with GME");
  t.strictSame(notes.own, { value: { entries: 0 } });
  t.strictSame(notes.strangers, Array(4).fill("Not called by the app's page"));
  t.strictSame(notes.shown, ["/a.png"]);
  t.strictSame(notes.noFolder, {}, "no folder was chosen, none is indexed");
  t.match(notes, { page: 200, thumbnail: "image/webp" });
  t.equal(notes.forks.length, 1, "one engine");
  t.strictSame(notes.forks[0].slice(0, 2), [join(build, "engine.js"), [join(app.folder, "index"), "", "auto"]]);
  t.match(notes, { quitHeld: true, quit: true }, "the index is closed before the app ends");
});

t.test(
  "the preload script needs nothing but Electron, as a sandboxed one must, and has a handler for each call",
  async (t) => {
    const preload = readFileSync(join(build, "preload.js"), "utf8");
    t.strictSame(Array.from(preload.matchAll(/require\("(.*?)"\)/g), ([, name]) => name), ["electron"]); // biome-ignore format: one line says it
    const called = Array.from(preload.matchAll(/invoke\("gme:(\w+)"/g), ([, name]) => name).sort();
    const { pageCalls } = app.module<typeof import("../../examples/electron/src/page-calls")>("page-calls.js");
    t.strictSame(called, Object.keys(pageCalls({} as never, {} as never)).sort());
  },
);
