import type { NativeItem, NativeModel } from "../../lib/binding";
import type { EngineAccess } from "../../lib/embed-run";
import { CallQueue } from "../../lib/queue";

export interface FakeEngine extends EngineAccess {
  /** The items of every call, in the order in which the engine saw them. */
  readonly calls: NativeItem[][];
}

/** An engine of dimension 2 whose vector is [length of the text, width of the picture]; texts with "bad" are refused. */
export function fakeEngine(milliseconds = 1): FakeEngine {
  const calls: NativeItem[][] = [];
  const embed: NativeModel["embed"] = (items) => {
    calls.push(items);
    let stop: (error: Error) => void = () => undefined;
    const promise = new Promise<Float32Array>((resolve, reject) => {
      stop = reject;
      const bad = items.findIndex(({ text }) => text?.includes("bad"));
      const refusal = Object.assign(new Error("refused"), { code: "GME_TEXT_TOO_LONG", item: bad });
      const flat = Float32Array.from(items.flatMap(({ text, image }) => [text?.length ?? 0, image?.width ?? 0]));
      setTimeout(() => (bad >= 0 ? reject(refusal) : resolve(flat)), milliseconds);
    });
    return { promise, abort: () => stop(Object.assign(new Error("aborted"), { code: "GME_ABORTED" })) };
  };
  const native = { embed } as unknown as NativeModel;
  const decode = { orientation: "exif" as const, maxImagePixels: 64e6 };
  return { native, queue: new CallQueue(), decode, dimensions: 2, calls };
}
