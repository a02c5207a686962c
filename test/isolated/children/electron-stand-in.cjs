// Preloaded into a Node process and its children: behaves, as far as the engine's channel looks, like Electron's main process with a
// utilityProcess whose child has process.parentPort. Messages travel over fork's channel.
const Module = require("node:module");
const { fork } = require("node:child_process");
const { EventEmitter } = require("node:events");

if (process.send !== undefined) {
  const parentPort = new EventEmitter();
  parentPort.postMessage = (data) => process.send(data);
  process.on("message", (data) => parentPort.emit("message", { data }));
  Object.defineProperty(process, "parentPort", { value: parentPort });
} else {
  Object.defineProperty(process, "versions", { value: { ...process.versions, electron: "0.0.0" } });
  process.type = "browser";
  const utilityProcess = {
    fork(script, args, { env, stdio, serviceName }) {
      const child = fork(script, args, { env, stdio: [...stdio, "ipc"], serialization: "advanced" });
      const utility = Object.assign(new EventEmitter(), { stdout: child.stdout, stderr: child.stderr });
      Object.defineProperty(utility, "pid", { get: () => (child.exitCode === null ? child.pid : undefined) });
      utility.postMessage = (message) => child.connected && child.send(message, () => undefined);
      child.on("message", (message) => utility.emit("message", message));
      child.on("exit", (code, signal) => utility.emit("exit", signal === null ? code : 128 + 9));
      process.stdout.write(`utility process ${serviceName}\n`);
      return utility;
    },
  };
  const load = Module._load;
  Module._load = (name, ...rest) => (name === "electron" ? { utilityProcess } : load(name, ...rest));
}
