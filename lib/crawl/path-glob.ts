import { badArgument } from "../errors";

const maxGlobLength = 4_096;
/** Rust's regex crate refuses deep nesting. */
const maxBraceDepth = 16;
const anything = "[\\s\\S]*";
const anyFolders = "(?:[\\s\\S]*/)?";
const inSegment = "[^/]";
const nothing = "[^\\s\\S]";

/**
 * A regular expression for the paths that match a glob, for JavaScript (with flag u) and for Rust's regex crate alike:
 * `*` and `?` within a name, `**` as a whole segment for any folders, `[a-z]`, `[!a]`, `{a,b}`, and a backslash before a
 * literal character. Without a slash the glob is matched against the name; beginning with one, against the whole path;
 * else from any folder on. A slash at its end: everything in that folder. A bracket or brace without its end is literal.
 * Throws GME_OPTION_INVALID for a glob that is empty, too long, nested too deep, or no text.
 */
export function globToRegex(glob: string): string {
  if (typeof glob !== "string" || glob === "" || /[\0\p{Surrogate}]/u.test(glob)) {
    throw badArgument("GME_OPTION_INVALID", "path", "a glob", glob);
  }
  if (glob.length > maxGlobLength) {
    throw badArgument("GME_OPTION_INVALID", "path", `a glob of at most ${maxGlobLength} characters`, glob);
  }
  const characters = Array.from(glob.replace(/^(?:\.\/)+(?=.)/su, "").replace(/\/+$/, "/**"));
  return `^${characters[0] === "/" ? "" : anyFolders}${translate(characters)}$`;
}

/** A string literal of LanceDB's SQL. */
export function sqlText(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

function translate(glob: readonly string[]): string {
  const braces = readBraces(glob);
  let result = "";
  for (let at = 0; at < glob.length; ) {
    const brace = braces.get(at);
    const bracket = glob[at] === "[" ? bracketEnd(glob, at) : undefined;
    const from = at++;
    if (brace !== undefined) result += brace;
    else if (bracket !== undefined) {
      result += bracketRegex(glob.slice(from + 1, bracket));
      at = bracket + 1;
    } else if (glob[from] === "*") {
      while (glob[at] === "*") at++;
      const begins = from === 0 || glob[from - 1] === "/" || braces.has(from - 1);
      const ends = at === glob.length || braces.has(at);
      const isSegment = at - from > 1 && begins;
      if (isSegment && glob[at] === "/") at++;
      result += isSegment && glob[at - 1] === "/" ? anyFolders : isSegment && ends ? anything : `${inSegment}*`;
    } else if (glob[from] === "?") result += inSegment;
    else result += literal(glob[from] === "\\" && at < glob.length ? glob[at++] : glob[from]);
  }
  return result;
}

/** What stands for the braces and commas of all whole `{a,b}`, by their place. */
function readBraces(glob: readonly string[]): Map<number, string> {
  const signs = new Map<number, string>();
  const open: { at: number; commas: number[]; depth: number }[] = [];
  for (let at = 0; at < glob.length; at++) {
    if (glob[at] === "\\") at++;
    else if (glob[at] === "[") at = bracketEnd(glob, at) ?? at;
    else if (glob[at] === "{") open.push({ at, commas: [], depth: 1 });
    else if (glob[at] === ",") open.at(-1)?.commas.push(at);
    else if (glob[at] === "}") {
      const pair = open.pop();
      if (pair === undefined || pair.commas.length === 0) continue;
      if (pair.depth > maxBraceDepth) {
        throw badArgument("GME_OPTION_INVALID", "path", `braces nested at most ${maxBraceDepth} deep`, glob.join(""));
      }
      signs.set(pair.at, "(?:").set(at, ")");
      for (const comma of pair.commas) signs.set(comma, "|");
      const outer = open.at(-1);
      if (outer !== undefined) outer.depth = Math.max(outer.depth, pair.depth + 1);
    }
  }
  return signs;
}

/** Where the bracket expression at `start` ends; a `]` in its first place is a member. */
function bracketEnd(glob: readonly string[], start: number): number | undefined {
  const first = start + (glob[start + 1] === "!" || glob[start + 1] === "^" ? 2 : 1);
  for (let at = first; at < glob.length; at++) {
    if (glob[at] === "\\") at++;
    else if (glob[at] === "]" && at > first) return at;
  }
  return undefined;
}

function bracketRegex(content: readonly string[]): string {
  const negated = content[0] === "!" || content[0] === "^";
  const members: { character: string; isDash: boolean }[] = [];
  for (let at = negated ? 1 : 0; at < content.length; at++) {
    const isEscaped = content[at] === "\\" && at + 1 < content.length;
    if (isEscaped) at++;
    members.push({ character: content[at], isDash: content[at] === "-" && !isEscaped });
  }
  let ranges = "";
  for (let i = 0; i < members.length; i++) {
    const low = members[i].character;
    const isRange = members[i + 1]?.isDash && i + 2 < members.length;
    if (isRange) i += 2;
    ranges += classRange(low, members[i].character);
  }
  if (negated) return `[^/${ranges}]`;
  return ranges === "" ? nothing : `[${ranges}]`;
}

/** A range of a class without "/", which no bracket matches; one in the wrong order is empty. */
function classRange(low: string, high: string): string {
  const [from, to] = [low.codePointAt(0) as number, high.codePointAt(0) as number];
  const slash = 0x2f;
  if (from > to) return "";
  if (from > slash || to < slash) return `${classMember(from)}-${classMember(to)}`;
  const below = from < slash ? `${classMember(from)}-${classMember(slash - 1)}` : "";
  return to > slash ? `${below}${classMember(slash + 1)}-${classMember(to)}` : below;
}

function classMember(code: number): string {
  const character = String.fromCodePoint(code);
  return code < 0x80 && !/[a-z0-9]/i.test(character) ? `\\x${code.toString(16).padStart(2, "0")}` : character;
}

function literal(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|]/, "\\$&");
}
