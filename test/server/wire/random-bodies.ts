// Seeded random bodies: those of the tables with values replaced, added, removed and nested anew, and some made of nothing.
import { randomNumbers } from "../../lifetime/native-model";
import { goldens } from "./golden-requests";
import { refused } from "./refused-bodies";

/** Stands in every text that the fuzz makes up; no error may repeat it. */
export const marker = "zZmarkerZz";

const names = [
  ...["model", "input", "inputs", "messages", "texts", "images", "text", "image", "url", "bytes", "type", "content"],
  ...["role", "image_url", "image_base64", "instruction", "input_type", "prompt", "task", "dimensions", "truncate"],
  ...["encoding_format", "embedding_types", "output_encoding", "mm_processor_kwargs", "keep_alive", "user"],
  ...["__proto__", "constructor", "prototype", "toString", "length", "0", "", "n"],
];

export function randomBodies(dialect: string, seed: number): () => unknown {
  const random = randomNumbers(seed);
  const below = (n: number) => Math.floor(random() * n);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)];
  const textsOf = (list: readonly { readonly body: unknown }[]) =>
    list.map(({ body }) => JSON.stringify(body)).filter((text) => text.length < 5_000);
  const good = textsOf(goldens[dialect]);
  const bad = textsOf(refused[dialect]);

  const leaf = (): unknown =>
    pick<() => unknown>([
      () => null,
      () => true,
      () => false,
      () => below(2000) - 3,
      () => pick([0.5, -0, 1e308, -1e308, 2 ** 53, 784 * below(2000)]),
      () => `${marker}${"\ud800\u0000x".repeat(below(3))}`,
      () => "",
      () => pick(["float", "base64", "query", "document", "user", "system", "text", "image_url", "END", "right"]),
      () => `data:image/png;base64,${marker}`,
      () => `data:${marker};base64,AAAA`,
      () => `${pick(["http", "file", "ftp", "gopher", "blob"])}://${marker}/`,
    ])();

  /** An entry of its own, so that `__proto__` is one too, as JSON.parse makes it. */
  const put = (target: object, key: string, value: unknown) =>
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });

  const made = (depth: number): unknown => {
    if (depth === 0 || random() < 0.4) return leaf();
    if (random() < 0.5) return Array.from({ length: below(5) }, () => made(depth - 1));
    const object = {};
    for (let n = below(4); n > 0; n--) put(object, pick(names), made(depth - 1));
    return object;
  };

  const changed = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null || random() < 0.15) {
      return pick([() => made(3), leaf, () => [value], () => [[value]], () => ({ content: value })])();
    }
    if (Array.isArray(value)) {
      const at = below(value.length + 1);
      if (random() < 0.2) return [...value.slice(0, at), made(2), ...value.slice(at)];
      if (random() < 0.1) return Array.from({ length: below(300) }, () => value[0]);
      return value.map((entry, i) => (i === Math.min(at, value.length - 1) ? changed(entry) : entry));
    }
    const keys = Object.keys(value);
    const key = random() < 0.25 || keys.length === 0 ? pick(names) : pick(keys);
    const copy = { ...value };
    if (random() < 0.1) delete (copy as Record<string, unknown>)[key];
    else put(copy, key, changed(Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : null));
    return copy;
  };

  return () => {
    if (random() < 0.1) return made(4);
    let body: unknown = JSON.parse(pick(random() < 0.7 ? good : bad));
    for (let n = 1 + below(2); n > 0; n--) body = changed(body);
    return body;
  };
}
