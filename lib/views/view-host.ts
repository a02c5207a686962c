// The process that draws views: one job at a time, until its parent says so or is gone.
import { OpenDocuments } from "../embed-tasks/task-pages";
import { GmeError } from "../errors";
import { toWire } from "../isolated/wire-error";
import { drawView } from "./draw-view";
import type { FromView, ViewJob } from "./view-messages";

const documents = new OpenDocuments();

/** The other end of the channel in an Electron utility process; undefined in a forked one. */
const { parentPort } = process as NodeJS.Process & {
  parentPort?: {
    postMessage(message: FromView): void;
    on(event: "message", listener: (event: { data: ViewJob }) => void): void;
  };
};

function send(message: FromView): void {
  if (parentPort !== undefined) parentPort.postMessage(message);
  else if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

async function draw(job: ViewJob): Promise<void> {
  try {
    const webp = await drawView(job, documents);
    send({ type: "drawn", webp: Uint8Array.from(webp) }); // alone: a message carries all of the memory that a view looks into
  } catch (error) {
    send({ type: "failed", error: toWire(GmeError.from(error, "GME_INTERNAL")) });
  }
}

if (parentPort !== undefined) parentPort.on("message", ({ data }) => void draw(data));
else {
  process.on("message", (message) => void draw(message as ViewJob));
  process.on("disconnect", () => process.exit());
}
// Ctrl-C in a terminal reaches every process of the group; the parent decides when this one ends.
process.on("SIGINT", () => undefined);
