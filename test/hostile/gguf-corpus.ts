// Writes every named malformed file of the matrix, and some mutated ones, for tools outside Node: sanitizers, fuzzers.
//
//   npx tsx test/hostile/gguf-corpus.ts DIR [MUTATED]           files, and DIR/list.txt: model and tower of each case, apart by a tab
//   npx tsx test/hostile/gguf-corpus.ts DIR MUTATED GME_TOOL    the same, then the tool loads and embeds each; a report ends it
import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { randomNumbers } from "../lifetime/native-model";
import { bases, everyBase, filesOf, goodFile, type HostileRow } from "./gguf-cases";
import { headers, truncations } from "./gguf-cases-container";
import { nameRows, rangeRows, shapeRows, typeRows } from "./gguf-cases-tensors";
import { alignmentRows, keyRows, valueRows } from "./gguf-cases-values";
import { decoderPath, mmprojPath } from "./gguf-models";
import { mutate } from "./gguf-mutations";
import { type HostileFile, writeFile } from "./gguf-refusal";

const rows: HostileRow[] = [
  ...[...truncations, ...headers, ...keyRows, ...valueRows, ...alignmentRows],
  ...[...nameRows, ...shapeRows, ...typeRows, ...rangeRows],
];

/** A model and the tower that goes with it. */
type Case = [model: string, tower: string];

function writeCorpus(folder: string, mutated: number): Case[] {
  mkdirSync(folder, { recursive: true });
  const [decoder, tower] = [join(folder, "good-decoder.gguf"), join(folder, "good-tower.gguf")];
  copyFileSync(decoderPath, decoder);
  copyFileSync(mmprojPath, tower);
  const cases: Case[] = [];
  const add = (name: string, base: (typeof bases)[number], file: HostileFile) => {
    const path = join(folder, `${name}-${base}.gguf`);
    writeFile(path, file);
    cases.push(base === "decoder" ? [path, tower] : base === "mmproj" ? [decoder, path] : [path, ""]);
  };
  for (const { id, cases: own } of rows) {
    for (const [i, one] of own.entries()) {
      for (const base of everyBase(one)) {
        const file = filesOf(base, one)[base];
        if (file !== undefined) add(`${id}-${i}`, base, file);
      }
    }
  }
  for (let i = 0; i < mutated; i++) {
    const base = bases[i % bases.length];
    add(`mutated-${i}`, base, mutate(randomNumbers(40_000 + i), goodFile(base).tree));
  }
  writeFileSync(join(folder, "list.txt"), cases.map((one) => `${one.join("\t")}\n`).join(""));
  return cases;
}

/** How the tool ends: "vector", an error's code, or what must not be. */
async function runTool(tool: string, [model, tower]: Case): Promise<string> {
  const more = tower === "" ? [] : ["--mmproj", tower];
  const child = spawn(tool, [model, ...more, "--text", "a photo"], { stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr.on("data", (data) => {
    text += data;
  });
  const [code, signal] = await new Promise<[number | null, string | null]>((done) =>
    child.on("close", (...end) => done(end)),
  );
  if (/Sanitizer|runtime error/.test(text) || signal !== null) return `REPORT ${signal ?? ""} ${text.slice(0, 2000)}`;
  return code === 0
    ? "vector"
    : (text.match(/^GME_[A-Z_0-9]+/)?.[0] ?? `REPORT exit code ${code} ${text.slice(0, 500)}`);
}

async function main([folder, mutated = "0", tool]: string[]): Promise<void> {
  if (folder === undefined) throw new Error("usage: gguf-corpus.ts DIR [MUTATED] [GME_TOOL]");
  const cases = writeCorpus(resolve(folder), Number(mutated));
  console.log(`${cases.length} cases in ${folder}`);
  if (tool === undefined) return;
  const outcomes = new Map<string, number>();
  let reports = 0;
  for (const [i, one] of cases.entries()) {
    if (i > 0 && i % 200 === 0) console.log(`${i} processes so far, ${reports} reports`);
    const outcome = await runTool(tool, one);
    if (outcome.startsWith("REPORT") || outcome === "GME_INTERNAL") {
      reports++;
      console.log(`${one[0]} ${one[1]}: ${outcome}`);
    } else outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  for (const [outcome, n] of [...outcomes].sort(([, a], [, b]) => b - a)) console.log(`${outcome} ${n}`);
  console.log(`${cases.length} processes, ${reports} reports`);
  process.exitCode = reports === 0 ? 0 : 1;
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
