import {
  aligned,
  type GgufMetadata,
  type GgufScalar,
  type GgufScalarType,
  type TensorType,
  tensorBytes,
  valueTypeIds,
} from "./gguf-types";

/** A tensor as the file's header describes it; `ne` in GGUF's order, the length of a row first. */
export interface TensorInfo {
  readonly name: string;
  readonly type: TensorType;
  readonly ne: readonly number[];
}

/** Bytes of a GGUF file before the tensor data: magic, version 3, counts, keys, tensor descriptions, padding. */
export function encodeHeader(metadata: GgufMetadata, tensors: readonly TensorInfo[]): Buffer {
  const out = new ByteBuilder();
  out.bytes(Buffer.from("GGUF", "latin1"));
  out.scalar("u32", 3);
  out.scalar("u64", BigInt(tensors.length));
  out.scalar("u64", BigInt(metadata.size));
  for (const [key, value] of metadata) {
    out.scalar("string", key);
    out.scalar("u32", valueTypeIds[value.type]);
    if (value.type !== "array") {
      out.scalar(value.type, value.value);
      continue;
    }
    out.scalar("u32", valueTypeIds[value.element]);
    out.scalar("u64", BigInt(value.value.length));
    for (const element of value.value) out.scalar(value.element, element);
  }
  let offset = 0;
  for (const { name, type, ne } of tensors) {
    out.scalar("string", name);
    out.scalar("u32", ne.length);
    for (const n of ne) out.scalar("u64", BigInt(n));
    out.scalar("u32", type.id);
    out.scalar("u64", BigInt(offset));
    offset += aligned(tensorBytes(type, ne));
  }
  const header = out.finish();
  return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length)]);
}

/** Grows by doubling: a vocabulary has some hundred thousand strings. */
class ByteBuilder {
  private buffer = Buffer.alloc(1 << 16);
  private size = 0;

  bytes(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.size);
    this.size += bytes.length;
  }

  scalar(type: GgufScalarType, value: GgufScalar): void {
    if (type === "string") {
      const encoded = Buffer.from(value as string, "utf8");
      this.scalar("u64", BigInt(encoded.length));
      this.bytes(encoded);
      return;
    }
    this.reserve(8);
    this.size = writers[type](this.buffer, value as never, this.size);
  }

  finish(): Buffer {
    return this.buffer.subarray(0, this.size);
  }

  private reserve(bytes: number): void {
    if (this.size + bytes <= this.buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.buffer.length * 2, this.size + bytes));
    this.buffer.copy(larger, 0, 0, this.size);
    this.buffer = larger;
  }
}

const writers: { [T in Exclude<GgufScalarType, "string">]: (to: Buffer, value: never, at: number) => number } = {
  u8: (to, value: number, at) => to.writeUInt8(value, at),
  i8: (to, value: number, at) => to.writeInt8(value, at),
  u16: (to, value: number, at) => to.writeUInt16LE(value, at),
  i16: (to, value: number, at) => to.writeInt16LE(value, at),
  u32: (to, value: number, at) => to.writeUInt32LE(value, at),
  i32: (to, value: number, at) => to.writeInt32LE(value, at),
  f32: (to, value: number, at) => to.writeFloatLE(value, at),
  f64: (to, value: number, at) => to.writeDoubleLE(value, at),
  u64: (to, value: bigint, at) => to.writeBigUInt64LE(value, at),
  i64: (to, value: bigint, at) => to.writeBigInt64LE(value, at),
  bool: (to, value: boolean, at) => to.writeUInt8(value ? 1 : 0, at),
};
