import { constants } from "node:fs";
import { open } from "node:fs/promises";
import ignore, { type Ignore } from "ignore";
import { badArgument, GmeError } from "../errors";
import { isVanished, pathError } from "./crawl-events";
import { patiently } from "./crawl-patience";
import { fsPath, pathOf, shownPath } from "./path-bytes";

export const rulesFileName = ".gmeignore";

const maxRulesBytes = 1024 * 1024;
/** Every `**` multiplies the ways in which a path can be laid out over a pattern: more than this could take hours. */
const maxGlobstars = 4;
const maxPatternLength = 1_024;
const testsPerCache = 1_000;
const matching = { ignorecase: process.platform === "darwin" || process.platform === "win32" };

/** What `exclude` and the `.gmeignore` files from the root down to one folder leave out. */
export class CrawlRules {
  private matcher: Ignore;
  private tests = 0;

  private constructor(
    private readonly files: Ignore,
    private readonly excluded: Ignore,
    private readonly empty: boolean,
  ) {
    this.matcher = ignore(matching).add(files).add(excluded);
  }

  /** Of a root. Rejects a pattern that cannot be used with GME_OPTION_INVALID. */
  static ofRoot(exclude: readonly string[]): CrawlRules {
    exclude.forEach((pattern, i) => {
      const problem = typeof pattern === "string" ? problemOf(pattern) : "is not a string";
      if (problem !== undefined)
        throw badArgument("GME_OPTION_INVALID", `exclude[${i}]`, `a pattern: it ${problem}`, pattern);
    });
    const patterns = exclude.map((pattern) => ({ pattern, mark: "excluded" }));
    return new CrawlRules(ignore(matching), ignore(matching).add(patterns), exclude.length === 0);
  }

  /** With the rules of a file in `folder`, relative to the root, with "/" at its end; "" is the root. */
  within(folder: string, lines: readonly string[]): CrawlRules {
    const mark = `ignored by ${rulesFileName}`;
    const patterns = lines.flatMap((line) => patternIn(folder, line)).map((pattern) => ({ pattern, mark }));
    if (patterns.length === 0) return this;
    return new CrawlRules(ignore(matching).add(this.files).add(patterns), this.excluded, false);
  }

  /** Why a path is left out; relative to the root, with "/" at the end of a folder's. */
  reasonFor(path: string): string | undefined {
    if (this.empty) return undefined;
    // The package keeps an answer per path: a new matcher with the same compiled rules forgets them.
    if (++this.tests % testsPerCache === 0) this.matcher = ignore(matching).add(this.matcher);
    const { ignored, rule } = this.matcher.test(path);
    return ignored ? (rule?.mark ?? "excluded") : undefined;
  }
}

/**
 * The lines of a folder's `.gmeignore`, none without one. Rejects when it cannot be read or holds a pattern that cannot
 * be used: what was to be left out would else be indexed.
 */
export async function readRules(path: string): Promise<string[]> {
  const content = await readRulesFile(path).catch((error) => {
    if (isVanished(error)) return undefined;
    throw withConsequence(pathError(error, path));
  });
  if (content === undefined) return [];
  const lines = pathOf(content)
    .replace(/^\ufeff/, "")
    .split(/\r?\n/);
  lines.forEach((line, i) => {
    const problem = problemOf(line);
    if (problem !== undefined)
      throw withConsequence(badRules(path, `line ${i + 1} ${problem}`, "patterns of .gitignore syntax"));
  });
  return lines;
}

async function readRulesFile(path: string): Promise<Buffer> {
  // O_NONBLOCK: a named pipe of that name does not wait for a writer.
  const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
  const handle = await patiently(() => open(fsPath(path), flags));
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw badRules(path, "it is not a regular file", "a text file");
    if (stats.size > maxRulesBytes)
      throw badRules(path, `it has ${stats.size} bytes`, `at most ${maxRulesBytes} bytes`);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function badRules(path: string, problem: string, expected: string): GmeError {
  const file = shownPath(path);
  return new GmeError("GME_OPTION_INVALID", `${file}: ${problem}, expected ${expected}`, { file, expected });
}

function withConsequence(error: GmeError): GmeError {
  const { code, message, file, expected, errno, cause } = error;
  return new GmeError(code, `${message}; its folder is left out`, { file, expected, errno, cause });
}

function problemOf(pattern: string): string | undefined {
  if (pattern.length > maxPatternLength) return `has ${pattern.length} characters, the limit is ${maxPatternLength}`;
  if ((pattern.match(/\*{2,}/g)?.length ?? 0) > maxGlobstars) return `has more than ${maxGlobstars} times **`;
  try {
    ignore(matching).add([pattern]).ignores("a");
    return undefined;
  } catch {
    return "is not a pattern of .gitignore syntax";
  }
}

/** A line of the rules in `folder` as a pattern relative to the root. */
function patternIn(folder: string, line: string): string[] {
  const [, not, body] = line.match(/^(!?)(.*)$/s) ?? [line, "", line];
  const trimmed = body.replace(/(?<!\\) +$/, "");
  if (line.startsWith("#") || /^\/*$/.test(trimmed)) return [];
  if (folder === "") return [line];
  const literal = folder.replace(/[\\*?[\]!# ]/g, "\\$&");
  const anchored = trimmed.slice(0, -1).includes("/");
  return [`${not}/${literal}${anchored ? body.replace(/^\//, "") : `**/${body}`}`];
}
