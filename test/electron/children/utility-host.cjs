// Preloaded into a forked Node process: what Electron's utilityProcess is to a script.
// Imitated: process.parentPort with postMessage and "message" events { data, ports }, structured clones, messages kept until somebody
// listens, no process.send, process.type "utility", process.versions.electron, arguments behind the script. Not imitated: ports that are
// handed over, V8's memory cage (test/electron/external-buffers.test.ts has that), Chromium's allocator.
const { EventEmitter } = require("node:events");

const send = process.send.bind(process);
const early = [];
const parentPort = new EventEmitter();
const deliver = (data) => parentPort.emit("message", { data, ports: [] });
parentPort.postMessage = (data) => void send(data, undefined, undefined, () => undefined);
parentPort.on("newListener", (name) => {
  if (name === "message") for (const data of early.splice(0)) setImmediate(deliver, data);
});
process.on("message", (data) => (parentPort.listenerCount("message") > 0 ? deliver(data) : early.push(data)));
process.on("disconnect", () => process.exit(0));
delete process.send;
Object.defineProperty(process, "parentPort", { value: parentPort });
Object.defineProperty(process, "type", { value: "utility" });
Object.defineProperty(process, "versions", { value: { ...process.versions, electron: "45.5.0" } });
