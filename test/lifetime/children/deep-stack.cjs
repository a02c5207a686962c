// A worker thread that calls the addon at the end of its stack: in the deepest frame that still can, and in every one above it.
const { parentPort } = require("node:worker_threads");
const { open, embed } = require("./setup.cjs");

async function main() {
  const model = await open();
  const calls = [];
  let refused = 0;
  let depth = 0;
  const descend = () => {
    depth++;
    try {
      descend();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    // the stack unwinds: each frame has a little more room than the one before
    if (calls.length >= 20) return;
    try {
      calls.push(embed(model));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      refused++;
    }
  };
  descend();
  const vectors = await Promise.all(calls);
  parentPort.postMessage({ depth, refused, vectors });
  await model.close();
}

main();
