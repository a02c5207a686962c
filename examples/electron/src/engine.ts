// The engine's process, an Electron utilityProcess: model, index, decoding of pictures. A crash of a driver or a codec ends this one
// only. Arguments: the index' folder, the model (a file or a pulled model's name; empty: the demonstration model), the device.
import { bundledModelPath } from "gme-embed";
import { IndexSession } from "./index-session";
import { answerOf } from "./problem";
import type { EngineCalls, FromEngine, ToEngine } from "./protocol";

const [indexFolder = "", model = "", device = "auto"] = process.argv.slice(2);
const port = process.parentPort;
const send = (message: FromEngine) => port.postMessage(message);

let opening: Promise<IndexSession> | undefined;

/** The first call opens it; after a failure the next call tries again. */
function session(): Promise<IndexSession> {
  opening ??= IndexSession.open({ indexFolder, model: model || bundledModelPath, device }, (event) => send({ event }));
  opening.catch(() => {
    opening = undefined;
  });
  return opening;
}

const methods: { readonly [method in keyof EngineCalls]: true } = {
  status: true,
  index: true,
  stop: true,
  search: true,
  thumbnail: true,
  pathOf: true,
  close: true,
};

async function call({ method, params }: ToEngine): Promise<unknown> {
  if (!Object.hasOwn(methods, method)) throw new Error(`There is no call ${method}`);
  const target = (await session()) as unknown as Record<string, (...params: readonly unknown[]) => Promise<unknown>>;
  return target[method](...params);
}

async function receive(message: ToEngine): Promise<void> {
  const isClose = message.method === "close";
  const answer = isClose && opening === undefined ? { value: undefined } : await answerOf(() => call(message));
  send({ id: message.id, answer });
  if (isClose) setTimeout(() => process.exit(0), 50); // the answer leaves first
}

port.on("message", ({ data }) => void receive(data as ToEngine));
