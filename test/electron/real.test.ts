// The example app in Electron itself, where one is installed: `electron` among the packages with its program, or on the PATH, or ELECTRON.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { _electron } from "playwright-core";
import t, { type Test } from "tap";
import { root } from "../helpers/fixtures";
import { buildExample, samples } from "./example-app";

// npx and npm put node_modules/.bin in front, whose script only says that there is no program.
const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => !/node_modules[\\/]\.bin$/.test(folder));
const onPath = folders.map((folder) => join(folder, "electron"));
const installed = join(
  root,
  "node_modules",
  "electron",
  "dist",
  process.platform === "win32" ? "electron.exe" : "electron",
);
const program = [process.env.ELECTRON, installed, ...onPath].find((file) => file !== undefined && existsSync(file));
const needsDisplay = process.platform === "linux" && process.env.DISPLAY === undefined;
const hasXvfb = spawnSync("Xvfb", ["-help"]).error === undefined;
const skip =
  (program === undefined && "Electron's program is not installed: the registry's package fetches it from elsewhere") ||
  (needsDisplay && !hasXvfb && "no display (Debian: apt-get install xvfb)");

/** A screen in memory; its number. */
async function openDisplay(t: Test): Promise<string> {
  const server: ChildProcess = spawn("Xvfb", ["-displayfd", "1", "-screen", "0", "1200x900x24"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  t.teardown(() => server.kill());
  return new Promise((ready) => server.stdout?.once("data", (data) => ready(`:${String(data).trim()}`)));
}

t.test("L24 the example app indexes a folder and finds a picture, in Electron", { skip }, async (t) => {
  const app = buildExample(t);
  const display = needsDisplay ? { DISPLAY: await openDisplay(t) } : {};
  const electron = await _electron.launch({
    executablePath: program,
    args: ["--no-sandbox", `--user-data-dir=${join(app.folder, "user")}`, app.folder],
    env: { ...process.env, ...display } as Record<string, string>,
  });
  t.teardown(() => electron.close());
  const page = await electron.firstWindow();
  page.setDefaultTimeout(120_000);
  await page.getByText("0 entries · Built with GME").waitFor();
  await electron.evaluate(({ dialog }, folder) => {
    dialog.showOpenDialog = async () => ({ canceled: false, filePaths: [folder] });
  }, samples);
  await page.getByRole("button", { name: "Add a folder" }).click();
  await page.getByText(/looked at, 51 new/).waitFor();
  await page.locator("#query").fill("a bicycle");
  await page.waitForFunction(() => document.querySelector<HTMLImageElement>(".hit img")?.naturalWidth);
  t.equal(await page.locator(".hit .name").first().textContent(), "bicycle.png");
  t.equal(await page.evaluate(() => typeof (globalThis as { require?: unknown }).require), "undefined");
});
