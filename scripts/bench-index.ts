// Memory and speed of indexing: RSS of this process and of the engine's at milestones, items per second, idle share.
// npx tsx scripts/bench-index.ts [--items 20000] [--pictures 0.5] [--model FILE]
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { bundledModelPath } from "../lib/bundled-model";
import { openIndex } from "../lib/index-store/index";

const perFolder = 1_000;
const side = 64;

const { values } = parseArgs({
  options: {
    items: { type: "string", default: "20000" },
    pictures: { type: "string", default: "0.5" },
    model: { type: "string", default: bundledModelPath },
  },
});

/** Pictures and texts that differ from each other, each a file of its own. */
async function writeItems(folder: string, items: number, share: number): Promise<void> {
  for (let i = 0; i < items; i++) {
    const inside = join(folder, String(Math.floor(i / perFolder)));
    if (i % perFolder === 0) mkdirSync(inside, { recursive: true });
    if ((i * share) % 1 >= share) writeFileSync(join(inside, `${i}.txt`), `Text ${i}: ${(i * 7_919) % 10_007} words.`);
    else await writePicture(join(inside, `${i}.png`), i);
  }
}

async function writePicture(path: string, number: number): Promise<void> {
  const pixels = Buffer.alloc(side * side * 3);
  for (let at = 0; at < pixels.length; at++) pixels[at] = (at * ((number % 251) + 1) + (number >> 8) * 31) & 255;
  pixels.writeUInt32LE(number, 0);
  await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
    .png({ compressionLevel: 1 })
    .toFile(path);
}

/** In MB; undefined where /proc is not there. */
function rssOf(pid: number | string): number | undefined {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1_024;
  } catch {
    return undefined;
  }
}

function enginePid(): string | undefined {
  try {
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ");
    return children.find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("engine-host"));
  } catch {
    return undefined;
  }
}

function show(embedded: number, seconds: number): void {
  const pid = enginePid();
  const [own, engine] = [rssOf("self"), pid === undefined ? undefined : rssOf(pid)];
  const rate = (embedded / seconds).toFixed(0);
  process.stdout.write(
    `${String(embedded).padStart(7)} items  ${seconds.toFixed(0).padStart(4)} s  ${rate.padStart(5)} items/s  ` +
      `RSS ${own?.toFixed(0)} MB, engine ${engine?.toFixed(0)} MB\n`,
  );
}

async function main(): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), "gme-bench-"));
  try {
    const [folder, items] = [join(base, "files"), Number(values.items)];
    await writeItems(folder, items, Number(values.pictures));
    sharp.cache(false);
    const index = await openIndex(join(base, "index"), { model: values.model });
    const milestones = [0.025, 0.1, 0.25, 0.5, 0.75, 0.99].map((share) => Math.floor(items * share));
    const start = Date.now();
    const summary = await index.addFiles([folder], {
      onProgress: ({ embedded }) => {
        if (milestones.length === 0 || embedded < milestones[0]) return;
        show(embedded, (Date.now() - start) / 1_000);
        milestones.shift();
      },
    });
    show(summary.embedded, summary.seconds);
    process.stdout.write(`${JSON.stringify(summary)}\n`);
    await index.close();
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
