import { GmeError } from "../../index";

/**
 * The part of the store's SQL that a request may use: comparisons and a few functions over the columns. Everything else is refused
 * before the store reads it: functions that make long texts or lists of short ones, what stands behind a semicolon, a bracket that
 * closes ours, chains so long that planning them takes seconds.
 */
const maxLength = 2_000;
const maxTokens = 200;
const maxDepth = 16;

const columns = ["key", "kind", "path", "paths", "page", "passage", "row", "snippet", "caption", "size", "mtime", "width", "height", "time"]; // biome-ignore format: one line says it
const words = ["and", "or", "not", "in", "is", "null", "like", "ilike", "between", "true", "false", "escape", "timestamp", "date"]; // biome-ignore format: one line says it
const functions = ["lower", "upper", "length", "starts_with", "ends_with", "contains", "regexp_like", "array_has", "array_has_any", "array_length"]; // biome-ignore format: one line says it

const token =
  /\s+|'(?:[^']|'')*'|(?<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.]))|(?<name>[a-z_]\w*)|<=|>=|<>|!=|[=<>+*%,[\]]|\/(?!\*)|-(?!-)|(?<open>\()|(?<close>\))/iy;

/** The filter, unchanged. Throws GME_INPUT_INVALID. */
export function checkedFilter(filter: string): string {
  if (filter.length > maxLength) throw refused(`has ${filter.length} characters`, `at most ${maxLength} characters`);
  if (/[\0\p{Surrogate}]/u.test(filter)) throw refused("holds characters that are no text", "SQL");
  token.lastIndex = 0;
  let [count, depth, named] = [0, 0, ""];
  while (token.lastIndex < filter.length) {
    const at = token.lastIndex;
    const found = token.exec(filter);
    if (found === null) throw refused(`cannot be read from ${JSON.stringify(filter.slice(at, at + 20))} on`, "SQL over the columns"); // biome-ignore format: one line says it
    const { name, open, close } = found.groups ?? {};
    if (/^\s/.test(found[0])) continue;
    if (++count > maxTokens) throw refused("is too long", `at most ${maxTokens} names, values and signs`);
    if (functions.includes(named) && open === undefined) throw refused(`names the column ${named}`, columns.join(", "));
    if (open !== undefined && columns.includes(named)) throw refused(`calls ${named}`, functions.join(", "));
    depth += open !== undefined ? 1 : close !== undefined ? -1 : 0;
    if (depth < 0 || depth > maxDepth) throw refused("has brackets that do not match or are too deep", "matching brackets"); // biome-ignore format: one line says it
    named = name?.toLowerCase() ?? "";
    if (name !== undefined && ![...columns, ...words, ...functions].includes(named)) throw unknownName(name, filter.slice(token.lastIndex)); // biome-ignore format: one line says it
  }
  if (depth !== 0) throw refused("has a bracket without its end", "matching brackets");
  if (count === 0) throw refused("is empty", "SQL over the columns");
  return filter;
}

function unknownName(name: string, rest: string): GmeError {
  const isCall = /^\s*\(/.test(rest);
  return refused(`${isCall ? "calls" : "names"} ${JSON.stringify(name.slice(0, 40))}`, (isCall ? functions : columns).join(", ")); // biome-ignore format: one line says it
}

function refused(what: string, expected: string): GmeError {
  return new GmeError("GME_INPUT_INVALID", `where ${what}; expected ${expected}`, { field: "where", expected });
}
