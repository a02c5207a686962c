// One process in which our addon meets neighbours: how it ended, and whether our vectors are those of a process without them.
const { spawnSync } = require("node:child_process");
const { join } = require("node:path");

const root = join(__dirname, "..", "..");
const orders = ["ours first", "ours last"];

/** `setup`: addon, folder (whose node_modules has the neighbours), temporary. `more`: variables of the environment. */
function meet(names, order, setup, more = {}) {
  const gguf = (file) => join(root, "test", "fixtures", "gguf", file);
  const files = { model: gguf("tiny-a-f32.gguf"), mmproj: gguf("mmproj-tiny-a-f32.gguf") };
  const start = performance.now();
  const done = spawnSync(process.execPath, [join(__dirname, "children", "meet.cjs"), order, ...names], {
    encoding: "utf8",
    timeout: 300_000,
    env: { ...process.env, ...more, NODE_OPTIONS: "", GME_MEET: JSON.stringify({ ...files, ...setup }) },
  });
  const last = done.stdout.trim().split("\n").at(-1);
  const milliseconds = Math.round(performance.now() - start);
  const said = last?.startsWith("{") ? JSON.parse(last) : { vectors: [], did: {} };
  return { code: done.status, signal: done.signal, stderr: done.stderr, milliseconds, ...said };
}

module.exports = { root, orders, meet };
