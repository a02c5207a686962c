import { basename } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import type { GmeInput, ImageSource } from "../index";
import type { EntryKind, SearchOptions, SearchResult } from "../index-store/index";
import { addDbFlag, dbOf } from "./index-flags";
import { addModelFlags, chosenModel, type Flags } from "./model-flags";
import { note, print, printJson, UsageError, useColour, writeWhole } from "./output";
import { dataUrl } from "./page-parts";
import { readItemFlags } from "./read-input";
import { pathList, resultJson, resultLine } from "./search-output";
import { searchPage } from "./search-page";
import { stopSignal } from "./signals";

const maxResults = 10_000;
const kinds = ["image", "text", "page"] as const satisfies readonly EntryKind[];

interface SearchFlags extends Flags {
  image?: string;
  kind?: EntryKind;
  path?: string;
  where?: string;
  limit: number;
  minScore?: number;
  instruction?: string;
  exact?: boolean;
  json?: boolean;
  files?: boolean;
  null?: boolean;
  html?: string;
}

export function searchCommand(): Command {
  const command = new Command("search")
    .description("search an index by a text, a picture, or both fused in one vector")
    .argument("[query]", "the text; - reads it from stdin")
    .option("--image <F>", "the picture's file; - reads its bytes from stdin");
  addDbFlag(command)
    .addOption(new Option("--kind <kind>", "only pictures, passages of text, or pages of PDFs").choices(kinds))
    .option("--path <GLOB>", "only paths like this: * ? [...] {a,b} **; without a slash it is the file's name")
    .option("--where <SQL>", "only rows for which this holds, in SQL over the index's columns")
    .option("--limit <n>", "at most so many results", readCount, 10)
    .option("--min-score <x>", "only results with at least this score (-1 to 1)", readScore)
    .option("--instruction <T>", "the query's instruction (default: by what is sought)")
    .option("--exact", "compare with every row, without the vector index")
    .option("--json", 'one JSON object, {"results": [...]}')
    .option("-f, --files", "only the paths, each once")
    .option("-0, --null", "only the paths, each once and as its bytes are, with NUL behind it instead of a line end")
    .option("--html <F>", "write a gallery of the results as well: one HTML file with thumbnails");
  return addModelFlags(command).action(runSearch);
}

function readCount(value: string): number {
  const count = Number(value);
  if (!/^\d{1,5}$/.test(value) || count < 1 || count > maxResults)
    throw new InvalidArgumentError(`An integer from 1 to ${maxResults} expected.`);
  return count;
}

function readScore(value: string): number {
  const score = Number(value);
  if (value.trim() === "" || !(score >= -1 && score <= 1))
    throw new InvalidArgumentError("A number from -1 to 1 expected.");
  return score;
}

async function runSearch(text: string | undefined, flags: SearchFlags): Promise<void> {
  const db = dbOf(flags);
  const query = await readQuery(text, flags);
  const results = await resultsOf(db, query, flags);
  if (flags.json) await printJson({ results: results.map(resultJson) });
  else if (results.length === 0) note("nothing found");
  else if (flags.null || flags.files) await print(pathList(results, flags.null === true));
  else await print(lines(results));
  if (flags.html !== undefined) await writePage(flags.html, db, query, flags, results);
}

interface Query {
  readonly text?: string;
  readonly image?: ImageSource;
}

async function readQuery(text: string | undefined, { image, json, files, null: nul }: SearchFlags): Promise<Query> {
  if (text === undefined && image === undefined) throw new UsageError("no query: give a text, --image F or both");
  if (text === "-" && image === "-") throw new UsageError("only one of the text and --image can come from stdin");
  if (json && (files || nul)) throw new UsageError("--json and paths only (-f, -0) exclude each other");
  const query = (await readItemFlags({ text, image })) as Exclude<GmeInput, string>;
  if (query.text?.trim() === "") throw new UsageError("the query's text is empty");
  return query;
}

async function resultsOf(db: string, { text, image }: Query, flags: SearchFlags): Promise<SearchResult[]> {
  const { kind, path, where, limit, minScore, instruction, exact } = flags;
  const { openIndex } = await import("../index-store/index.js");
  const { path: model, options: modelOptions } = await chosenModel(flags);
  const signal = stopSignal();
  const index = await openIndex(db, { model, modelOptions, readOnly: true, signal });
  try {
    const given: SearchOptions = { image, kind, path, where, limit, minScore, instruction, exact, signal };
    return await index.search(text, { ...onlyGiven(given), thumbnails: flags.html !== undefined });
  } finally {
    await index.close();
  }
}

function onlyGiven(options: SearchOptions): SearchOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function lines(results: readonly SearchResult[]): string {
  const columns = process.stdout.isTTY ? process.stdout.columns || 80 : undefined;
  return results.map((result) => `${resultLine(result, columns, useColour(process.stdout))}\n`).join("");
}

async function writePage(
  file: string,
  db: string,
  { text, image }: Query,
  flags: SearchFlags,
  results: readonly SearchResult[],
): Promise<void> {
  const picture =
    image === undefined
      ? undefined
      : { name: typeof image === "string" ? basename(image) : "from stdin", url: await pictureUrl(image) };
  await writeWhole(file, searchPage({ text, picture, db, conditions: conditionsOf(flags) }, results));
  note(`Gallery: ${file}`);
}

function conditionsOf({ kind, path, where, minScore }: SearchFlags): string[] {
  const words = { image: "only pictures", text: "only passages of text", page: "only pages of PDFs" };
  const conditions = [kind && words[kind], path && `paths like ${path}`, where && `where ${where}`];
  if (minScore !== undefined) conditions.push(`scores from ${minScore}`);
  return conditions.filter((condition) => condition !== undefined);
}

/** The query's picture, small; undefined when it is not a local file's or cannot be made small. */
async function pictureUrl(image: ImageSource): Promise<string | undefined> {
  if (typeof image === "string" && /^[a-z]{2,}:/i.test(image)) return undefined;
  try {
    const { default: sharp } = await import("sharp");
    const small = sharp(image as string | Uint8Array)
      .autoOrient()
      .resize(288, 288, { fit: "inside", withoutEnlargement: true });
    return dataUrl("image/webp", await small.webp().toBuffer());
  } catch {
    return undefined;
  }
}
