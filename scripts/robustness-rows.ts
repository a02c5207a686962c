// The rows of docs/robustness.md, and how a test's title says which of them it proves.
//
// test/fixtures/robustness-rows.json: id, what is tried, what must happen; where a row is not tested here, the reason.
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const root = join(__dirname, "..");

export interface Row {
  id: string;
  what: string;
  outcome: string;
  /** Why no test here can show it. A row may have tests and say beside them what only another machine shows. */
  reason?: string;
}

/** How many rows each letter has: files, pictures, texts, lifetimes, the server. */
export const counts = { G: 112, I: 40, T: 32, L: 34, S: 44 } as const;

export const titles = {
  G: "Model files",
  I: "Pictures and PDF",
  T: "Texts",
  L: "Lifetime and concurrency",
  S: "Server",
} as const;

const id = /(?:G\d{3}|[ITLS]\d{2})(?![0-9A-Za-z])/;
const prefix = new RegExp(`^${id.source}(?:(?:, | and |[–-]| )${id.source})*(?=:? )`);

export function readRows(): Row[] {
  return JSON.parse(readFileSync(join(root, "test", "fixtures", "robustness-rows.json"), "utf8"));
}

export function allIds(): string[] {
  return Object.entries(counts).flatMap(([letter, count]) =>
    Array.from({ length: count }, (_, i) => letter + String(i + 1).padStart(letter === "G" ? 3 : 2, "0")),
  );
}

/** The ids that a title begins with: `G021 …`, `G021, G022 …`, `G021–G024: …`, and what follows them. */
export function splitTitle(title: string): { ids: string[]; text: string } {
  const found = prefix.exec(title)?.[0];
  if (found === undefined) return { ids: [], text: title };
  const ids: string[] = [];
  for (const [, dash, name] of found.matchAll(new RegExp(`([–-]?)(${id.source})`, "g"))) {
    if (dash !== "") ids.push(...between(ids[ids.length - 1], name));
    ids.push(name);
  }
  return { ids, text: title.slice(found.length).replace(/^: ?| /, "") };
}

function between(first: string, last: string): string[] {
  const all = allIds();
  return all.slice(all.indexOf(first) + 1, all.indexOf(last));
}
