import { type Fields, inputError, itemTagNames, placeOf, readFields, readTags, stringField } from "./body-fields";
import type { WireImage, WireItem } from "./dialect";
import { readAnyImage, readImageAddress, readImageBase64 } from "./wire-image";

const pictureKeys = ["image", "url", "bytes"] as const;
const read = { image: readAnyImage, url: readImageAddress, bytes: readImageBase64 };

/** `{ "text": … }`, `{ "image": … }` or both: Jina's items, and those of the model's card with their `prompt`. */
export function readJinaItem(value: Fields, field: string): WireItem {
  const fields = readFields(value, field, ["text", ...pictureKeys, ...itemTagNames]);
  const text = stringField(fields, "text", field);
  const pictures = pictureKeys.filter((key) => fields[key] !== undefined && fields[key] !== null);
  if (pictures.length > 1) {
    const place = placeOf(field, pictures[1]);
    throw inputError(place, "is the item's second picture: the model takes a single one", { expected: "one picture" });
  }
  if (text === undefined && pictures.length === 0)
    throw inputError(field, "has neither text nor image", { expected: "text, image or both" });
  const image: WireImage | undefined = pictures.map((key) => read[key](fields[key], placeOf(field, key)))[0];
  const content = { ...(text === undefined ? {} : { text }), ...(image === undefined ? {} : { image }) };
  return { field, ...content, ...readTags(fields, field) };
}

/** Jina's `task`; all but the query's are documents. */
export function taskType(task: string | undefined): "query" | "document" | undefined {
  if (task === undefined) return undefined;
  return task === "retrieval.query" ? "query" : "document";
}
