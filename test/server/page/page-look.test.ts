// How the search page looks, in Chromium: light, dark, on a phone, with an open page; no overflow, and clean to axe-core.
// Pictures for the docs: GME_UPDATE_PICTURES=1.
import t from "tap";
import type { Page } from "playwright-core";
import {
  axeFaults,
  give,
  type OpenPage,
  openPage,
  pagePlace,
  settled,
  skip,
  takePicture,
  tileNames,
  ask,
} from "./page-place";
import { sample } from "../search/search-place";

let place: Awaited<ReturnType<typeof pagePlace>>;
t.before(async () => {
  if (skip === false) place = await pagePlace(t);
});

/** Files are shown where they are; on the docs' pictures that is no folder of the machine that made them. */
async function shortPaths({ page }: OpenPage): Promise<void> {
  await page.route("**/entries/*", async (route) => {
    const response = await route.fetch();
    const folder = JSON.stringify(place.folder).slice(1, -1);
    await route.fulfill({ response, body: (await response.text()).replaceAll(folder, "/pictures") });
  });
}

const overflow = (page: Page) =>
  page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const outside = [...document.querySelectorAll("body *")].filter((one) => {
      const { right, left, width } = one.getBoundingClientRect();
      const hidden = getComputedStyle(one).clipPath !== "none" || one.closest(".busy, #kinds input") !== null;
      return width > 0 && !hidden && (right > clientWidth + 1 || left < -1);
    });
    return [scrollWidth > clientWidth ? `${scrollWidth} > ${clientWidth}` : "", ...outside.map((one) => one.outerHTML.slice(0, 80))].filter(Boolean); // biome-ignore format: one line says it
  });

t.test("light, dark and with a page open it is clean to axe and keeps within the window", { skip }, async (t) => {
  const open = await openPage(t, place, { context: { bypassCSP: true } });
  const { page, faults } = open;
  await shortPaths(open);
  await page.getByText("Describe what you are looking for").waitFor();
  await page.locator("#collection", { hasText: "entries" }).waitFor();
  t.strictSame(await axeFaults(page), [], "before the first search");
  for (const scheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.locator("#query").fill("");
    await ask(page, scheme === "light" ? "a castle" : "a red fruit");
    t.strictSame(await axeFaults(page), [], scheme);
    t.strictSame(await overflow(page), [], scheme);
    await takePicture(page, `search-page-${scheme}.png`);
  }
  t.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(21, 24, 27)");
  await page.emulateMedia({ colorScheme: "light" });
  await page.getByText("Pages", { exact: true }).click();
  await page.locator("#query").fill("");
  await give(page, "drop", sample("bicycle"));
  await page.locator("#chip").waitFor();
  await settled(page);
  t.strictSame(await axeFaults(page), [], "with a picture");
  t.strictSame(await overflow(page), [], "with a picture");
  const at = (await tileNames(page)).indexOf("travels.pdf");
  await page.locator(".tile").nth(at).click();
  await page.locator("#entry-picture:not(.small)").waitFor();
  await page.locator("#entry-note:empty").waitFor({ state: "attached" });
  for (const scheme of ["dark", "light"] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    t.strictSame(await axeFaults(page), [], `a page is open, ${scheme}`);
  }
  t.strictSame(await overflow(page), []);
  await takePicture(page, "search-page-page-view.png");
  t.strictSame(faults, []);
});

t.test("a phone shows two columns and no sideways scrolling", { skip }, async (t) => {
  const context = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, bypassCSP: true };
  const { page, faults } = await openPage(t, place, { context });
  await page.locator("#collection", { hasText: "entries" }).waitFor();
  t.strictSame(await overflow(page), [], "at the start");
  await ask(page, "fruit");
  t.strictSame(await overflow(page), [], "with results");
  const header = await page.locator("header").boundingBox();
  t.ok((header?.height ?? 999) < 165, `the header takes ${header?.height} of 740 pixels`);
  const tops = await page
    .locator(".tile")
    .evaluateAll((tiles) => tiles.map((tile) => tile.getBoundingClientRect().top));
  t.equal(tops[0], tops[1]);
  t.ok(tops[2] > tops[1]);
  t.strictSame(await axeFaults(page), []);
  await takePicture(page, "search-page-phone.png");
  await page.locator(".tile").first().tap();
  await page.locator("#entry-picture:not(.small)").waitFor();
  t.strictSame(await overflow(page), [], "an entry is open");
  t.strictSame(await axeFaults(page), [], "an entry is open");
  t.strictSame(faults, []);
});
