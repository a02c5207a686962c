// The example app's parts that need no process: search as you type, the progress line, what the page may ask for.
import t from "tap";
import { duration, progressLine, summaryLine } from "../../examples/electron/page/progress-line";
import { SearchAsYouType } from "../../examples/electron/page/search-as-you-type";
import type { EngineClient } from "../../examples/electron/src/engine-client";
import { answerCall, type Desktop, pageCalls } from "../../examples/electron/src/page-calls";
import { toProblem } from "../../examples/electron/src/problem";
import { GmeError } from "../../lib";
import { buildExample } from "./example-app";

const wait = (milliseconds: number) => new Promise((next) => setTimeout(next, milliseconds));

t.test("a search is asked once the typing pauses", async (t) => {
  const asked: string[] = [];
  const shown: string[] = [];
  const search = new SearchAsYouType(async (query) => asked.push(query), (_answer, query) => shown.push(query), 20); // biome-ignore format: one line says it
  for (const query of ["a", "a c", "a ca", "a cat"]) search.type(query);
  await wait(100);
  t.strictSame(asked, ["a cat"]);
  t.strictSame(shown, ["a cat"]);
});

t.test("an answer that comes late is not shown over a newer one", async (t) => {
  const answers = new Map<string, (answer: string) => void>();
  const shown: string[] = [];
  const search = new SearchAsYouType<string>(
    (query) => new Promise((answer) => answers.set(query, answer)),
    (answer) => shown.push(answer),
    1,
  );
  const older = search.run("old");
  const newer = search.run("new");
  answers.get("new")?.("new answer");
  await newer;
  answers.get("old")?.("old answer");
  await older;
  t.strictSame(shown, ["new answer"]);
  const typed = search.run("third");
  search.type("fourth");
  answers.get("third")?.("third answer");
  await typed;
  t.strictSame(shown, ["new answer"], "typing alone makes an open answer old");
  await wait(50);
  answers.get("fourth")?.("fourth answer");
  await wait(1);
  t.strictSame(shown, ["new answer", "fourth answer"]);
});

t.test("the progress line says what is known", async (t) => {
  const base = { done: 12, total: 340, counted: true, failed: 0 };
  t.equal(progressLine(base), "12 of 340 files");
  t.equal(progressLine({ ...base, counted: false, secondsLeft: 9 }), "12 of 340+ files", "no time left while counting");
  t.equal(progressLine({ ...base, failed: 1, secondsLeft: 61, current: "cat.jpg" }), "12 of 340 files, 1 failed, 2 min left: cat.jpg"); // biome-ignore format: one line says it
  t.equal(progressLine({ ...base, done: 340, secondsLeft: 0 }), "340 of 340 files");
  t.strictSame([0.2, 59.1, 60, 3600, 5401].map(duration), ["1 s", "60 s", "1 min", "1 h 0 min", "1 h 31 min"]);
  t.equal(summaryLine({ files: 1, embedded: 1, failed: 0, seconds: 2 }), "1 file looked at, 1 new, in 2 s");
});

/** An engine that notes what it is asked. */
function noteCalls() {
  const calls: unknown[] = [];
  const shown: string[] = [];
  const call = async (...args: unknown[]) => {
    calls.push(args);
    return args[0] === "pathOf" && args[1] === "good" ? "/pictures/cat.jpg" : undefined;
  };
  const desktop: Desktop = { chooseFolder: async () => undefined, showFile: (path) => void shown.push(path) };
  return { calls, shown, ask: pageCalls({ call } as unknown as EngineClient, desktop) };
}

t.test("what the page sends is looked at before the engine gets it", async (t) => {
  const { calls, shown, ask } = noteCalls();
  for (const paths of [undefined, "x", [], [""], ["relative"], [7], ["/a\0b"], [["/a"]], Array(1001).fill("/a")])
    t.match(
      await answerCall(ask.index, paths),
      { problem: { code: "APP_ERROR" } },
      JSON.stringify(paths)?.slice(0, 40),
    );
  for (const query of [undefined, 7, {}, "x".repeat(10_001)])
    t.match(await answerCall(ask.search, query), { problem: { code: "APP_ERROR" } });
  t.strictSame(calls, []);
  t.strictSame(await answerCall(ask.index, ["/pictures"]), { value: undefined });
  t.match(await answerCall(ask.show, "bad"), { problem: { message: /not in the index/ } });
  t.strictSame(await answerCall(ask.choose, undefined), { value: undefined });
  t.strictSame(shown, []);
  await answerCall(ask.show, "good");
  t.strictSame(shown, ["/pictures/cat.jpg"]);
  t.strictSame(calls, [
    ["index", ["/pictures"]],
    ["pathOf", "bad"],
    ["pathOf", "good"],
  ]);
});

t.test("errors become data with code, message and file", async (t) => {
  const error = new GmeError("GME_IO_ERROR", "gone", { file: "/a.png" });
  t.strictSame(toProblem(error), { code: "GME_IO_ERROR", message: "gone", path: "/a.png" });
  t.strictSame(toProblem("text"), { code: "APP_ERROR", message: "text" });
  t.strictSame(toProblem(undefined), { code: "APP_ERROR", message: "undefined" });
});

t.test("the page's address space: its files, thumbnails by key, nothing else", async (t) => {
  const { answerRequest } = buildExample(t).module<typeof import("../../examples/electron/src/pages")>("pages.js");
  const key = "0123456789abcdef".repeat(4);
  const asked: string[] = [];
  const ask = (path: string) =>
    answerRequest(`app://gme${path}`, async (key) => {
      asked.push(key);
      if (key.startsWith("f")) throw new Error("the engine is gone");
      return key.startsWith("0") ? Uint8Array.of(1, 2, 3) : undefined;
    });
  const policy = (response: Response) => response.headers.get("content-security-policy") ?? "";
  for (const path of [
    "/",
    "/style.css",
    "/app.js",
    "/results.js",
    "/drop-zone.js",
    "/progress-line.js",
    "/search-as-you-type.js",
  ]) {
    const response = await ask(path);
    t.equal(response.status, 200, path);
    t.match(policy(response), /default-src 'none'; script-src 'self'/);
    t.notMatch(policy(response), /unsafe|http|\*|data:/);
  }
  const picture = await ask(`/thumbnail/${key}`);
  t.equal(picture.headers.get("content-type"), "image/webp");
  t.strictSame([...new Uint8Array(await picture.arrayBuffer())], [1, 2, 3]);
  const wrong = ["/src/main.js", "/../package.json", "/%2e%2e/package.json", "/thumbnail/../../package.json", "/thumbnail/",
    "/thumbnail//etc/passwd", `/thumbnail/${key}/..`, `/thumbnail/${key.toUpperCase()}`, "/thumbnail/%27", "/constructor", "/__proto__", "/index.html"]; // biome-ignore format: a list
  for (const path of wrong) t.equal((await ask(path)).status, 404, path);
  t.strictSame(asked, [key], "only a well-formed key is asked for");
  for (const first of ["1", "f"]) t.equal((await ask(`/thumbnail/${first}${key.slice(1)}`)).status, 404);
});
