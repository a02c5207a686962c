import type { EntryKind } from "./index-types";

/** Vector lengths of GME-2B and GME-7B: other models (the demonstration model, test models) were not trained with instructions. */
const lengthsOfGme: readonly number[] = [1_536, 3_584];

/**
 * The instruction of a query by what is sought; undefined: the model's default. The first one for texts is the model card's own; those
 * for pages and passages follow the wording of the retrieval tasks that GME was evaluated on.
 */
export function queryInstruction(
  sought: EntryKind | undefined,
  query: { readonly text: boolean; readonly image: boolean },
  dimensions: number,
): string | undefined {
  if (!lengthsOfGme.includes(dimensions)) return undefined;
  switch (sought) {
    case "image":
      if (query.text && query.image) return "Find an image that matches the given image and text.";
      return query.image
        ? "Find an image that is similar to the given image."
        : "Find an image that matches the given text.";
    case "page":
      return query.image ? undefined : "Find a screenshot that is relevant to the user's question.";
    case "text":
      return query.image
        ? "Find a text that describes the given image."
        : "Find a passage that answers the given question.";
    default:
      return undefined;
  }
}
