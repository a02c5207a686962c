import type { WireAnswer } from "./dialect";
import { encodeVector, type VectorEncoding } from "./vector-encoding";

/** `{ "object": "list", "data": […], … }`, the answer of OpenAI's and Voyage's kind, one vector a piece. */
export function* writeEmbeddingList(
  answer: WireAnswer,
  encoding: VectorEncoding,
  head: object,
  usage: object,
): Iterable<string> {
  const start = JSON.stringify({ ...head, object: "list", model: answer.model });
  yield `${start.slice(0, -1)},"data":[`;
  for (let i = 0; i < answer.embeddings.length; i++) {
    const embedding = encodeVector(answer.embeddings[i], encoding);
    yield `${i === 0 ? "" : ","}{"object":"embedding","index":${i},"embedding":${embedding}}`;
  }
  yield `],"usage":${JSON.stringify(usage)}}`;
}

/** Sum of one number of each item. */
export function sumOf<T>(list: readonly T[], number: (entry: T) => number): number {
  return list.reduce((sum, entry) => sum + number(entry), 0);
}
