/** Characters that terminals set two cells wide: East Asian ones and emoji. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const segmenter = new Intl.Segmenter();

/** Terminal cells that a text takes, as far as Unicode can tell. */
export function cellWidth(text: string): number {
  let cells = 0;
  for (const { segment } of segmenter.segment(text)) cells += cellsOf(segment);
  return cells;
}

/** The text, cut to `cells` terminal cells with an ellipsis as its last one. No character is cut in two. */
export function cutToCells(text: string, cells: number): string {
  if (text.length * 2 <= cells || cellWidth(text) <= cells) return text;
  let kept = "";
  let used = 1;
  for (const { segment } of segmenter.segment(text)) {
    used += cellsOf(segment);
    if (used > cells) break;
    kept += segment;
  }
  return cells < 1 ? "" : `${kept.trimEnd()}…`;
}

function cellsOf(segment: string): number {
  if (/^[\p{Mn}\p{Me}\p{Cf}]+$/u.test(segment)) return 0;
  return wide.test(segment) || segment.includes("\ufe0f") ? 2 : 1;
}

/** A text on one line: blanks and line ends as single spaces, without what moves the cursor or turns the text around. */
export function oneLine(text: string): string {
  return text
    .replace(/[\s\p{Cc}]+/gu, " ")
    .replace(/(?![\u200c\u200d])[\p{Cf}\p{Cs}]/gu, "")
    .trim();
}
