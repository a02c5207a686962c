import { GmeError } from "../../index";
import { type EntryKind, entryKinds } from "../../index-store/index";
import { checkedFilter } from "./where-filter";

/** The body of POST /search. */
export interface SearchBody {
  readonly query?: string;
  /** A data: URL, base64, or an address. */
  readonly image?: string;
  readonly instruction?: string;
  readonly kind?: EntryKind;
  readonly where?: string;
  readonly path?: string;
  readonly limit: number;
  readonly minScore?: number;
}

const defaultLimit = 20;
const maxLimit = 200;
const maxGlobLength = 500;
/** Each makes matching a path that nearly fits slower by its length. */
const maxGlobStars = 5;

const text = (description: string) => ({ type: "string", description });

/** For /openapi.json; what a body must be is said by `readSearchBody`. */
export const searchBodySchema = {
  type: "object",
  additionalProperties: false,
  properties: {
    query: text("A text, a picture, or both, which are searched by as one"),
    image: text("data: URL or base64 of a picture; an address where the server allows its host"),
    instruction: text("Default: by what is sought"),
    kind: { type: "string", enum: entryKinds, description: "Only pictures, passages of text, or pages of PDFs" },
    where: text("SQL over the columns: comparisons, AND, OR, NOT, IN, LIKE, and a few functions"),
    path: text("A glob on the paths: * ? [...] {a,b} **; without a slash it is the file's name"),
    limit: { type: "integer", minimum: 1, maximum: maxLimit, default: defaultLimit },
    minScore: { type: "number", minimum: -1, maximum: 1, description: "Only results with at least this cosine" },
  },
};

const nullable = { type: ["string", "null"] };

export const searchAnswerSchema = {
  type: "object",
  properties: {
    results: {
      type: "array",
      items: {
        type: "object",
        properties: {
          key: { type: "string" },
          score: { type: "number", description: "Cosine of query and entry" },
          kind: { type: "string", enum: entryKinds },
          path: { type: "string" },
          pathBase64: text("The path's bytes where they are not UTF-8"),
          page: { type: "integer" },
          passage: { type: "integer" },
          row: { type: "integer" },
          snippet: { type: "string" },
          width: { type: "integer" },
          height: { type: "integer" },
          thumbnail: nullable,
        },
      },
    },
    seconds: { type: "number" },
  },
};

/** Throws GME_INPUT_INVALID naming the field. */
export function readSearchBody(body: unknown): SearchBody {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw bad("body", "the body must be a JSON object", "a JSON object");
  const given = body as Record<string, unknown>;
  const names = Object.keys(searchBodySchema.properties);
  for (const name of Object.keys(given))
    if (!names.includes(name)) throw bad(name.slice(0, 80), `unknown field ${JSON.stringify(name.slice(0, 80))}`, names.join(", ")); // biome-ignore format: one line says it
  const [query, image, instruction] = [textOf(given, "query"), textOf(given, "image"), textOf(given, "instruction")];
  const isEmptyText = query === undefined || query.trim() === "";
  if (isEmptyText && image === undefined) throw bad("query", "a search needs a query, an image, or both", "a text or a picture"); // biome-ignore format: one line says it
  const { kind, limit = defaultLimit, minScore } = given;
  if (kind !== undefined && !entryKinds.includes(kind as EntryKind)) throw bad("kind", "kind is none of those there are", entryKinds.join(", ")); // biome-ignore format: one line says it
  if (!Number.isInteger(limit) || (limit as number) < 1 || (limit as number) > maxLimit) throw bad("limit", "limit is out of range", `an integer from 1 to ${maxLimit}`); // biome-ignore format: one line says it
  if (minScore !== undefined && !(typeof minScore === "number" && minScore >= -1 && minScore <= 1)) throw bad("minScore", "minScore is out of range", "a number from -1 to 1"); // biome-ignore format: one line says it
  const where = textOf(given, "where");
  return {
    ...(!isEmptyText && { query }),
    ...(image !== undefined && { image }),
    ...(instruction !== undefined && { instruction }),
    ...(kind !== undefined && { kind: kind as EntryKind }),
    ...(where !== undefined && { where: checkedFilter(where) }),
    ...pathOf(given),
    limit: limit as number,
    ...(minScore !== undefined && { minScore }),
  };
}

function pathOf(given: Record<string, unknown>): { path?: string } {
  const path = textOf(given, "path");
  if (path === undefined) return {};
  if (path.length > maxGlobLength) throw bad("path", "the glob is too long", `at most ${maxGlobLength} characters`);
  if ((path.match(/\*+/g)?.length ?? 0) > maxGlobStars) throw bad("path", "the glob has too many stars", `at most ${maxGlobStars}`); // biome-ignore format: one line says it
  return { path };
}

function textOf(given: Record<string, unknown>, name: string): string | undefined {
  const value = given[name];
  if (value !== undefined && typeof value !== "string") throw bad(name, `${name} is no text`, "a string");
  return value;
}

function bad(field: string, message: string, expected: string): GmeError {
  return new GmeError("GME_INPUT_INVALID", `${message}; expected ${expected}`, { field, expected });
}
