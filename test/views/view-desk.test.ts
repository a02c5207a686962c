// Views are drawn in processes of their own, which may hang, crash and be asked too much.
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";
import t from "tap";
import { ViewDesk } from "../../lib/views/view-desk";
import type { ViewFile } from "../../lib/views/view-messages";
import { imageFixture, root, sha256, temporaryFolder } from "../helpers/fixtures";
import { pdfWithPages } from "../helpers/pdf-writer";
import { rejectsWith } from "../helpers/rejects";
import { readFileSync } from "node:fs";

const folder = temporaryFolder();
const file = (path: string, page?: number): ViewFile => ({
  path,
  sha256: sha256(readFileSync(path)),
  ...(page !== undefined && { page }),
});
const picture = file(join(root, "models", "emoji-tiny", "samples", "rose.png"));

async function isGone(desk: ViewDesk): Promise<boolean> {
  for (let i = 0; i < 200 && desk.pids.length > 0; i++) await pause(20);
  return desk.pids.length === 0;
}

t.test("pictures come upright and small, pages drawn, both as WebP", async (t) => {
  const desk = new ViewDesk();
  t.teardown(() => desk.close());
  const turned = join(folder, "turned.jpg");
  writeFileSync(turned, await sharp(imageFixture("photo-640x480.png")).withMetadata({ orientation: 6 }).jpeg().toBuffer()); // biome-ignore format: one line says it
  const pdf = join(folder, "two.pdf");
  writeFileSync(pdf, pdfWithPages([{ text: "one" }, { text: "two", width: 800, height: 400 }]));
  const [a, b] = await Promise.all([desk.draw([file(turned)], 320), desk.draw([file(pdf, 2)], 1000)]);
  t.match(await sharp(a).metadata(), { format: "webp", width: 240, height: 320 });
  t.match(await sharp(b).metadata(), { format: "webp", width: 1000, height: 500 });
  t.equal(desk.pids.length, 2);
});

t.test("the first file that is as it was indexed is drawn, else the reason is told", async (t) => {
  const desk = new ViewDesk();
  t.teardown(() => desk.close());
  const copy = join(folder, "copy.png");
  copyFileSync(picture.path, copy);
  const gone = { ...picture, path: join(folder, "gone.png") };
  const changed = { ...file(copy), sha256: "0".repeat(64) };
  t.ok((await desk.draw([gone, changed, picture], 64)).length > 0);
  await rejectsWith(t, () => desk.draw([gone], 64), "GME_IO_ERROR");
  await rejectsWith(t, () => desk.draw([changed], 64), "GME_CHANGED_WHILE_OPEN");
  const odd = join(folder, "odd.svg");
  writeFileSync(odd, '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>');
  await rejectsWith(t, () => desk.draw([file(odd)], 64), "GME_IMAGE_FORMAT");
  const broken = join(folder, "broken.pdf");
  writeFileSync(broken, "%PDF-1.4 and nothing more %%EOF");
  await rejectsWith(t, () => desk.draw([file(broken, 1)], 64), "GME_PDF_CORRUPT");
  t.equal(desk.pids.length, 1, "a file that cannot be drawn costs no process");
});

t.test("drawing that takes too long is given up with its process", async (t) => {
  const desk = new ViewDesk(1);
  t.teardown(() => desk.close());
  await rejectsWith(t, () => desk.draw([picture], 64), "GME_DEADLINE_EXCEEDED");
  t.ok(await isGone(desk));
});

t.test("a process that ends fails its own view, and the next one gets another", async (t) => {
  const desk = new ViewDesk();
  t.teardown(() => desk.close());
  const running = desk.draw([picture], 64);
  const [pid] = desk.pids;
  process.kill(pid, "SIGKILL");
  const error = await rejectsWith(t, () => running, "GME_ENGINE_CRASHED");
  t.equal(error.value, "SIGKILL");
  t.ok((await desk.draw([picture], 64)).length > 0);
  t.equal(desk.pids.includes(pid), false);
});

t.test("two at once, a bounded number waits, and who waits can leave", async (t) => {
  const desk = new ViewDesk();
  const abort = new AbortController();
  const running = Array.from({ length: 2 }, () => desk.draw([picture], 64));
  const leaving = desk.draw([picture], 64, abort.signal);
  const waiting = Array.from({ length: 31 }, () => desk.draw([picture], 64));
  await rejectsWith(t, () => desk.draw([picture], 64), "GME_QUEUE_FULL");
  t.equal(desk.pids.length, 2);
  abort.abort();
  await rejectsWith(t, () => leaving, "GME_ABORTED");
  await rejectsWith(t, () => desk.draw([picture], 64, abort.signal), "GME_ABORTED");
  t.equal((await Promise.all([...running, ...waiting])).length, 33);
  t.equal(desk.pids.length, 2);
  const last = [desk.draw([picture], 64), desk.draw([picture], 64), desk.draw([picture], 64)].map((view) => view.then(() => "drawn", (error) => error.code)); // biome-ignore format: one line says it
  await desk.close();
  t.equal((await last[2]).startsWith("GME_MODEL_CLOSED"), true);
  t.ok(
    (await Promise.all(last)).every((end) => /^(drawn|GME_)/.test(end)),
    "every call settles",
  );
  t.equal(desk.pids.length, 0);
  await rejectsWith(t, () => desk.draw([picture], 64), "GME_MODEL_CLOSED");
});
