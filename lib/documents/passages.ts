import { badArgument } from "../errors";
import { cutSentences, isSpace, type Sentence, skipSpaces } from "./sentences";

/** A part of a long text; `start` and `end` in UTF-16 units of the whole. */
export interface Passage {
  /** From 1. */
  readonly number: number;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface PassageSettings {
  /** Of a passage at most, in UTF-16 units. */
  readonly length: number;
  /** Shared with the passage before at most, in UTF-16 units. */
  readonly overlap: number;
}

/** A sentence, or a part of one that is longer than a passage. */
interface Piece extends Sentence {
  readonly beginsSentence: boolean;
}

/**
 * Cuts a text into passages of whole sentences. Each begins with the last sentences of the one before, as far as they are
 * within `overlap` and leave room for the next sentence. A sentence longer than `length` is cut at line ends or spaces,
 * else anywhere but within a surrogate pair. Throws GME_OPTION_INVALID for a length under 16 or an overlap over its half.
 */
export function cutPassages(text: string, { length, overlap }: PassageSettings): Passage[] {
  if (!Number.isSafeInteger(length) || length < 16)
    throw badArgument("GME_OPTION_INVALID", "passageLength", "an integer of at least 16", length);
  if (!Number.isSafeInteger(overlap) || overlap < 0 || overlap * 2 > length)
    throw badArgument("GME_OPTION_INVALID", "passageOverlap", "an integer of at most half the passageLength", overlap);
  const passages: Passage[] = [];
  let pieces: Piece[] = [];
  const finish = () => {
    const [start, end] = [pieces[0].start, pieces[pieces.length - 1].end];
    passages.push({ number: passages.length + 1, start, end, text: text.slice(start, end) });
    return end;
  };
  for (const piece of cutPieces(text, length)) {
    if (pieces.length > 0 && piece.end - pieces[0].start > length) {
      const earliest = Math.max(finish() - overlap, piece.end - length);
      const kept = pieces.findIndex(({ start, beginsSentence }) => beginsSentence && start >= earliest);
      pieces = kept < 0 ? [] : pieces.slice(kept);
    }
    pieces.push(piece);
  }
  if (pieces.length > 0) finish();
  return passages;
}

function* cutPieces(text: string, length: number): Generator<Piece> {
  for (const { start, end } of cutSentences(text)) {
    let from = start;
    while (end - from > length) {
      const cut = cutWithin(text, from, from + length);
      yield { start: from, end: cut, beginsSentence: from === start };
      from = skipSpaces(text, cut);
    }
    yield { start: from, end, beginsSentence: from === start };
  }
}

/** Where to cut a sentence that goes on beyond `limit`: at a line end of its last half, else at the last space. */
function cutWithin(text: string, from: number, limit: number): number {
  const half = (limit - from) >> 1;
  const line = text.slice(from + half, limit + 1).lastIndexOf("\n");
  let cut = line < 0 ? limit : from + half + line;
  while (cut > from && !isSpace(text.charCodeAt(cut))) cut--;
  while (cut > from && isSpace(text.charCodeAt(cut - 1))) cut--;
  if (cut > from) return cut;
  return isPair(text, limit) ? limit - 1 : limit;
}

/** Whether a cut before the unit at `at` would part a surrogate pair. */
function isPair(text: string, at: number): boolean {
  const [high, low] = [text.charCodeAt(at - 1), text.charCodeAt(at)];
  return high >= 0xd800 && high <= 0xdbff && low >= 0xdc00 && low <= 0xdfff;
}
