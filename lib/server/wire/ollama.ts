import {
  booleanField,
  checkImageCount,
  dimensionsField,
  type Fields,
  given,
  inputError,
  readFields,
  readList,
  readTags,
  readTexts,
  stringField,
  tagNames,
  withRequestTags,
} from "./body-fields";
import { ollamaAnswerSchema, ollamaBodySchema } from "./body-schemas";
import type { Dialect, WireAnswer, WireImage, WireItem, WireRules } from "./dialect";
import { sumOf } from "./embedding-list";
import { messageFor } from "./openai-error";
import { encodeVector } from "./vector-encoding";
import { readImageBase64 } from "./wire-image";

interface OllamaForm {
  /** Of `performance.now()`, for the answer's durations. */
  readonly started: number;
}

/** `keep_alive` and `options` have no effect: the model stays loaded, and as the server was told to run it. */
const known = ["model", "input", "images", "truncate", "dimensions", "keep_alive", "options", ...tagNames] as const;

/** POST /api/embed, with `images` of our own: one picture for the text at the same index. */
export const ollama: Dialect<OllamaForm> = {
  name: "ollama",
  path: "/api/embed",
  bodySchema: ollamaBodySchema,
  answerSchema: ollamaAnswerSchema,
  read(body, rules) {
    const started = performance.now();
    const fields = readFields(body, "", known);
    const model = stringField(fields, "model");
    const dimensions = dimensionsField(fields, "dimensions", rules);
    const overflow = booleanField(fields, "truncate") === false ? "error" : "truncate";
    const ownTags = readTags(fields);
    const items = readItems(fields, rules);
    checkImageCount(items, "images", rules);
    return {
      request: {
        ...(model === undefined ? {} : { model }),
        ...(dimensions === undefined ? {} : { dimensions }),
        overflow,
        items: withRequestTags(items, ownTags),
      },
      form: { started },
    };
  },
  write: writeEmbeddings,
  writeError(error, status) {
    const { code, field } = error;
    return {
      status,
      body: { error: messageFor(error, status), code, ...(field === undefined ? {} : { param: field }) },
    };
  },
};

/** Pictures without texts are items of their own; with texts there may be fewer of them, or null where a text has none. */
function readItems(fields: Fields, rules: WireRules): WireItem[] {
  const pictures = given(fields.images);
  if (pictures === undefined) return readTexts(fields.input, "input", rules);
  const images = readList(pictures, "images", rules).map((entry, i): WireImage | undefined =>
    entry === null && given(fields.input) !== undefined ? undefined : readImageBase64(entry, `images[${i}]`),
  );
  if (given(fields.input) === undefined)
    return images.map((image, i) => ({ field: `images[${i}]`, ...(image && { image }) }));
  const texts = readTexts(fields.input, "input", rules);
  if (images.length > texts.length) {
    throw inputError("images", `has ${images.length} pictures for ${texts.length} texts`, {
      value: images.length,
      expected: "one picture per text",
    });
  }
  return texts.map((item, i) => ({ ...item, ...(images[i] && { image: images[i] }) }));
}

function* writeEmbeddings(answer: WireAnswer, { started }: OllamaForm): Iterable<string> {
  yield `{"model":${JSON.stringify(answer.model)},"embeddings":[`;
  for (let i = 0; i < answer.embeddings.length; i++)
    yield (i === 0 ? "" : ",") + encodeVector(answer.embeddings[i], "float");
  const ends = {
    total_duration: Math.max(1, Math.round((performance.now() - started) * 1e6)),
    load_duration: 0, // the model is loaded before the server listens
    prompt_eval_count: sumOf(answer.tokens, ({ total }) => total),
  };
  yield `],${JSON.stringify(ends).slice(1)}`;
}
