import type { EntryKind } from "./index-types";

/**
 * The instruction of a query by what is sought. The first is the model card's own; those for pages and passages follow the wording of
 * the retrieval tasks that GME was evaluated on. Sought among everything, the model's default instruction holds.
 */
export function queryInstruction(
  sought: EntryKind | undefined,
  query: { text: boolean; image: boolean },
): string | undefined {
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
