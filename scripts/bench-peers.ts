// The same work through our library and through its peers, alternating, each in a process of its own; prints ratios.
//
//   node scripts/build-llama-server.mjs                                              the server; prints its path
//   npx tsx scripts/make-model.ts --shape 2b --type f16 --out M/2b-f16.gguf          our file; the same for q8_0
//   gme convert M/2b-f16.gguf --split --out M/2b-f16-decoder.gguf                    the same weights as llama.cpp's pair
//   npx tsx scripts/bench-peers.ts --model-prefix M/2b- --server PATH [--only short,batch,…] [--type T] [--rounds N]
//     [--threads N] [--package FOLDER] [--peers FOLDER] [--python PROGRAM] [--no-server] [--seed N]
//     [--patience SECONDS] [--json FILE]
//
// --only: short batch batch-unrelated long picture-256 picture-391 load memory; --package: a built copy of our package.
// --peers: a folder where `npm i node-llama-cpp @fugood/llama.node` ran; --python: one that imports torch and transformers;
// these work on texts alone. --patience: a side that would take longer for one call is left out.
//
// Times are of whole calls: over a message channel for ours, over HTTP for the server. "of ours": its time / our time of the
// same round, so above 1 we are faster. Every round has new texts and pictures. Memory is read on Linux only.
import { writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Lane } from "./bench-peers/lane";
import { type MemoryResult, measureLoad, measureMemory, measureWork, type WorkResult } from "./bench-peers/measure";
import { startPeers } from "./bench-peers/registry-peers";
import { type Settings, Sides } from "./bench-peers/sides";
import { memoryTable, workTable } from "./bench-peers/table";
import { type Work, works } from "./bench-peers/works";

const { values } = parseArgs({
  options: {
    "model-prefix": { type: "string" },
    server: { type: "string", default: join(tmpdir(), "gme-llama-server", "native", "bin", "llama-server") },
    only: { type: "string" },
    type: { type: "string" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
    package: { type: "string", default: join(__dirname, "..") },
    peers: { type: "string" },
    python: { type: "string" },
    seed: { type: "string", default: "1" },
    patience: { type: "string", default: "60" },
    json: { type: "string" },
    "no-server": { type: "boolean", default: false },
  },
});

async function compare(work: Work, type: string, settings: Settings): Promise<WorkResult> {
  const sides = await Sides.start(settings, type);
  try {
    const lanes: Lane[] = [sides.gme];
    if (!values["no-server"]) for (const kind of work.servers) lanes.push(await sides.server(kind));
    if (!work.hasPictures && (values.peers || values.python)) {
      const places = { npm: values.peers, python: values.python };
      lanes.push(...(await startPeers(sides, settings.threads, places, console.log)));
    }
    return await measureWork(work, type, lanes, sides, settings);
  } finally {
    await sides.close();
  }
}

async function main(modelPrefix: string): Promise<void> {
  const settings: Settings = {
    modelPrefix,
    server: values.server,
    threads: Number(values.threads),
    packageFolder: values.package,
    rounds: Number(values.rounds),
    seed: Number(values.seed),
    patienceMs: Number(values.patience) * 1000,
  };
  const names = values.only?.split(",") ?? [...works.map(({ name }) => name), "load", "memory"];
  const results: WorkResult[] = [];
  const memory: MemoryResult[] = [];
  const show = (result: WorkResult) => {
    results.push(result);
    console.log(`${workTable(result)}\n`);
  };
  for (const name of names) {
    const work = works.find((each) => each.name === name);
    const types = values.type ? [values.type] : (work?.types ?? (name === "memory" ? ["f16", "q8_0"] : ["f16"]));
    for (const type of types) {
      if (work) show(await compare(work, type, settings));
      else if (name === "load") show(await measureLoad(settings, type));
      else if (name === "memory") {
        const both = await measureMemory(settings, type);
        memory.push(...both);
        console.log(`${memoryTable(both)}\n`);
      } else throw new Error(`--only ${name}: there is no such work`);
    }
  }
  const machine = { cpu: cpus()[0].model, cpus: cpus().length, threads: settings.threads };
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ machine, works: results, memory }, null, 2)}\n`);
}

if (values["model-prefix"] === undefined) {
  console.error("--model-prefix P is missing: P + f16.gguf is a model; see the head of this file");
  process.exitCode = 2;
} else {
  main(values["model-prefix"]).catch((error: Error) => {
    console.error(`bench-peers: ${error.message}`);
    process.exitCode = 1;
  });
}
