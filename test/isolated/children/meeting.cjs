// Preloaded into the engine's process by tests: it gives its first answer only when so many processes have one to give (GME_TEST_MEETING,
// as `number folder`), which never happens where they work one after the other. Each then writes what it was asked for beside its mark.
const { appendFileSync, readdirSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

if (process.send !== undefined && process.env.GME_TEST_MEETING) {
  const [, count, folder] = /^(\d+) (.*)$/.exec(process.env.GME_TEST_MEETING);
  const mark = join(folder, String(process.pid));
  const held = [];
  let isMet = false;
  const send = process.send.bind(process);
  const batches = new Map();
  /** Not a PDF's number of pages: an index waits for it before it gives anybody work. */
  const isVector = ({ batch, index }) => !("count" in (batches.get(batch)?.[index] ?? {}));
  const isAnswer = (message) => message.type === "result" || (message.type === "outcome" && isVector(message));
  const wait = () => {
    isMet = readdirSync(folder).length >= Number(count);
    if (isMet) for (const args of held.splice(0)) send(...args);
    else setTimeout(wait, 10);
  };
  process.on("message", ({ type, request, batch, jobs }) => {
    if (type === "run") batches.set(batch, jobs);
    const items = type === "call" ? (request.inputs?.length ?? 1) : type === "run" ? jobs.length : 0;
    if (isMet && items > 0) appendFileSync(mark, `${items}\n`);
  });
  process.send = (message, ...rest) => {
    if (isMet || !isAnswer(message)) return send(message, ...rest);
    held.push([message, ...rest]);
    if (held.length === 1) {
      writeFileSync(mark, "");
      wait();
    }
    return true;
  };
}
