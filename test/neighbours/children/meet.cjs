// Our addon and its neighbours in one process: argv: order ("ours first" or "ours last"), then the neighbours' names. Everyone works twice,
// the second time after all are loaded. Prints JSON { vectors: [hex], did: { name: text }, libraries } and ends by itself.
// GME_MEET: { addon, model, mmproj, folder, temporary }.
const { existsSync, readFileSync } = require("node:fs");
const neighbours = require("./neighbours.cjs");

const setup = JSON.parse(process.env.GME_MEET);
const [order, ...names] = process.argv.slice(2);
const params = {
  mmproj: setup.mmproj,
  threads: 2,
  mmap: true,
  positions: "file",
  loaderResize: "file",
  minImageTokens: 4,
  maxImageTokens: 16,
  maxTokens: 0,
};
const picture = { data: Uint8Array.from({ length: 84 * 56 * 3 }, (_, i) => (i * 37) % 251), width: 84, height: 56 };
const items = [{ text: "a cat" }, { image: picture }, { text: "a photo of a dog", image: picture }];

async function loadOurs() {
  const binding = require(setup.addon);
  return async () => {
    const model = await binding.load(setup.model, params).promise;
    const vectors = await model.embed(items, { overflow: "error", parseSpecial: false, batchTokens: 0 }).promise;
    await model.close();
    return Buffer.from(vectors.buffer).toString("hex");
  };
}

async function main() {
  const works = new Map();
  const vectors = [];
  const did = {};
  const meetOurs = async () => {
    works.set("ours", await loadOurs());
    vectors.push(await works.get("ours")());
  };
  if (order === "ours first") await meetOurs();
  for (const name of names) {
    works.set(name, await neighbours[name](setup.folder, setup));
    did[name] = await works.get(name)();
  }
  if (order === "ours last") await meetOurs();
  for (const [name, work] of works) {
    if (name === "ours") vectors.push(await work());
    else await work();
  }
  console.log(JSON.stringify({ vectors, did, libraries: mappedLibraries() }));
}

/** Files of libraries that are in this process, where the system tells. */
function mappedLibraries() {
  if (!existsSync("/proc/self/maps")) return [];
  const paths = readFileSync("/proc/self/maps", "utf8").matchAll(/ (\/.*\.(?:so[\d.]*|node))$/gm);
  return [...new Set(Array.from(paths, ([, path]) => path))].sort();
}

main();
