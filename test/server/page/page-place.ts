import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import sharp from "sharp";
import type { Test } from "tap";
import { openIndex } from "../../../lib/index-store/index";
import { root, temporaryFolder } from "../../helpers/fixtures";
import { pdfWithPages } from "../../helpers/pdf-writer";
import { indexedPlace, type Place, sample, type ServerSettings, startServer } from "../search/search-place";

const program = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);
export const skip =
  program === undefined && "Chromium is not installed (Debian: apt-get install chromium; or name it in CHROMIUM)";

const chapters = [
  ["castle", "The castle", "We reached the castle on the second day. Its walls are older than the town below, and from the tower one sees the river, the orchards and the road on which we had come."],
  ["sailboat", "Across the bay", "A sailboat took us across the bay in less than three hours. The wind was fair, the water green, and the children counted gulls until there were too many to count."],
  ["bicycle", "By bicycle", "For the last stretch we hired bicycles. The path follows the old railway, so it never climbs much, and every village along it has a bench in the shade and a fountain."],
]; // biome-ignore format: one chapter a line

/** A travel book of three pages, drawn: a picture, a heading and lines of text each. */
export async function writeTravelBook(file: string): Promise<void> {
  const pages = chapters.map(async ([picture, title, text], i) => {
    const words = text.split(" ");
    const lines: string[] = [""];
    for (const word of words) {
      if (`${lines.at(-1)} ${word}`.length > 56) lines.push("");
      lines[lines.length - 1] = `${lines.at(-1)} ${word}`.trim();
    }
    const base64 = readFileSync(sample(picture)).toString("base64");
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="1190" height="1684">
<rect width="1190" height="1684" fill="#fffdf8"/><image x="215" y="150" width="760" height="760" xlink:href="data:image/png;base64,${base64}"/>
<text x="140" y="1060" font-family="DejaVu Serif, serif" font-size="58" fill="#222">${title}</text>
${lines.map((line, n) => `<text x="140" y="${1150 + n * 50}" font-family="DejaVu Serif, serif" font-size="31" fill="#333">${line}</text>`).join("")}
<text x="595" y="1610" font-family="DejaVu Serif, serif" font-size="28" fill="#777" text-anchor="middle">${i + 1}</text></svg>`;
    const jpeg = await sharp(Buffer.from(svg)).flatten({ background: "#fff" }).jpeg({ quality: 88 }).toBuffer();
    return { image: { jpeg, width: 1190, height: 1684 }, width: 595, height: 842 };
  });
  writeFileSync(file, pdfWithPages(await Promise.all(pages)));
}

/** The collection of the search's own tests and a travel book, and the page as it is bundled. */
export async function pagePlace(t: Test): Promise<Place & { readonly bundle: string }> {
  const place = await indexedPlace(t);
  await writeTravelBook(join(place.folder, "travels.pdf"));
  const index = await openIndex(place.db, { model: place.model });
  await index.addFiles([place.folder]);
  await index.close();
  const bundle = join(temporaryFolder(), "page");
  execFileSync(process.execPath, [join(root, "scripts", "bundle-page.mjs"), bundle]);
  return { ...place, bundle };
}

export interface OpenPage {
  readonly page: Page;
  readonly origin: string;
  /** Errors and warnings of the console, and requests to anywhere else. */
  readonly faults: string[];
  /** Addresses that were asked for, without the origin. */
  readonly requests: string[];
  /** Runs a command of this page's browser. */
  readonly browser: Browser;
}

export async function openPage(
  t: Test,
  place: Place & { bundle: string },
  { settings = {}, context = {} }: { settings?: ServerSettings; context?: BrowserContextOptions } = {},
): Promise<OpenPage> {
  const { app } = await startServer(t, place, { folder: place.bundle, ...settings });
  await app.listen({ port: 0, host: "127.0.0.1" });
  const origin = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
  const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
  t.teardown(() => browser.close());
  const made = await browser.newContext({
    viewport: { width: 1200, height: 800 },
    colorScheme: "light",
    reducedMotion: "reduce",
    ...context,
  });
  const page = await made.newPage();
  page.setDefaultTimeout(30_000);
  const [faults, requests]: string[][] = [[], []];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("request", (request) => {
    const url = request.url();
    if (url.startsWith(`${origin}/`)) requests.push(url.slice(origin.length));
    else if (!/^(blob|data):/.test(url)) faults.push(`asked for ${url}`);
  });
  await page.goto(`${origin}/`);
  return { page, origin, faults, requests, browser };
}

/** Types a question and waits for its answer. */
export async function ask(page: Page, text: string): Promise<void> {
  const answered = page.waitForResponse((response) => response.url().endsWith("/search"));
  await page.locator("#query").fill(text);
  await answered;
  await settled(page);
}

/** When the answer of the newest question is there, with its pictures. */
export async function settled(page: Page): Promise<void> {
  await page.locator("#busy").waitFor({ state: "hidden" });
  await page.waitForFunction(() => /result/.test(document.getElementById("status")?.textContent ?? ""));
  await page.waitForFunction(() => [...document.images].every((image) => !image.dataset.address || (image.complete && image.naturalWidth > 0))); // biome-ignore format: one line says it
}

export const tileNames = (page: Page) => page.locator(".tile .name").allTextContents();

/** As if a file was dragged over the window and let go, or pasted. */
export async function give(page: Page, how: "drop" | "paste", file: string, type = "image/png"): Promise<void> {
  const sent = { how, type, name: file.split(/[/\\]/).at(-1) as string, base64: readFileSync(file).toString("base64") };
  await page.evaluate(async ({ how, type, name, base64 }) => {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name, { type }));
    const target = document.querySelector("main") as HTMLElement;
    const init = { bubbles: true, cancelable: true };
    if (how === "paste") target.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, ...init }));
    else for (const event of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(event, { dataTransfer: data, ...init })); // biome-ignore format: one line says it
  }, sent);
}

/** What axe-core finds wrong; the script comes in past the page's policy, which is switched off in the context for it. */
export async function axeFaults(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: require.resolve("axe-core/axe.min.js") });
  return page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }> } }; // biome-ignore format: one line says it
    const { violations } = await axe.run();
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`)); // biome-ignore format: one line says it
  });
}

/** For the docs, with GME_UPDATE_PICTURES=1. */
export async function takePicture(page: Page, name: string): Promise<Buffer> {
  const picture = await page.screenshot({ type: "png", animations: "disabled" });
  if (process.env.GME_UPDATE_PICTURES === "1") {
    mkdirSync(join(root, "docs", "pictures"), { recursive: true });
    writeFileSync(join(root, "docs", "pictures", name), await sharp(picture).png({ palette: true, quality: 90, effort: 10 }).toBuffer()); // biome-ignore format: one line says it
  }
  return picture;
}
