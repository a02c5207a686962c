import type { BatchPlace } from "../embed-run";
import type { EmbedProgress } from "../options";
import type { CallWatch } from "./engine-calls";

/** Part of a list of items, for one engine. */
export interface Piece<Item> {
  readonly first: number;
  readonly items: readonly Item[];
}

/** Pictures differ in cost and gain little from sharing a pass: they go in so many more, smaller pieces, whoever is free takes the next. */
const picturePieces = 4;

/**
 * A batch in pieces for several engines. The same batch is always dealt the same way: which engine takes a piece does not decide what is
 * computed together.
 */
export function dealItems<Item extends { readonly image?: unknown }>(
  items: readonly Item[],
  engines: number,
  batchSize: number,
): Piece<Item>[] {
  if (engines === 1 || items.length === 0) return [{ first: 0, items }];
  const hasPictures = items.some(({ image }) => image !== undefined);
  const wanted = Math.ceil(items.length / (engines * (hasPictures ? picturePieces : 1)));
  const size = Math.min(wanted, batchSize);
  const pieces: Piece<Item>[] = [];
  for (let first = 0; first < items.length; first += size)
    pieces.push({ first, items: items.slice(first, first + size) });
  return pieces;
}

type EmbedPiece<Item> = (items: readonly Item[], place: BatchPlace, watch: CallWatch) => Promise<Float32Array[]>;

/** Vectors in the order of the items. Where pieces fail the error is that of the first of them, as one engine would have met it. */
export async function embedDealt<Item extends { readonly image?: unknown }>(
  items: readonly Item[],
  engines: number,
  { batchSize, signal, onProgress }: CallWatch & { readonly batchSize: number },
  embed: EmbedPiece<Item>,
): Promise<Float32Array[]> {
  const total = items.length;
  const pieces = dealItems(items, engines, batchSize);
  if (pieces.length === 1) return embed(items, { first: 0, total }, { signal, onProgress });
  const stops = pieces.map(() => new AbortController());
  const done = pieces.map(() => 0);
  const report = (at: number) => (progress: EmbedProgress) => {
    done[at] = progress.done;
    onProgress?.({ done: done.reduce((sum, count) => sum + count, 0), total, failed: 0 });
  };
  const outcomes = await Promise.allSettled(
    pieces.map(async ({ first, items: part }, at) => {
      const signals = signal === undefined ? stops[at].signal : AbortSignal.any([signal, stops[at].signal]);
      try {
        return await embed(part, { first, total }, { signal: signals, ...(onProgress && { onProgress: report(at) }) });
      } catch (error) {
        for (const later of stops.slice(at + 1)) later.abort();
        throw error;
      }
    }),
  );
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
}
