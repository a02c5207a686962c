import { Readable } from "node:stream";

/** Text is handed on in slices of so many characters. */
const sliceLength = 64 * 1024;
/** Making text for so long, others get a turn. */
const turnMs = 4;

/**
 * The pieces of an answer: a short one as one text, a long one as a stream. Numbers as text cost milliseconds per thousand vectors'
 * values: between slices other requests have their turn, and a slow reader holds up none but itself.
 */
export function answerBody(pieces: Iterable<string>): string | Readable {
  const source = pieces[Symbol.iterator]();
  let begun = "";
  for (let next = source.next(); ; next = source.next()) {
    if (next.done) return begun;
    begun += next.value;
    if (begun.length >= sliceLength) return Readable.from(slices(begun, source), { objectMode: false, highWaterMark: sliceLength }); // biome-ignore format: one line says it
  }
}

async function* slices(begun: string, source: Iterator<string>): AsyncGenerator<Buffer> {
  yield Buffer.from(begun);
  let turn = performance.now();
  let slice = "";
  for (let next = source.next(); !next.done; next = source.next()) {
    slice += next.value;
    if (slice.length >= sliceLength) {
      yield Buffer.from(slice);
      slice = "";
    }
    if (performance.now() - turn > turnMs) {
      await new Promise(setImmediate);
      turn = performance.now();
    }
  }
  if (slice !== "") yield Buffer.from(slice);
}
