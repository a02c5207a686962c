// A worker thread that embeds without end, or ends in the way that workerData names.
const { parentPort, workerData } = require("node:worker_threads");
const { open, embed } = require("./setup.cjs");

async function main() {
  if (workerData === "load") parentPort.postMessage("loading");
  const model = await open();
  if (workerData === "throw") {
    embed(model);
    throw new Error("thrown on purpose");
  }
  if (workerData === "once") {
    parentPort.postMessage(await embed(model));
    return;
  }
  if (workerData === "stay") {
    globalThis.model = model;
    await embed(model);
    parentPort.postMessage("embedded");
    setInterval(() => {}, 1000);
    return;
  }
  parentPort.postMessage("embedding");
  for (;;) await embed(model);
}

main();
