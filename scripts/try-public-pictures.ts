// Gives every picture of a folder, by default Pillow's own test pictures (PyPI's source package, with what fuzzers found in decoders), to the
// picture layer in processes of their own, and counts what became of them: tsx scripts/try-public-pictures.ts [folder]
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { decodeImage } from "../lib/image-decode";
import { readImage } from "../lib/input";

/** Source packages with pictures: of PyPI by name and version. */
const sources = ["pillow==12.0.0"];
const hangMs = 15_000;

/** Reads paths from stdin, one a line; answers each with its outcome. */
async function child(): Promise<void> {
  for await (const path of createInterface({ input: process.stdin })) {
    const start = performance.now();
    const what = await decodeImage(readImage(path, "image"), { orientation: "exif", maxImagePixels: 64e6 }).then(
      ({ data, width, height }) => (data.length === width * height * 3 ? "accepted" : "a picture of another size"),
      (error) => (/^GME_/.test(error.code) ? error.code : `not a GmeError: ${error}`),
    );
    console.log(JSON.stringify({ path, what, milliseconds: performance.now() - start }));
  }
}

function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .sort();
}

function download(folder: string): void {
  for (const source of sources) {
    execFileSync("python3", [
      "-m",
      "pip",
      "download",
      "--quiet",
      "--no-deps",
      "--no-binary",
      ":all:",
      "-d",
      folder,
      source,
    ]);
    for (const name of readdirSync(folder).filter((entry) => entry.endsWith(".tar.gz")))
      execFileSync("tar", ["xzf", join(folder, name), "-C", folder]);
  }
}

/** A file after the other; a child that ends or is silent is one crash or hang, and another goes on. */
async function tryAll(paths: readonly string[]): Promise<Map<string, string>> {
  const outcomes = new Map<string, string>();
  const left = [...paths];
  while (left.length > 0) {
    const worker = spawn(process.execPath, [...process.execArgv, __filename, "--child"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    const lines = createInterface({ input: worker.stdout })[Symbol.asyncIterator]();
    for (let alive = true; alive && left.length > 0; ) {
      const path = left.shift() as string;
      worker.stdin.write(`${path}\n`);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<"late">((resolve) => {
        timer = setTimeout(() => resolve("late"), hangMs);
      });
      const answer = await Promise.race([lines.next(), late]);
      clearTimeout(timer);
      alive = answer !== "late" && answer.done !== true;
      outcomes.set(path, answer === "late" ? "hang" : answer.done ? "crash" : JSON.parse(answer.value).what);
    }
    worker.kill("SIGKILL");
  }
  return outcomes;
}

async function main(): Promise<void> {
  const given = process.argv[2];
  const folder = given ?? mkdtempSync(join(tmpdir(), "gme-pictures-"));
  try {
    if (given === undefined) download(folder);
    const outcomes = await tryAll(
      filesUnder(folder).filter((path) => !/\.(py|txt|md|rst|c|h|toml|cfg|ya?ml|gz)$/.test(path)),
    );
    const byKind = new Map<string, Map<string, number>>();
    for (const [path, what] of outcomes) {
      const kinds = byKind.get(what) ?? new Map<string, number>();
      const extension = extname(path).toLowerCase() || "none";
      byKind.set(what, kinds.set(extension, (kinds.get(extension) ?? 0) + 1));
      if (what === "crash" || what === "hang" || what.startsWith("not a") || what.startsWith("a picture of"))
        console.log(`${what}: ${path}`);
    }
    const count = (what: string) => [...outcomes.values()].filter((value) => value === what).length;
    for (const [what, kinds] of [...byKind].sort())
      console.log(
        `${count(what)} ${what}: ${[...kinds]
          .sort()
          .map(([extension, n]) => `${n} ${extension}`)
          .join(", ")}`,
      );
    console.log(`I36: ${outcomes.size} public files, ${count("crash")} crashes, ${count("hang")} hangs`);
    if (count("crash") + count("hang") > 0) process.exitCode = 1;
  } finally {
    if (given === undefined) rmSync(folder, { recursive: true, force: true });
  }
}

void (process.argv[2] === "--child" ? child() : main());
