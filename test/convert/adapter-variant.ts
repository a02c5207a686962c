import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fixture, temporaryFolder } from "../helpers/fixtures";
import { type Json, withHeader } from "./checkpoint-variant";

const folder = temporaryFolder();
let made = 0;

export const adapterPrefix = "base_model.model.model.language_model.layers.";

/** What is different in a copy of one of the adapters of tiny-a. */
export interface AdapterVariant {
  of?: "new" | "old" | "rslora-vision";
  config?: (config: Json) => void;
  /** Changes the header's entries, by name. */
  header?: (header: Json) => void;
  /** Changes the tensors' bytes. */
  data?: (data: Buffer, header: Json) => void;
  /** Tensors in addition, of zeros: name → shape. */
  more?: { [name: string]: number[] };
  /** Stores all numbers in another type, made from the bytes of f32. */
  as?: { dtype: string; bytes: (f32: Buffer) => Buffer };
}

export function adapterVariant({ of = "new", config, header, data, more = {}, as }: AdapterVariant): string {
  const source = fixture("more", `lora-tiny-a-${of}`);
  const target = join(folder, `adapter-${made++}`);
  mkdirSync(target);
  for (const file of readdirSync(source)) copyFileSync(join(source, file), join(target, file));
  if (config) {
    const content = JSON.parse(readFileSync(join(source, "adapter_config.json"), "utf8"));
    config(content);
    writeFileSync(join(target, "adapter_config.json"), JSON.stringify(content));
  }
  const path = join(target, "adapter_model.safetensors");
  const bytes = readFileSync(path);
  const end = 8 + Number(bytes.readBigUInt64LE());
  const content = JSON.parse(bytes.toString("utf8", 8, end));
  let numbers: Buffer = Buffer.from(bytes.subarray(end));
  header?.(content);
  data?.(numbers, content);
  for (const [name, shape] of Object.entries(more)) {
    const zeros = Buffer.alloc(4 * shape.reduce((product, n) => product * n, 1));
    content[name] = { dtype: "F32", shape, data_offsets: [numbers.length, numbers.length + zeros.length] };
    numbers = Buffer.concat([numbers, zeros]);
  }
  if (as) {
    const factor = as.bytes(Buffer.alloc(4)).length / 4;
    numbers = as.bytes(numbers);
    for (const entry of Object.values(content) as Json[]) {
      if (!entry.data_offsets) continue;
      entry.dtype = as.dtype;
      entry.data_offsets = entry.data_offsets.map((n: number) => n * factor);
    }
  }
  writeFileSync(path, withHeader(content, numbers));
  return target;
}

export function rename(header: Json, from: string, to: string): void {
  header[to] = header[from];
  delete header[from];
}

/** An entry's shape, with its numbers cut or arranged anew. */
export function reshape(header: Json, name: string, shape: number[]): void {
  header[name].shape = shape;
}
