import { open } from "node:fs/promises";
import { type GgufHeader, readGgufHeader } from "../../lib/convert/gguf-reader";
import { tensorBytes } from "../../lib/convert/gguf-types";

/** A small GGUF file, its tensors' bytes included. */
export interface GgufContents extends GgufHeader {
  readonly data: ReadonlyMap<string, Buffer>;
}

export async function readGguf(path: string): Promise<GgufContents> {
  const header = await readGgufHeader(path);
  const file = await open(path);
  const data = new Map<string, Buffer>();
  for (const { name, type, ne, offset } of header.tensors.values()) {
    const bytes = Buffer.alloc(tensorBytes(type, ne));
    await file.read(bytes, 0, bytes.length, offset);
    data.set(name, bytes);
  }
  await file.close();
  return { ...header, data };
}
