import { open, rename, rm } from "node:fs/promises";
import { ioError } from "./errors";

/** One tensor to write: `shape` row-major, `data` f32. */
export interface NamedTensor {
  name: string;
  shape: readonly number[];
  data: Float32Array;
}

/** Writes tensors as a .safetensors file: 8 bytes of header length, a JSON header, the data. The file appears whole or not at all. */
export async function writeSafetensors(path: string, tensors: readonly NamedTensor[]): Promise<void> {
  const partial = `${path}.part`;
  try {
    const file = await open(partial, "w");
    try {
      await file.writeFile(headerOf(tensors));
      for (const { data } of tensors) await file.writeFile(littleEndian(data));
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw ioError(error, path);
  }
}

function headerOf(tensors: readonly NamedTensor[]): Buffer {
  const entries: Record<string, unknown> = {};
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    entries[name] = { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = Buffer.from(JSON.stringify(entries), "utf8");
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, " ");
  padded.writeBigUInt64LE(BigInt(padded.length - 8));
  json.copy(padded, 8);
  return padded;
}

/** The numbers' bytes, little-endian f32, the order of .safetensors, .npy and base64 output. */
export function littleEndian(data: Float32Array): Buffer {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return isLittleEndian ? bytes : Buffer.from(bytes).swap32();
}

const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
