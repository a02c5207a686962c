import { Script } from "node:vm";
import { GmeError, printable } from "../errors";

/** An entry of rank_pattern or alpha_pattern: a regular expression for module names, and the number for the modules that it matches. */
export interface Pattern {
  readonly pattern: string;
  readonly number: number;
}

const maxPatterns = 4_096;
const maxMilliseconds = 2_000;
/** A pattern matches a whole name, or the end of one from a dot on. */
const source = `
  const expressions = patterns.map((pattern) => new RegExp("^(?:.*\\\\.)?(?:" + pattern + ")$"));
  names.map((name) => expressions.findIndex((expression) => expression.test(name)));
`;

/**
 * The number of the first pattern that matches, for each name; undefined where none does.
 * The expressions come from a file, and an expression can take forever: they run where a time limit ends them.
 */
export function matchPatterns(
  file: string,
  field: string,
  patterns: readonly Pattern[],
  names: readonly string[],
): (number | undefined)[] {
  if (patterns.length === 0) return names.map(() => undefined);
  const fail = (what: string, cause?: unknown) =>
    new GmeError("GME_MODEL_UNSUPPORTED", `${printable(file)}: ${field}: ${what}`, { file, field, cause });
  if (patterns.length > maxPatterns) throw fail(`${patterns.length} entries, at most ${maxPatterns} are read`);
  const invalid = patterns.find(({ pattern }) => !isExpression(pattern));
  if (invalid) throw fail(`${printable(invalid.pattern)} is not a regular expression that is understood here`);
  try {
    const globals = { patterns: patterns.map(({ pattern }) => pattern), names };
    const found: number[] = new Script(source).runInNewContext(globals, { timeout: maxMilliseconds });
    return Array.from(found, (index) => patterns[index]?.number);
  } catch (cause) {
    throw fail("the regular expressions take too long", cause);
  }
}

function isExpression(pattern: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`) instanceof RegExp;
  } catch {
    return false;
  }
}
