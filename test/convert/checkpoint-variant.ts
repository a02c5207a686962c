import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fixture, temporaryFolder } from "../helpers/fixtures";

// biome-ignore lint/suspicious/noExplicitAny: the tests change JSON of any shape
export type Json = any;
const folder = temporaryFolder();
let made = 0;

/** What is wrong with a copy of tiny-a's checkpoint: JSON files changed, removed (null) or replaced (text), and the weights. */
export interface Variant {
  json?: { [file: string]: ((content: Json) => void) | string | null };
  /** Changes the header; ranges can be given anew. */
  header?: (header: Json) => void;
  /** Changes the whole file's bytes, after the header. */
  weights?: (bytes: Buffer) => Buffer;
}

/** Copies tiny-a with the changes; the folder. */
export function checkpointVariant({ json = {}, header, weights }: Variant): string {
  const source = fixture("checkpoints", "tiny-a");
  const target = join(folder, `variant-${made++}`);
  mkdirSync(target);
  for (const file of readdirSync(source)) copyFileSync(join(source, file), join(target, file));
  for (const [file, change] of Object.entries(json)) {
    if (typeof change === "function") {
      const content = JSON.parse(readFileSync(join(source, file), "utf8"));
      change(content);
      writeFileSync(join(target, file), JSON.stringify(content));
    } else writeFileSync(join(target, file), change ?? "null");
  }
  if (header || weights) {
    const path = join(target, "model.safetensors");
    let bytes: Buffer = readFileSync(path);
    if (header) {
      const end = 8 + Number(bytes.readBigUInt64LE());
      const content = JSON.parse(bytes.toString("utf8", 8, end));
      header(content);
      bytes = withHeader(content, bytes.subarray(end));
    }
    writeFileSync(path, weights ? weights(bytes) : bytes);
  }
  return target;
}

/** A .safetensors file of that header and data. */
export function withHeader(header: Json, data: Uint8Array): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}
