// Does the work that argv[2] names argv[3] times and prints what the system says of this process every few rounds, as JSON:
// { samples: [[round, resident KiB, open files, threads, mappings]], outcomes: { code: times } }. With --expose-gc it collects before each look.
const { readdirSync, readFileSync } = require("node:fs");
const { binding, open, setup } = require("./setup.cjs");

const count = (folder) => readdirSync(folder).length;
const mappings = () => readFileSync("/proc/self/maps", "utf8").split("\n").length;
const resident = () => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))[1]);
const outcomes = {};

const note = async (promise) => {
  const how = await promise.then(
    () => "fulfilled",
    (error) => error.code ?? String(error),
  );
  outcomes[how] = (outcomes[how] ?? 0) + 1;
};

const picture = (i) => {
  const [width, height] = [28 + (i % 7) * 28, 28 + (i % 5) * 42];
  return { data: new Uint8Array(width * height * 3).fill(i), width, height };
};

const loadAndClose = async (params) => {
  const model = await binding.load(setup.model, { ...setup.loadParams, ...params }).promise;
  await note(model.embed([{ text: "a cat" }], setup.embedParams).promise);
  await model.close();
};

let model;
const works = {
  "load-close": () => loadAndClose({}),
  "load-close-owned": () => loadAndClose({ mmap: false }),
  // Nobody closes them, and nobody asks for a collection.
  abandon: () => note(binding.load(setup.model, { ...setup.loadParams, mmap: false }).promise),
  "load-failing": (i) =>
    note(binding.load(setup.files[i % setup.files.length], { ...setup.loadParams, mmap: i % 2 === 0 }).promise),
  "embed-texts": (i) => note(model.embed([{ text: `a short text of number ${i % 1000}` }], setup.embedParams).promise),
  "embed-pictures": (i) => note(model.embed([{ image: picture(i) }], setup.embedParams).promise),
};

async function main() {
  const [how, rounds] = [process.argv[2], Number(process.argv[3])];
  if (how.startsWith("embed")) model = await open();
  const samples = [];
  const every = Math.max(1, Math.floor(rounds / 100));
  for (let i = 0; i < rounds; i++) {
    await works[how](i);
    if (i % every !== every - 1) continue;
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 2)); // threads that have said their last word are still ending
    samples.push([i, resident(), count("/proc/self/fd"), count("/proc/self/task"), mappings()]);
  }
  console.log(JSON.stringify({ samples, outcomes }));
}

main();
