import {
  booleanField,
  checkImageCount,
  choiceField,
  dimensionsField,
  type Fields,
  readFields,
  readList,
  readTags,
  stringField,
  tagNames,
  withRequestTags,
} from "./body-fields";
import { voyageAnswerSchema, voyageBodySchema } from "./body-schemas";
import { type PartType, readContentItem } from "./content-parts";
import type { Dialect } from "./dialect";
import { sumOf, writeEmbeddingList } from "./embedding-list";
import { openAiError } from "./openai-error";
import type { VectorEncoding } from "./vector-encoding";

interface VoyageForm {
  readonly encoding: VectorEncoding;
}

/** The reference says `output_encoding`, Voyage's own clients send `encoding_format`. */
const encodingNames = ["output_encoding", "encoding_format"] as const;

const known = [
  "model",
  "inputs",
  "truncation",
  "output_dimension",
  "output_dtype",
  ...encodingNames,
  ...tagNames,
] as const;

const parts: readonly PartType[] = ["text", "image_url", "image_base64"];

/** POST /v1/multimodalembeddings */
export const voyage: Dialect<VoyageForm> = {
  name: "voyage",
  path: "/v1/multimodalembeddings",
  bodySchema: voyageBodySchema,
  answerSchema: voyageAnswerSchema,
  read(body, rules) {
    const fields = readFields(body, "", known);
    const model = stringField(fields, "model");
    const dimensions = dimensionsField(fields, "output_dimension", rules);
    choiceField(fields, "output_dtype", ["float"]);
    const encodings = encodingNames.map((name) => choiceField(fields, name, ["base64"]));
    const truncation = booleanField(fields, "truncation") ?? true;
    const ownTags = readTags(fields);
    const items = readList(fields.inputs, "inputs", rules).map((entry, i) =>
      readContentItem(entry as Fields, `inputs[${i}]`, parts),
    );
    checkImageCount(items, "inputs", rules);
    return {
      request: {
        ...(model === undefined ? {} : { model }),
        ...(dimensions === undefined ? {} : { dimensions }),
        overflow: truncation ? "truncate" : "error",
        items: withRequestTags(items, ownTags),
      },
      form: { encoding: encodings.includes("base64") ? "base64" : "float" },
    };
  },
  write(answer, { encoding }) {
    return writeEmbeddingList(
      answer,
      encoding,
      {},
      {
        text_tokens: sumOf(answer.tokens, ({ text }) => text),
        image_pixels: sumOf(answer.pixels, (pixels) => pixels),
        total_tokens: sumOf(answer.tokens, ({ total }) => total),
      },
    );
  },
  writeError: openAiError,
};
