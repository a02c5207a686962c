/** A stretch of a text, in UTF-16 units: `start` is its first unit that is not a space, `end` is after its last one. */
export interface Sentence {
  readonly start: number;
  readonly end: number;
}

const latinEnds = ".!?…؟۔।॥";
const wideEnds = "。！？｡．";
const closers = "\"'”’»›)]}」』】）》〉";
const space = /\s/;

/** Words whose full stop does not end a sentence, without their dots. */
const abbreviations = new Set(
  [
    "mr mrs ms mx dr prof rev hon sr jr st mt messrs gen col capt lt sgt cmdr gov sen rep pres",
    "vs cf eg ie viz al approx ca circa est dept univ inc ltd corp bros nos vol ch sec fig figs eq eqs pp ed eds",
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri",
    "bzw usw nr abs bspw bsp vgl sog evtl ggf inkl zzgl hrsg str tel abb",
    "mme mlle av env",
  ].flatMap((line) => line.split(" ")),
);

/**
 * The sentences of a text, in order, without the spaces between them. A sentence ends at . ! ? … and their relatives in
 * other scripts, and at an empty line; not after an abbreviation, an initial or before a small letter. Takes linear time.
 */
export function* cutSentences(text: string): Generator<Sentence> {
  let start = skipSpaces(text, 0);
  while (start < text.length) {
    const end = sentenceEnd(text, start);
    yield { start, end };
    start = skipSpaces(text, end);
  }
}

export function isSpace(unit: number): boolean {
  return unit <= 32 ? unit === 32 || (unit >= 9 && unit <= 13) : unit >= 160 && space.test(String.fromCharCode(unit));
}

export function skipSpaces(text: string, from: number): number {
  let at = from;
  while (at < text.length && isSpace(text.charCodeAt(at))) at++;
  return at;
}

function sentenceEnd(text: string, start: number): number {
  for (let at = start; at < text.length; ) {
    const char = text[at];
    if (char === "\n" || char === "\u2029" || char === "\f") {
      const next = skipSpaces(text, at);
      if (next >= text.length || isParagraphBreak(text, at, next)) return trimmedEnd(text, start, at);
      at = next;
    } else if (latinEnds.includes(char) || wideEnds.includes(char)) {
      const next = endOfStops(text, at);
      if (isSentenceEnd(text, start, at, next)) return next;
      at = next;
    } else {
      at++;
    }
  }
  return trimmedEnd(text, start, text.length);
}

/** Between `from`, which is a line or page end, and `to` there are only spaces: an empty line or the end of a page. */
function isParagraphBreak(text: string, from: number, to: number): boolean {
  if (text[from] !== "\n") return true;
  for (let at = from + 1; at < to; at++) if ("\n\u2029\f".includes(text[at])) return true;
  return false;
}

/** After the stops that begin at `at` and the quotes and brackets that close behind them. */
function endOfStops(text: string, at: number): number {
  let next = at + 1;
  while (next < text.length && (latinEnds.includes(text[next]) || wideEnds.includes(text[next]))) next++;
  while (next < text.length && closers.includes(text[next])) next++;
  return next;
}

function isSentenceEnd(text: string, start: number, stop: number, next: number): boolean {
  if (next >= text.length || wideEnds.includes(text[stop])) return true;
  if (!isSpace(text.charCodeAt(next))) return false;
  if (text[stop] !== "." || text[stop + 1] === ".") return true;
  const following = text.codePointAt(skipSpaces(text, next));
  if (following !== undefined && /\p{Ll}/u.test(String.fromCodePoint(following))) return false;
  return !isAbbreviation(text, start, stop);
}

/** Whether the word before the stop is an abbreviation, an initial (J.) or letters with dots (U.S.A.). */
function isAbbreviation(text: string, start: number, stop: number): boolean {
  const longest = 12;
  const from = Math.max(start, stop - longest);
  const word = /[\p{L}.]+$/u.exec(text.slice(from, stop))?.[0] ?? "";
  if (word === "" || word.length === longest) return false;
  if (/^(?:\p{L}\.)*\p{Lu}$/u.test(word) || /^(?:\p{L}\.)+\p{L}$/u.test(word)) return true;
  return abbreviations.has(word.toLowerCase());
}

function trimmedEnd(text: string, start: number, end: number): number {
  let at = end;
  while (at > start && isSpace(text.charCodeAt(at - 1))) at--;
  return at;
}
