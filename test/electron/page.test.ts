// The example app's page in Chromium: the real page, the real engine in its process, and between them a stand-in for the preload script and
// Electron's channels (JSON over the browser's debugging port). Pictures for docs/electron.md: GME_UPDATE_PICTURES=1.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import t, { type Test } from "tap";
import { answerCall, pageCalls } from "../../examples/electron/src/page-calls";
import { root } from "../helpers/fixtures";
import { buildExample, type ExampleApp, samples, startEngine } from "./example-app";

const program = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);
const skip =
  program === undefined && "Chromium is not installed (Debian: apt-get install chromium; or name it in CHROMIUM)";

/** Serves what Electron's protocol handler would answer. */
async function serve(t: Test, app: ExampleApp, thumbnail: (key: string) => Promise<Uint8Array | undefined>) {
  const { answerRequest } = app.module<typeof import("../../examples/electron/src/pages")>("pages.js");
  const server = createServer(async (request, response) => {
    // Asked for by a browser, not by Electron's window.
    if (request.url === "/favicon.ico") return void response.writeHead(204).end();
    const answer = await answerRequest(`http://app${request.url}`, thumbnail);
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  t.teardown(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface OpenPage {
  readonly page: Page;
  readonly origin: string;
  readonly shown: string[];
  /** Errors and warnings of the console, and requests that left the app. */
  readonly faults: string[];
}

async function openPage(t: Test): Promise<OpenPage> {
  const app = buildExample(t);
  const broken = join(app.folder, "broken");
  mkdirSync(broken);
  writeFileSync(join(broken, "broken.png"), "no picture at all");
  let browser: Browser | undefined;
  let page: Page | undefined;
  t.teardown(() => browser?.close());
  const listener = (data: unknown) => void page?.evaluate((sent) => (window as unknown as { emit(data: unknown): void }).emit(sent), data).catch(() => undefined); // biome-ignore format: one line says it
  const { client } = startEngine(t, app, { listener });
  const shown: string[] = [];
  const calls = pageCalls(client, { chooseFolder: async () => broken, showFile: (path) => void shown.push(path) });
  const origin = await serve(t, app, (key) => client.call("thumbnail", key));
  browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
  page = await browser.newPage({ viewport: { width: 860, height: 560 }, colorScheme: "light" });
  const faults: string[] = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("request", (request) => request.url().startsWith(`${origin}/`) || faults.push(request.url()));
  await page.exposeFunction("callMain", (name: string, argument: unknown) => answerCall(calls[name], argument));
  await page.exposeFunction("droppedPath", (name: string) => (name === "samples" ? samples : "/"));
  await page.addInitScript({ path: join(__dirname, "children", "preload-stand-in.js") });
  await page.goto(`${origin}/`);
  return { page, origin, shown, faults };
}

/** As if a folder was dragged over the window and let go. */
function drop(): void {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([], "samples"));
  for (const type of ["dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
}

async function takePicture(page: Page, name: string): Promise<Buffer> {
  const picture = await page.screenshot({ type: "png" });
  if (process.env.GME_UPDATE_PICTURES === "1") {
    mkdirSync(join(root, "docs", "pictures"), { recursive: true });
    writeFileSync(join(root, "docs", "pictures", name), picture);
  }
  return picture;
}

const focusedKey = (page: Page) => page.evaluate(() => (document.activeElement as HTMLElement).dataset.key);
const imagesLoaded = () => {
  const images = [...document.querySelectorAll<HTMLImageElement>(".hit img")].slice(0, 15);
  return images.length === 15 && images.every(({ complete, naturalWidth }) => complete && naturalWidth > 0);
};

t.test("the page, from an empty index to a result that is opened", { skip }, async (t) => {
  const { page, shown, faults } = await openPage(t);
  page.setDefaultTimeout(60_000);
  await page.getByText("0 entries · Built with GME").waitFor();
  t.ok(await page.locator("#hint").isVisible());
  t.equal(await page.evaluate(() => document.activeElement?.id), "query");

  await page.evaluate(drop);
  await page.getByText(/\d+ of \d+\+? files/).waitFor();
  t.ok(await page.getByRole("button", { name: "Stop" }).isVisible(), "a run can be stopped");
  await page.getByText(/looked at, 51 new/).waitFor();
  t.notOk(await page.getByRole("button", { name: "Stop" }).isVisible());
  await page.getByText("51 entries").waitFor();

  await page.keyboard.type("a bicycle");
  await page.locator(".hit").first().waitFor();
  await page.waitForFunction(imagesLoaded);
  t.equal(await page.locator(".hit .name").first().textContent(), "bicycle.png");
  t.match(await page.locator(".hit .score").first().textContent(), /^0\.\d{3}$/);
  t.notOk(await page.locator("#hint").isVisible());
  const light = await takePicture(page, "electron-light.png");

  await page.keyboard.press("ArrowDown");
  const first = await focusedKey(page);
  await page.keyboard.press("ArrowRight");
  const second = await focusedKey(page);
  t.ok(first !== undefined && second !== undefined && first !== second, "arrows move the focus");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowUp");
  t.equal(await focusedKey(page), second);
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  while (shown.length === 0) await new Promise((next) => setTimeout(next, 20));
  t.strictSame(shown, [join(samples, "bicycle.png")]);
  await page.keyboard.press("/");
  t.equal(await page.evaluate(() => document.activeElement?.id), "query");

  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await takePicture(page, "electron-dark.png");
  t.notOk(light.equals(dark));
  t.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(28, 29, 31)");

  await page.getByRole("button", { name: "About" }).click();
  t.ok(await page.getByRole("dialog").getByText("Built with GME").isVisible());
  t.match(await page.locator("#about-model").textContent(), /emoji/i);
  await page.keyboard.press("Escape");
  t.notOk(await page.getByRole("dialog").isVisible());

  await page.getByRole("button", { name: "Add a folder" }).click();
  await page.getByText("1 could not be indexed").waitFor();
  await page.locator("#problems summary").click();
  await page.getByText(/broken\.png: .*\(GME_IMAGE_FORMAT\)/).waitFor();
  t.strictSame(faults, [], "no error in the console, no request outside");
});

t.test("what is not the page's own does not run in it, and its texts are only text", { skip }, async (t) => {
  const { page, faults } = await openPage(t);
  await page.getByText("0 entries").waitFor();
  const blocked = await page.evaluate(async () => {
    const seen: string[] = [];
    document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
    const inline = document.createElement("script");
    inline.textContent = "window.wasRun = true";
    const outside = Object.assign(document.createElement("img"), { src: "https://example.org/x.png" });
    document.body.append(inline, outside);
    const fetched = await fetch("/").then(() => "fetched", () => "refused"); // biome-ignore format: one line says it
    await new Promise((next) => setTimeout(next, 300));
    return { seen: seen.sort(), fetched, wasRun: "wasRun" in window };
  });
  t.strictSame(blocked, { seen: ["connect-src", "img-src", "script-src-elem"], fetched: "refused", wasRun: false });
  faults.length = 0;
  const hostile = { code: "GME_X", message: "<img src=x onerror=alert(1)>", path: "<b>a</b>" };
  await page.evaluate((failed) => (window as unknown as { emit(data: unknown): void }).emit({ failed }), hostile);
  t.equal(await page.locator("#problem-list li").textContent(), `${hostile.path}: ${hostile.message} (GME_X)`);
  t.equal(await page.locator("#problem-list li *").count(), 0);
  t.strictSame(faults, []);
});
