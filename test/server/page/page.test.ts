// The search page in Chromium over a real index: what a person does with it, by typing, dropping, pasting and by keys.
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import sharp from "sharp";
import t from "tap";
import type { Page } from "playwright-core";
import { temporaryFolder } from "../../helpers/fixtures";
import { sample } from "../search/search-place";
import { axeFaults, give, openPage, pagePlace, settled, skip, tileNames, ask } from "./page-place";

let place: Awaited<ReturnType<typeof pagePlace>>;
t.before(async () => {
  if (skip === false) place = await pagePlace(t);
});

const focused = (page: Page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.className);
const focusedTile = (page: Page) =>
  page.evaluate(() => [...document.querySelectorAll(".tile")].indexOf(document.activeElement as Element));
const shown = (page: Page) => page.locator("#entry-name").textContent();
const viewIsThere = async (page: Page) => {
  await page.locator("#entry-picture:not(.small)").waitFor();
  await page.waitForFunction(() => (document.getElementById("entry-picture") as HTMLImageElement).naturalWidth > 0);
};

t.test("words that are typed find the right picture first", { skip }, async (t) => {
  const { page, requests, faults } = await openPage(t, place);
  t.equal(await focused(page), "query", "one can type at once");
  t.equal(await page.title(), "GME Search");
  await page.locator("footer", { hasText: /Built with GME · 51 pictures, \d+ texts, 6 pages · model / }).waitFor();
  await page.keyboard.type("a bicycle", { delay: 25 });
  await settled(page);
  t.ok((await tileNames(page)).slice(0, 2).includes("bicycle.png"));
  t.match(await page.locator(".score").first().textContent(), /^0\.\d{3}$/);
  t.match(await page.locator("#status").textContent(), /^40 results in \d+\.\d\d s$/);
  t.equal(requests.filter((path) => path === "/search").length, 1, "one search for what was typed without a pause");
  t.equal(await page.locator("#hint").isVisible(), false);

  await page.getByText("Pictures", { exact: true }).click();
  await settled(page);
  t.equal((await tileNames(page))[0], "bicycle.png");
  t.equal(await page.locator(".tile:not(.image)").count(), 0);
  await page.getByText("Texts", { exact: true }).click();
  await page.locator(".tile.text").first().waitFor();
  await settled(page);
  t.equal(await page.locator(".tile:not(.text)").count(), 0);
  t.match(await page.locator(".words").allTextContents(), [/./]);
  await page.getByText("Pages", { exact: true }).click();
  await page.locator(".tile.page").first().waitFor();
  await settled(page);
  t.equal(await page.locator(".tile").count(), 6);
  t.equal(await page.locator(".tile .place").first().textContent(), "page 3");

  await page.locator("#query").fill("");
  await page.locator("#hint").waitFor();
  t.equal(await page.locator(".tile").count(), 0);
  t.strictSame(faults, []);
});

t.test("a picture that is dropped, pasted or chosen finds itself first, alone and with words", { skip }, async (t) => {
  const { page, faults } = await openPage(t, place);
  await give(page, "drop", sample("guitar"));
  await settled(page);
  t.equal((await tileNames(page))[0], "guitar.png");
  t.ok(Number(await page.locator(".score").first().textContent()) > 0.99);
  t.equal(await page.locator("#chip-name").textContent(), "guitar.png");
  t.equal(await page.locator("#drop").isVisible(), false);

  await give(page, "paste", sample("owl"));
  await page.locator("#chip-name", { hasText: "owl.png" }).waitFor();
  await settled(page);
  t.equal((await tileNames(page))[0], "owl.png");
  const alone = await page.locator(".score").first().textContent();
  await page.locator("#query").fill("a musical instrument");
  await page.waitForFunction((before) => document.querySelector(".score")?.textContent !== before, alone);
  await settled(page);
  t.ok((await page.locator(".score").first().textContent()) !== alone, "both are one question");

  await page.locator("#query").fill("");
  await page.getByRole("button", { name: "Remove the picture" }).click();
  await page.locator("#hint").waitFor();
  t.equal(await page.locator("#chip").isVisible(), false);
  await page.locator("#file").setInputFiles(sample("rocket"));
  await page.locator("#chip-name", { hasText: "rocket.png" }).waitFor();
  await settled(page);
  t.ok(["rocket.png", "report.pdf"].includes((await tileNames(page))[0]), "the page is the same picture");
  t.strictSame(faults, []);
});

t.test(
  "a large picture is made smaller before it is sent, one that the browser cannot read is sent as it is",
  { skip },
  async (t) => {
    const read: string[] = [];
    const vector = await place.model.embed("x");
    const settings = {
      embedQuery: async () => vector,
      readImage: async (image: string) => {
        read.push(image);
        return Uint8Array.of(1);
      },
    };
    const { page } = await openPage(t, place, { settings });
    const folder = temporaryFolder();
    const noise = { create: { width: 4000, height: 1000, channels: 3 as const, background: "#888", noise: { type: "gaussian" as const, mean: 128, sigma: 60 } } }; // biome-ignore format: one line says it
    const [jpeg, png, tiff] = ["large.jpg", "large.png", "odd.tiff"].map((name) => join(folder, name));
    writeFileSync(jpeg, await sharp(noise).jpeg({ quality: 95 }).toBuffer());
    writeFileSync(png, await sharp(noise).png().toBuffer());
    writeFileSync(tiff, await sharp(sample("owl")).tiff().toBuffer());
    for (const [file, mime, sent, size] of [
      [jpeg, "image/jpeg", "image/jpeg", "1600x400"],
      [png, "image/png", "image/webp", "1600x400"],
      [sample("owl"), "image/png", "image/png", "224x224"],
      [tiff, "image/tiff", "image/tiff", "224x224"],
      [tiff, "", "", "224x224"],
    ]) {
      const before = read.length;
      await give(page, "drop", file, mime);
      for (let i = 0; read.length === before && i < 300; i++) await page.waitForTimeout(20);
      const [, type = "", base64] = /^(?:data:([^;]*);base64,)?(.*)$/.exec(read[before]) as RegExpExecArray;
      t.equal(type, sent, file);
      const { width, height } = await sharp(Buffer.from(base64, "base64")).metadata();
      t.equal(`${width}x${height}`, size, file);
      await settled(page);
    }
  },
);

t.test("keys lead from the search to the results, into one and back", { skip }, async (t) => {
  const { page, faults } = await openPage(t, place);
  await page.getByText("Pictures", { exact: true }).click();
  await page.keyboard.press("/");
  t.equal(await focused(page), "query");
  await page.keyboard.type("a red fruit");
  await page.keyboard.press("Enter");
  await settled(page);
  await page.keyboard.press("ArrowDown");
  t.equal(await focusedTile(page), 0);
  await page.keyboard.press("ArrowRight");
  t.equal(await focusedTile(page), 1);
  await page.keyboard.press("ArrowDown");
  const below = await focusedTile(page);
  t.ok(below > 3, "a row further");
  await page.keyboard.press("ArrowUp");
  t.equal(await focusedTile(page), 1);
  await page.keyboard.press("End");
  t.equal(await focusedTile(page), 39);
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  await page.locator("#entry[open]").waitFor();
  t.equal(await shown(page), "red-apple.png");
  await viewIsThere(page);
  t.equal(await page.getByRole("button", { name: "Previous result" }).isDisabled(), true);
  await page.keyboard.press("ArrowRight");
  t.equal(await shown(page), (await tileNames(page))[1]);
  await page.locator("#entry-facts", { hasText: (await tileNames(page))[1] }).waitFor();
  await page.keyboard.press("Escape");
  await page.locator("#entry").waitFor({ state: "hidden" });
  t.equal(await focusedTile(page), 1, "the focus is on what was shown");
  await page.keyboard.press("ArrowUp");
  t.equal(await focused(page), "query");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("/");
  t.equal(await focused(page), "query");
  await page.keyboard.type("a/b");
  t.equal(await page.locator("#query").inputValue(), "a/b", "what was there is typed over, a slash is a slash");
  t.strictSame(faults, []);
});

t.test("a page of a PDF is drawn, and one goes to the pages beside it", { skip }, async (t) => {
  const { page, requests, faults } = await openPage(t, place);
  await page.getByText("Pages", { exact: true }).click();
  await ask(page, "a bicycle");
  await page.locator(".tile", { hasText: "report.pdf" }).filter({ hasText: "page 2" }).click();
  await viewIsThere(page);
  t.equal(await page.locator("#entry-place").textContent(), "page 2 of 3");
  const side = await page.locator("#entry-picture").evaluate((picture: HTMLImageElement) => picture.naturalWidth);
  t.equal(side, 1600, "larger than its thumbnail");
  await page.getByRole("button", { name: "Next page" }).click();
  await page.locator("#entry-place", { hasText: "page 3 of 3" }).waitFor();
  await viewIsThere(page);
  t.equal(await page.locator("#entry-next").isDisabled(), true);
  await page.keyboard.press("PageUp");
  await page.locator("#entry-place", { hasText: "page 2 of 3" }).waitFor();
  await page.keyboard.press("PageUp");
  await page.locator("#entry-place", { hasText: "page 1 of 3" }).waitFor();
  await viewIsThere(page);
  t.ok(requests.some((path) => /^\/views\/[0-9a-f]{64}\?side=1600$/.test(path)));

  await page.getByRole("button", { name: "Search by this picture" }).click();
  await page.locator("#entry").waitFor({ state: "hidden" });
  await page.locator("#chip-name", { hasText: "report.pdf" }).waitFor();
  // The search by picture and words comes first, and may settle before the one by the picture alone has begun.
  const byPicture = page.waitForResponse((response) => {
    const asked = response.request();
    return asked.url().endsWith("/search") && !asked.postData()?.includes('"query"');
  });
  await page.locator("#query").fill("");
  await byPicture;
  await settled(page);
  t.equal(await page.locator(".place").first().textContent(), "page 1");
  t.ok(Number(await page.locator(".score").first().textContent()) > 0.95);
  t.strictSame(faults, []);
});

t.test("a passage is shown with those before and after it, a caption with its picture", { skip }, async (t) => {
  const { page, faults } = await openPage(t, place);
  await page.getByText("Texts", { exact: true }).click();
  await ask(page, "the owl in the palm tree");
  await page.locator(".tile", { hasText: "story.txt" }).filter({ hasText: "passage 2" }).click();
  await page.locator("#entry-place", { hasText: /^passage 2 of \d$/ }).waitFor();
  t.match(await page.locator("#entry-text").textContent(), /the owl sat in the palm tree/);
  t.equal(await page.locator("#entry-picture").isVisible(), false);
  await page.keyboard.press("PageDown");
  await page.locator("#entry-place", { hasText: /^passage 3 of/ }).waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByText("Pictures", { exact: true }).click();
  await ask(page, "an umbrella in the rain");
  await page.locator(".tile", { hasText: "umbrella.png" }).click();
  await page.locator("#entry-caption", { hasText: "an umbrella in the rain" }).waitFor();
  t.strictSame(faults, []);
});

t.test("an answer that comes late never takes the place of a newer one", { skip }, async (t) => {
  const { page, faults } = await openPage(t, place);
  let slow = 0;
  await page.route("**/search", async (route) => {
    if (route.request().postDataJSON().query !== "a castle") return route.continue();
    slow++;
    const response = await route.fetch();
    await new Promise((next) => setTimeout(next, 1_500));
    await route.fulfill({ response }).catch(() => undefined); // given up meanwhile
  });
  await page.locator("#query").fill("a castle");
  while (slow === 0) await page.waitForTimeout(20);
  t.ok(await page.locator("#busy").isVisible());
  await ask(page, "a red fruit");
  const first = (await tileNames(page))[0];
  t.equal(first, "red-apple.png");
  await page.waitForTimeout(1_800);
  t.equal((await tileNames(page))[0], first);
  t.equal(slow, 1);
  t.strictSame(faults, []);
});

t.test("more results come when they are asked for", { skip }, async (t) => {
  const { page, faults } = await openPage(t, place);
  await ask(page, "a red fruit");
  t.equal(await page.locator(".tile").count(), 40);
  await page.getByRole("button", { name: "Show more" }).click();
  await page.locator(".tile").nth(60).waitFor();
  await settled(page);
  t.equal(await focusedTile(page), 40, "the focus is on the first new one");
  t.equal(await page.getByRole("button", { name: "Show more" }).isVisible(), false);
  t.strictSame(faults, []);
});

t.test("a server with a key: the page asks for it, sends it and keeps it in the tab", { skip }, async (t) => {
  const settings = { apiKey: "correct horse" };
  const { page, origin, faults } = await openPage(t, place, { settings, context: { bypassCSP: true } });
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  t.equal(await focused(page), "key-value");
  t.strictSame(await axeFaults(page), []);
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("The server does not take that key.").waitFor();
  t.strictSame(await axeFaults(page), []);
  await page.keyboard.type("correct horse");
  await page.keyboard.press("Enter");
  await page.locator("#numbers", { hasText: "51 pictures" }).waitFor();
  await page.locator("#query").fill("a red fruit");
  await settled(page);
  t.equal((await tileNames(page))[0], "red-apple.png", "and thumbnails came too");
  await page.reload();
  await page.locator("#numbers", { hasText: "51 pictures" }).waitFor();
  t.equal(await dialog.isVisible(), false);
  t.equal(await page.evaluate(() => localStorage.length + document.cookie.length), 0);
  t.notOk(page.url().slice(origin.length + 1), "nothing of it in the address");
  t.ok(faults.length > 0 && faults.every((fault) => /401/.test(fault)), "the browser itself notes each 401, nothing else is noted"); // biome-ignore format: one line says it

  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
  await dialog.waitFor();
  await page.keyboard.press("Escape");
  await page.getByText("the server wants a key").waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await dialog.waitFor();
});

t.test("what the server refuses is said, and one can try again", { skip }, async (t) => {
  let isBroken = true;
  const { model } = place;
  const embedQuery = async ({ text = "" }) => {
    if (isBroken) throw Object.assign(new Error("the queue is full"), { statusCode: 429 });
    return model.embed(text);
  };
  const { page } = await openPage(t, place, { settings: { embedQuery } });
  await page.locator("#query").fill("a red fruit");
  await page.locator("#problem", { hasText: "the queue is full" }).waitFor();
  t.equal(await page.locator("#busy").isVisible(), false);
  isBroken = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await settled(page);
  t.equal((await tileNames(page))[0], "red-apple.png");
  t.equal(await page.locator("#problem").isVisible(), false);
  await page.route("**/search", (route) => route.abort());
  await page.locator("#query").fill("a castle");
  await page.getByText("The server cannot be reached.").waitFor();
});

t.test("what is not the page's own does not run in it, and texts of files are only text", { skip }, async (t) => {
  const { page } = await openPage(t, place);
  const hostile = "<img src=x onerror=alert(1)>";
  await page.route(
    "**/search",
    (route) =>
    route.fulfill({ json: { seconds: 0, results: [{ key: "a".repeat(64), score: 1, kind: "text", path: `/x/${hostile.replace("/", "")}\u202e`, snippet: hostile, thumbnail: null }] } }), // biome-ignore format: one line says it
  );
  await page.locator("#query").fill("x");
  await page.locator(".tile").waitFor();
  t.equal(await page.locator(".words").textContent(), hostile);
  t.equal(await page.locator(".name").textContent(), `${hostile}\\u{202e}`);
  t.equal(await page.locator(".tile img").count(), 0);
  const blocked = await page.evaluate(async () => {
    const seen: string[] = [];
    document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
    const inline = document.createElement("script");
    inline.textContent = "window.wasRun = true";
    document.body.append(inline, Object.assign(document.createElement("img"), { src: "https://example.org/x.png" }));
    const fetched = await fetch("https://example.org/").then(() => "fetched", () => "refused"); // biome-ignore format: one line says it
    await new Promise((next) => setTimeout(next, 300));
    return { seen: seen.sort(), fetched, wasRun: "wasRun" in window };
  });
  t.strictSame(blocked, { seen: ["connect-src", "img-src", "script-src-elem"], fetched: "refused", wasRun: false });
});
