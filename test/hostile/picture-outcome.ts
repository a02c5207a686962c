// What becomes of a picture that is given to the whole layer, and the tables of such pictures that the tests go through.
import type { Test } from "tap";
import { GmeError } from "../../lib/errors";
import { decodeImage } from "../../lib/image-decode";
import { type ImageSource, readImage } from "../../lib/input";

export const settings = { orientation: "exif", maxImagePixels: 64e6 } as const;
export const asReference = { orientation: "ignore", maxImagePixels: 64e6 } as const;

export interface Outcome {
  /** `20×10`, or the code of the error; "not a GmeError: …" for anything else, which no test expects. */
  what: string;
  message: string;
  field?: string;
  milliseconds: number;
  /** Of the processor: what it costs, whatever else the machine is busy with. */
  work: number;
  data?: Uint8Array;
  width?: number;
  height?: number;
}

export async function outcomeOf(
  source: ImageSource,
  how: Parameters<typeof decodeImage>[1] = settings,
): Promise<Outcome> {
  const [start, before] = [performance.now(), process.cpuUsage()];
  const cost = () => ({ milliseconds: performance.now() - start, work: processorTime(before) });
  try {
    const { data, width, height } = await decodeImage(readImage(source, "image"), how);
    const isWhole = data.length === width * height * 3;
    const what = isWhole ? `${width}×${height}` : `${data.length} bytes for ${width}×${height}`;
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.length);
    return { what, message: "", ...cost(), data: pixels, width, height };
  } catch (error) {
    if (!(error instanceof GmeError)) return { what: `not a GmeError: ${error}`, message: "", ...cost() };
    const leaks = /0x[0-9a-f]{6,}/.test(error.message) ? "a pointer in the message of " : "";
    return { what: `${leaks}${error.code}`, message: error.message, field: error.field, ...cost() };
  }
}

function processorTime(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** A name, the file, and what must become of it: a size, one code, or several with "|" between them. */
export type Case = readonly [name: string, bytes: Uint8Array, expected: string];

/** Each file gives what it must; the counts and the slowest go into the row's figure. */
export async function expectOutcomes(t: Test, id: string, cases: readonly Case[], mostMs = 5_000): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const counts = new Map<string, number>();
  for (const [name, bytes, expected] of cases) {
    const outcome = await outcomeOf(bytes);
    const allowed = expected.split("|").map((code) => (/^[A-Z]/.test(code) ? `GME_IMAGE_${code}` : code));
    t.ok(allowed.includes(outcome.what), `${name}: ${outcome.what} of ${expected} ${outcome.message.slice(0, 90)}`);
    t.ok(outcome.work < mostMs, `${name}: in time`);
    const kind = outcome.data === undefined ? outcome.what : "accepted";
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    outcomes.push(outcome);
  }
  const most = Math.max(...outcomes.map(({ work }) => work));
  const list = [...counts].map(([kind, count]) => `${count} ${kind}`).join(", ");
  t.comment(`${id}: ${cases.length} files: ${list}; at most ${most.toFixed(0)} ms of work`);
  return outcomes;
}

/** The least processor time of some runs, in milliseconds. */
export async function quickest(times: number, work: () => Promise<unknown>): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times; i++) {
    const before = process.cpuUsage();
    await work();
    best = Math.min(best, processorTime(before));
  }
  return best;
}

export const samePixels = (a: Outcome, b: Outcome): boolean =>
  a.data !== undefined && b.data !== undefined && a.what === b.what && Buffer.compare(a.data, b.data) === 0;
