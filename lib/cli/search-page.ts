import { basename, isAbsolute } from "node:path";
import { pathToFileURL } from "node:url";
import { attribution } from "../index";
import { fsPath, type SearchResult, shownPath } from "../index-store/index";
import { dataUrl, escapeHtml } from "./page-parts";
import { partOf } from "./search-output";
import { searchStyle } from "./search-page-parts";

/** What the gallery shows above its results. */
export interface SearchPageQuery {
  readonly text?: string;
  readonly picture?: {
    readonly name: string /** A `data:` URL; without it the name alone is shown. */;
    readonly url?: string;
  };
  readonly db: string;
  /** Conditions in words: `only pages`, `paths like *.pdf`. */
  readonly conditions: readonly string[];
}

/** The gallery as one HTML file that asks for nothing else: thumbnails inlined, links to the files on this machine. */
export function searchPage(query: SearchPageQuery, results: readonly SearchResult[]): string {
  const asked = [
    query.picture === undefined ? "" : `the picture ${query.picture.name}`,
    query.text === undefined ? "" : `“${query.text}”`,
  ];
  const title = `Search: ${asked.filter((part) => part !== "").join(" and ")}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${escapeHtml(shortText(title, 120))}</title>
<style>${searchStyle}</style>
</head>
<body>
<main>
<header>
${heading(query)}
<p>${countOf(results)} in <code>${escapeHtml(query.db)}</code>${query.conditions.map((words) => `, ${escapeHtml(words)}`).join("")}.${results.length === 0 ? "" : "\nThe score is the cosine of query and result."}</p>
</header>
${results.length === 0 ? "" : `<ol class="results">\n${results.map(card).join("\n")}\n</ol>`}
</main>
<footer>
<p><strong>${escapeHtml(attribution)}</strong></p>
</footer>
</body>
</html>
`;
}

function countOf(results: readonly SearchResult[]): string {
  if (results.length === 0) return "Nothing found";
  return results.length === 1 ? "1 result" : `${results.length} results`;
}

function heading({ text, picture }: SearchPageQuery): string {
  const words = text === undefined ? "" : `<q dir="auto">${escapeHtml(shortText(text, 300))}</q>`;
  if (picture === undefined) return `<h1>${words}</h1>`;
  const name = `<span class="name">${escapeHtml(picture.name)}</span>`;
  const alt = escapeHtml(`The picture searched by: ${picture.name}`);
  const image = picture.url === undefined ? "" : `<img src="${escapeHtml(picture.url)}" alt="${alt}">`;
  return `<h1 class="asked">${image}<span>${words === "" ? `Like ${name}` : `${words} with ${name}`}</span></h1>`;
}

const kindNames = { image: "picture", text: "text", page: "page" } as const;

function card(result: SearchResult): string {
  const name = basename(shownPath(result.path));
  const part = partOf(result);
  const url = fileUrl(result);
  const linked = url === undefined ? escapeHtml(name) : `<a href="${escapeHtml(url)}">${escapeHtml(name)}</a>`;
  const others = result.paths.length - 1;
  const facts = [
    part,
    result.width === undefined || result.kind !== "image" ? "" : `${result.width} × ${result.height}`,
    others > 0 ? `${others} more ${others === 1 ? "copy" : "copies"}` : "",
  ].filter((fact) => fact !== "");
  return `<li><article>
${preview(result, part === "" ? name : `${name}, ${part}`)}
<div class="facts"><h2 title="${escapeHtml(result.paths.map(shownPath).join("\n"))}">${linked}</h2>
<p>${escapeHtml(facts.join(" · ") || kindNames[result.kind])}</p><b>${result.score.toFixed(3)}</b></div>
${caption(result)}</article></li>`;
}

/** The thumbnail, or the text where there is none. */
function preview({ thumbnail, snippet, kind }: SearchResult, name: string): string {
  if (thumbnail === undefined) {
    return `<blockquote dir="auto">${snippet ? escapeHtml(snippet) : '<span class="none">no preview</span>'}</blockquote>`;
  }
  const alt = snippet === undefined || kind === "page" ? name : `${shortText(snippet, 120)} (${name})`;
  return `<img src="${dataUrl("image/webp", thumbnail)}" alt="${escapeHtml(alt)}" loading="lazy">`;
}

/** The words that belong to a picture or a page. */
function caption({ thumbnail, snippet }: SearchResult): string {
  return thumbnail === undefined || !snippet ? "" : `<p class="caption" dir="auto">${escapeHtml(snippet)}</p>\n`;
}

/** Of a file on this machine; an item that is no file has no absolute path. PDF viewers take the page's number. */
function fileUrl({ path, page }: SearchResult): string | undefined {
  const real = fsPath(path);
  const hash = page === undefined ? "" : `#page=${page}`;
  if (typeof real === "string") return isAbsolute(real) ? `${pathToFileURL(real).href}${hash}` : undefined;
  if (real[0] !== 0x2f) return undefined;
  const encoded = Array.from(real, (byte) => {
    const character = String.fromCharCode(byte);
    return /[\w./~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  });
  return `file://${encoded.join("")}${hash}`;
}

function shortText(text: string, length: number): string {
  const characters = [...text];
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}…` : text;
}
