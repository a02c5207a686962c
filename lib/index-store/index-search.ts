import { globToRegex, sqlText } from "../crawl/path-glob";
import type { EmbedOutcome, EmbedTask } from "../embed-tasks/embed-task";
import { badArgument, GmeError } from "../errors";
import type { ReadRow } from "./entry-row";
import type { EntryTable } from "./entry-table";
import { vectorFault } from "./index-run";
import { type EntryKind, entryKinds, type SearchOptions, type SearchResult } from "./index-types";
import { queryInstruction } from "./query-instruction";
import { searchProbes, searchRefine } from "./vector-index";

const maxLimit = 10_000;
const resultColumns = ["key", "kind", "path", "paths", "page", "passage", "row", "snippet", "width", "height"];

/** The rows nearest to a query, best first. */
export async function searchIndex(
  table: EntryTable,
  query: string | undefined,
  options: SearchOptions,
  embed: (task: EmbedTask) => Promise<EmbedOutcome>,
): Promise<SearchResult[]> {
  checkOptions(query, options);
  const vector = options.embedding ?? (await queryVector(query, options, table.pin.dimensions, embed));
  checkQueryVector(vector, table.pin.dimensions);
  const { limit = 10, minScore, exact, thumbnails } = options;
  const rows = await table.nearest(vector, {
    columns: thumbnails ? [...resultColumns, "thumbnail"] : resultColumns,
    limit,
    where: filterOf(options),
    minScore,
    exact,
    probes: searchProbes,
    refine: Math.max(1, Math.min(searchRefine, Math.ceil(maxLimit / limit))),
  });
  const results = rows.map((row) => ({ ...plainResult(row), score: 1 - (row._distance ?? 0) }));
  return options.path === undefined ? results : results.map(showingPath(options.path));
}

/** A row found by another path than its newest is shown with that one. */
function showingPath(glob: string): (result: SearchResult) => SearchResult {
  const regex = new RegExp(globToRegex(glob), "u");
  return (result) => ({ ...result, path: result.paths.find((path) => regex.test(path)) ?? result.path });
}

async function queryVector(
  query: string | undefined,
  options: SearchOptions,
  dimensions: number,
  embed: (task: EmbedTask) => Promise<EmbedOutcome>,
): Promise<Float32Array> {
  const { image, kind } = options;
  const given = { text: query !== undefined, image: image !== undefined };
  const instruction = options.instruction ?? queryInstruction(kind, given, dimensions);
  const task: EmbedTask = {
    ...(query !== undefined && { text: query }),
    ...(image !== undefined && { image: { source: image } }),
    query: { ...(instruction !== undefined && { instruction }) },
  };
  const outcome = await embed(task);
  if (outcome.error !== undefined) throw outcome.error;
  return outcome.embedding;
}

/** Kind, path and SQL together; undefined: all rows. */
function filterOf({ kind, path, where }: SearchOptions): string | undefined {
  const filters: string[] = [];
  if (kind !== undefined) filters.push(`kind = ${sqlText(kind)}`);
  if (path !== undefined) filters.push(`(${pathFilter(path)})`);
  if (where !== undefined) filters.push(`(${where})`);
  return filters.length === 0 ? undefined : filters.join(" AND ");
}

/** Stands between a row's paths where they are matched together; absolute paths begin with a slash, which `*` does not match. */
const pathSeparator = "\u{10FFFE}";

/** On any of a row's paths. */
export function pathFilter(glob: string): string {
  const regex = globToRegex(glob);
  const anywhere = `(?:^|${pathSeparator})${regex.slice(1, -1)}(?:${pathSeparator}|$)`;
  const joined = `array_to_string(paths, ${sqlText(pathSeparator)})`;
  return `regexp_like(path, ${sqlText(regex)}) OR (array_length(paths) > 1 AND regexp_like(${joined}, ${sqlText(anywhere)}))`;
}

/** A row's columns without those that are null. */
export function plainResult(row: ReadRow): Omit<SearchResult, "score"> {
  const { key, kind, path, paths, page, passage, row: tableRow, snippet, width, height, thumbnail } = row;
  const optional = { page, passage, row: tableRow, snippet, width, height, thumbnail };
  return {
    key,
    kind: kind as EntryKind,
    path: path as string,
    paths: paths as string[],
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== null && value !== undefined)),
  };
}

function checkQueryVector(vector: Float32Array, dimensions: number): void {
  if (!(vector instanceof Float32Array) || vector.length !== dimensions)
    throw badArgument("GME_INPUT_INVALID", "options.embedding", `a Float32Array of ${dimensions} numbers`, vector);
  const fault = vectorFault(vector);
  if (fault !== undefined) throw fault;
}

function checkOptions(query: string | undefined, options: SearchOptions): void {
  const { image, embedding, kind, limit, minScore } = options;
  if (query !== undefined && typeof query !== "string")
    throw badArgument("GME_INPUT_INVALID", "query", "a string", query);
  if (query === undefined && image === undefined && embedding === undefined) {
    throw new GmeError("GME_INPUT_INVALID", "a search needs a text, an image, both, or an embedding", {
      field: "query",
      expected: "text, image or both",
    });
  }
  if (kind !== undefined && !entryKinds.includes(kind))
    throw badArgument("GME_OPTION_INVALID", "options.kind", entryKinds.join(", "), kind);
  if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 1 || limit > maxLimit))
    throw badArgument("GME_OPTION_INVALID", "options.limit", `an integer from 1 to ${maxLimit}`, limit);
  if (minScore !== undefined && !(minScore >= -1 && minScore <= 1))
    throw badArgument("GME_OPTION_INVALID", "options.minScore", "a number from -1 to 1", minScore);
}
