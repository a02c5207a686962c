// Ends this process in the way that argv[2] names, argv[3] milliseconds after an embed() has begun.
const { open, embed } = require("./setup.cjs");

// Written at once, not when the event loop turns: the parent takes the time from here.
const say = (text) => require("node:fs").writeSync(1, `${text}\n`);

const ends = {
  exit: () => process.exit(7),
  "exit-in-callback": () => setImmediate(() => process.exit(7)),
  throw: () => {
    throw new Error("uncaught on purpose");
  },
  SIGTERM: () => process.kill(process.pid, "SIGTERM"),
  SIGINT: () => process.kill(process.pid, "SIGINT"),
};

const endIn = (milliseconds, how) =>
  setTimeout(() => {
    say("ending");
    ends[how]();
  }, milliseconds);

async function main() {
  const [how, delay] = process.argv.slice(2);
  if (how === "exit-while-loading") {
    open();
    endIn(Number(delay), "exit");
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
  endIn(Number(delay), how);
}

main();
