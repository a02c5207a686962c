import type { GmeError } from "../../index";
import {
  booleanField,
  choiceField,
  dimensionsField,
  optionError,
  readFields,
  readTexts,
  refuseOtherThan,
  stringField,
  tags,
  withRequestTags,
} from "./body-fields";
import { teiAnswerSchema, teiBodySchema } from "./body-schemas";
import type { Dialect, WireAnswer } from "./dialect";
import { messageFor } from "./openai-error";
import { encodeVector } from "./vector-encoding";

const known = [
  "inputs",
  "normalize",
  "truncate",
  "truncation_direction",
  "prompt_name",
  "dimensions",
  "instruction",
] as const;

/** POST /embed of text-embeddings-inference */
export const tei: Dialect = {
  name: "tei",
  path: "/embed",
  bodySchema: teiBodySchema,
  answerSchema: teiAnswerSchema,
  read(body, rules) {
    const fields = readFields(body, "", known);
    refuseOtherThan(fields, "normalize", true);
    const direction = fields.truncation_direction;
    if (direction === "left" || direction === "Left")
      throw optionError("truncation_direction", "cannot be left: only a text's end can be cut", { expected: "right" });
    choiceField(fields, "truncation_direction", ["right", "Right"]);
    const dimensions = dimensionsField(fields, "dimensions", rules);
    const inputType = choiceField(fields, "prompt_name", ["query", "document"] as const);
    const ownTags = tags(stringField(fields, "instruction"), inputType);
    const overflow = booleanField(fields, "truncate") === true ? "truncate" : "error";
    const items = withRequestTags(readTexts(fields.inputs, "inputs", rules), ownTags);
    return { request: { ...(dimensions === undefined ? {} : { dimensions }), overflow, items }, form: undefined };
  },
  write: writeVectors,
  writeError(error, status) {
    const own = ownStatus(error, status);
    const { code, field } = error;
    const body = { error: messageFor(error, status), error_type: errorType(own), code };
    return { status: own, body: field === undefined ? body : { ...body, param: field } };
  },
};

function* writeVectors(answer: WireAnswer): Iterable<string> {
  yield "[";
  for (let i = 0; i < answer.embeddings.length; i++)
    yield (i === 0 ? "" : ",") + encodeVector(answer.embeddings[i], "float");
  yield "]";
}

/** TEI answers 413 to a list that is too long, 422 to what is wrong in itself, 424 to what went wrong behind the server. */
function ownStatus({ field, value }: GmeError, status: number): number {
  if (status === 400) return field === "inputs" && typeof value === "number" ? 413 : 422;
  return status === 500 ? 424 : status;
}

function errorType(status: number): string {
  if (status === 424) return "Backend";
  if (status === 429) return "Overloaded";
  return status === 503 ? "Unhealthy" : "Validation";
}
