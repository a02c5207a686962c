// Ends this process in the way that argv[2] names, argv[3] milliseconds after an embed() has begun.
const { open, embed } = require("./setup.cjs");

const ends = {
  exit: () => process.exit(7),
  "exit-in-callback": () => setImmediate(() => process.exit(7)),
  throw: () => {
    throw new Error("uncaught on purpose");
  },
  signal: () => process.kill(process.pid, "SIGTERM"),
};

async function main() {
  const [how, delay] = process.argv.slice(2);
  if (how === "exit-while-loading") {
    open();
    setTimeout(() => process.exit(7), Number(delay));
    return;
  }
  globalThis.model = await open();
  if (how === "natural") return;
  if (how === "natural-after-embed") {
    console.log((await embed(globalThis.model)).length > 0 ? "embedded" : "empty");
    return;
  }
  if (how === "pending") {
    // Nothing but the embed itself keeps the process alive.
    embed(globalThis.model).then((vectors) => console.log(vectors.length > 0 ? "embedded" : "empty"));
    return;
  }
  embed(globalThis.model);
  setTimeout(ends[how], Number(delay));
}

main();
