// Preloaded into the engine's process by tests: makes it die or hang over files and texts whose names say so.
//   a file `…poison-<fault>…` when it is opened, a text `…poison-<fault>…` when its computation begins (of an isolated model's
//   call: before it is answered)
//   GME_TEST_FAULT: loading (dies at once), always (dies at each computation), mute (reports no stages)
const promises = require("node:fs/promises");

const fault = process.env.GME_TEST_FAULT;

function die(name) {
  process.stderr.write(`deliberate end: ${name}\n`);
  const [, kind] = /poison-(\w+)/.exec(name) ?? [];
  if (kind === "exit") process.exit(7);
  if (kind === "hang") for (;;);
  process.kill(process.pid, kind === "segv" ? "SIGSEGV" : "SIGKILL");
  for (;;); // the signal comes at once
}

if (process.send !== undefined) {
  if (fault === "loading") die("loading");
  const { open } = promises;
  promises.open = (path, ...rest) => {
    if (/poison-/.test(String(path))) die(String(path));
    return open(path, ...rest);
  };
  const batches = new Map();
  const calls = new Map();
  process.on("message", (message) => {
    if (message.type === "run") batches.set(message.batch, message.jobs);
    const poisoned = message.request?.inputs?.find(({ text }) => /poison-/.test(text ?? ""));
    if (poisoned !== undefined) calls.set(message.call, poisoned.text);
  });
  const send = process.send.bind(process);
  process.send = (message, ...rest) => {
    if (message.type === "result" && calls.has(message.call)) die(calls.get(message.call));
    const isSent = message.type === "stage" && fault === "mute" ? true : send(message, ...rest);
    if (message.type === "stage" && message.stage === "computing") {
      const text = batches.get(message.batch)[message.index].text ?? "";
      if (fault === "always" || /poison-/.test(text)) die(text);
    }
    return isSent;
  };
}
