// Rows for the tests of export, some with every column and some with few, one path not UTF-8.
import { pathOf } from "../../lib/crawl/path-bytes";
import type { IndexEntry } from "../../lib/index-store/index";

export const dimensions = 12;
export const oddPath = process.platform === "win32" ? "/odd.png" : pathOf(Buffer.from("/\xff \n.png", "latin1"));

function entryAt(i: number): IndexEntry {
  const embedding = Float32Array.from({ length: dimensions }, (_, d) => Math.sin(i * 7 + d * 3) / 3);
  const path = i === 2 ? oddPath : `/pictures/日本 ${i}.png`;
  const bare: IndexEntry = {
    key: `key-${i}`,
    kind: "image",
    path,
    paths: [path, "/copy.png"],
    time: 1.7e12 + i,
    embedding,
  };
  if (i % 2 === 0) return bare;
  const facts = { page: 3, passage: 2, row: i, snippet: `words “${i}”`, caption: "a caption", width: 640, height: 480 };
  return { ...bare, ...facts, kind: "text", size: 5e9 + i, mtime: 1.6e12 + 0.25 };
}

export const entries = Array.from({ length: 2_500 }, (_, i) => entryAt(i));

export async function* batches(size = 1_000): AsyncGenerator<IndexEntry[]> {
  for (let i = 0; i < entries.length; i += size) yield entries.slice(i, i + size);
}
