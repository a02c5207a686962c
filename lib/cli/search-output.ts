import { fsPath, type SearchResult, shownPath } from "../index-store/index";
import { pathNames } from "./path-names";
import { cellWidth, cutToCells, oneLine } from "./text-width";

const detailLength = 160;
const shortestDetail = 8;

/**
 * `score<TAB>path<TAB>detail`; the detail is the place in the file and the snippet, cut to what is left of a terminal's
 * columns, and without a terminal to 160 cells.
 */
export function resultLine(result: SearchResult, columns: number | undefined, isBold: boolean): string {
  const score = result.score.toFixed(3);
  const path = shownPath(result.path);
  const detail = [partOf(result), oneLine(result.snippet ?? "")].filter((part) => part !== "").join(": ");
  const before = columns === undefined ? 0 : afterTab(afterTab(score.length) + cellWidth(path));
  const room = columns === undefined ? detailLength : Math.max(shortestDetail, columns - before);
  const shownScore = isBold ? `\u001b[1m${score}\u001b[0m` : score;
  return [shownScore, path, cutToCells(detail, room)].join("\t");
}

/** The column behind a tab that stands at `column`. */
function afterTab(column: number): number {
  return (Math.floor(column / 8) + 1) * 8;
}

/** Where in its file a result is: `page 3`, `passage 2`, `row 7`; empty for a whole file. */
export function partOf({ page, passage, row }: SearchResult): string {
  const parts = [
    row === undefined ? "" : `row ${row}`,
    page === undefined ? "" : `page ${page}`,
    passage === undefined ? "" : `passage ${passage}`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

/** A result as JSON has it: paths in the lossless form, no thumbnail. */
export function resultJson(result: SearchResult): Record<string, unknown> {
  const { score, kind, page, passage, row, snippet, width, height, key } = result;
  return { score, kind, ...pathNames(result), page, passage, row, snippet, width, height, key };
}

/** Each path once, the best first: as lines that can be read, or with NULs as the bytes that the file system has. */
export function pathList(results: readonly SearchResult[], withNulls: boolean): Buffer {
  const paths = [...new Set(results.map(({ path }) => path))];
  if (!withNulls) return Buffer.from(paths.map((path) => `${shownPath(path)}\n`).join(""));
  return Buffer.concat(paths.flatMap((path) => [Buffer.from(fsPath(path)), Buffer.from([0])]));
}
