import {
  checkImageCount,
  choiceField,
  dimensionsField,
  type Fields,
  given,
  optionError,
  readFields,
  readList,
  readTexts,
  stringField,
  tags,
  withRequestTags,
  wrongKind,
} from "./body-fields";
import { cohereAnswerSchema, cohereBodySchema } from "./body-schemas";
import { type PartType, readContentItem } from "./content-parts";
import type { Dialect, WireAnswer, WireItem, WireRules } from "./dialect";
import { sumOf } from "./embedding-list";
import { messageFor } from "./openai-error";
import { checkEncoding, encodeVector, type VectorEncoding } from "./vector-encoding";
import { readImageAddress } from "./wire-image";

interface CohereForm {
  readonly encodings: readonly VectorEncoding[];
  /** Cohere repeats the texts of `texts` in its answer. */
  readonly texts: readonly string[];
}

const known = [
  "model",
  "texts",
  "images",
  "inputs",
  "input_type",
  "embedding_types",
  "output_dimension",
  "max_tokens",
  "truncate",
  "priority", // accepted, without effect
  "instruction",
];

const sources = ["texts", "images", "inputs"] as const;
const parts: readonly PartType[] = ["text", "image_url"];
const inputTypes = ["search_query", "search_document", "classification", "clustering", "image"] as const;
const encodings: readonly VectorEncoding[] = ["float", "base64", "binary", "ubinary"];

/** POST /v2/embed */
export const cohere: Dialect<CohereForm> = {
  name: "cohere",
  path: "/v2/embed",
  bodySchema: cohereBodySchema,
  answerSchema: cohereAnswerSchema,
  read(body, rules) {
    const fields = readFields(body, "", known);
    const model = stringField(fields, "model");
    const dimensions = dimensionsField(fields, "output_dimension", rules);
    const asked = readEncodings(fields, dimensions ?? rules.dimensions);
    const inputType = choiceField(fields, "input_type", inputTypes);
    const overflow = readOverflow(fields);
    const ownTags = tags(stringField(fields, "instruction"), inputType && kindOfItems(inputType));
    const source = readSource(fields);
    const items = readItems(fields, source, rules);
    checkImageCount(items, source, rules);
    return {
      request: {
        ...(model === undefined ? {} : { model }),
        ...(dimensions === undefined ? {} : { dimensions }),
        overflow,
        items: withRequestTags(items, ownTags),
      },
      form: { encodings: asked, texts: source === "texts" ? items.map(({ text = "" }) => text) : [] },
    };
  },
  write: writeByType,
  writeError(error, status) {
    const { code, field } = error;
    return {
      status,
      body: { message: messageFor(error, status), code, ...(field === undefined ? {} : { param: field }) },
    };
  },
};

function kindOfItems(inputType: (typeof inputTypes)[number]): "query" | "document" {
  return inputType === "search_query" ? "query" : "document";
}

/** END is what Cohere does when it is not told. */
function readOverflow(fields: Fields): "error" | "truncate" {
  if (given(fields.max_tokens) !== undefined)
    throw optionError("max_tokens", "is not supported: texts may be as long as the model reads");
  if (fields.truncate === "START")
    throw optionError("truncate", "cannot be START: the model reads a text's end last, only its end can be cut", {
      expected: "NONE or END",
    });
  return choiceField(fields, "truncate", ["NONE", "END"] as const) === "NONE" ? "error" : "truncate";
}

function readEncodings(fields: Fields, dimensions: number): readonly VectorEncoding[] {
  const value = given(fields.embedding_types);
  const field = "embedding_types";
  if (value === undefined) return ["float"];
  if (!Array.isArray(value) || value.length === 0 || value.length > 16)
    throw wrongKind(field, "an array of types", value, "GME_OPTION_INVALID");
  value.forEach((type: unknown, i) => {
    const place = `${field}[${i}]`;
    if (type === "int8" || type === "uint8")
      throw optionError(place, `cannot be ${type}: there is no calibrated scale`, { expected: encodings.join(", ") });
    if (!encodings.includes(type as VectorEncoding))
      throw wrongKind(place, encodings.map((e) => `"${e}"`).join(" or "), type, "GME_OPTION_INVALID");
    checkEncoding(type as VectorEncoding, dimensions, place);
  });
  return [...new Set(value as VectorEncoding[])];
}

function readSource(fields: Fields): (typeof sources)[number] {
  const found = sources.filter((name) => given(fields[name]) !== undefined);
  if (found.length === 1) return found[0];
  const expected = "exactly one of texts, images and inputs";
  const message = found.length === 0 ? "there is nothing to embed" : `and ${found[0]} cannot stand in one request`;
  throw optionError(found[1] ?? "texts", `${found.length === 0 ? "is missing: " : ""}${message}`, { expected });
}

function readItems(fields: Fields, source: (typeof sources)[number], rules: WireRules): WireItem[] {
  if (source === "texts") {
    if (!Array.isArray(fields.texts))
      throw wrongKind("texts", "an array of strings", fields.texts, "GME_INPUT_INVALID");
    return readTexts(fields.texts, "texts", rules);
  }
  return readList(fields[source], source, rules).map((entry, i) => {
    const field = `${source}[${i}]`;
    if (source === "images") return { field, image: readImageAddress(entry, field) };
    return readContentItem(entry as Fields, field, parts);
  });
}

function* writeByType(answer: WireAnswer, { encodings, texts }: CohereForm): Iterable<string> {
  yield `{"id":${JSON.stringify(answer.id)},"embeddings":{`;
  for (const [at, encoding] of encodings.entries()) {
    yield `${at === 0 ? "" : ","}"${encoding}":[`;
    for (let i = 0; i < answer.embeddings.length; i++)
      yield (i === 0 ? "" : ",") + encodeVector(answer.embeddings[i], encoding);
    yield "]";
  }
  yield '},"texts":[';
  for (let i = 0; i < texts.length; i++) yield (i === 0 ? "" : ",") + JSON.stringify(texts[i]);
  const meta = {
    api_version: { version: "2" },
    billed_units: {
      input_tokens: sumOf(answer.tokens, ({ text }) => text),
      image_tokens: sumOf(answer.tokens, ({ image }) => image),
    },
  };
  yield `],"meta":${JSON.stringify(meta)},"response_type":"embeddings_by_type"}`;
}
