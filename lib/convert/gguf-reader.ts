import { GmeError, type GmeErrorCode, type GmeErrorDetails, ioError, printable } from "../errors";
import type { TensorInfo } from "./gguf-header";
import {
  type GgufMetadata,
  type GgufScalar,
  type GgufScalarType,
  type GgufValue,
  tensorBytes,
  tensorTypesById,
  valueTypeIds,
} from "./gguf-types";
import { openForReading, readExactly } from "./file-reading";

/** A tensor and where its bytes lie: `offset` counts from the start of the file. */
export interface GgufTensor extends TensorInfo {
  readonly offset: number;
}

export interface GgufHeader {
  readonly file: string;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

const limits = {
  keys: 4_096,
  tensors: 16_384,
  keyBytes: 256,
  stringBytes: 4 << 20,
  arrayElements: 1 << 20,
  elementBytes: 4 << 10,
  headerBytes: 256 << 20,
  nameBytes: 63,
};

const typeNames = new Map<number, GgufValue["type"]>(
  Object.entries(valueTypeIds).map(([name, id]) => [id, name as GgufValue["type"]]),
);

/** Keys and tensor descriptions of a GGUF file, every size checked. Errors: GME_IO_ERROR, GME_GGUF_…, GME_TENSOR_…. */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  const file = await openForReading(path);
  try {
    const { size } = await file.stat();
    // The header's length stands nowhere: what is read doubles until the parser has enough.
    for (let bytes = Math.min(size, 1 << 20); ; bytes = Math.min(size, bytes * 2, limits.headerBytes)) {
      const parser = new HeaderParser(path, await readExactly(path, file, 0, bytes), size);
      try {
        return parser.parse();
      } catch (error) {
        if (!(error instanceof OutOfBytes)) throw error;
        if (bytes === size)
          throw parser.fail("GME_GGUF_TRUNCATED", "the file ends within its header", { offset: size });
        if (bytes === limits.headerBytes)
          throw parser.fail("GME_GGUF_LIMIT", "the header is too long", { expected: `at most ${bytes} bytes` });
      }
    }
  } catch (error) {
    throw error instanceof GmeError ? error : ioError(error, path);
  } finally {
    await file.close();
  }
}

class OutOfBytes extends Error {}

class HeaderParser {
  private at = 0;

  constructor(
    private readonly path: string,
    private readonly bytes: Buffer,
    private readonly fileSize: number,
  ) {}

  parse(): GgufHeader {
    if (this.take(4).toString("latin1") !== "GGUF")
      throw this.fail("GME_GGUF_BAD_MAGIC", "the file does not begin with GGUF");
    const version = this.u32();
    if (version === 0x03000000)
      throw this.fail("GME_GGUF_ENDIAN", "the file is big-endian", { value: version, expected: "3" });
    if (version !== 3)
      throw this.fail("GME_GGUF_BAD_VERSION", `version ${version}`, {
        field: "header.version",
        value: version,
        expected: "3",
      });
    const tensorCount = this.count("header.n_tensors", limits.tensors);
    const keyCount = this.count("header.n_kv", limits.keys);
    const metadata: GgufMetadata = new Map();
    for (let i = 0; i < keyCount; i++) {
      const key = this.string(`kv[${i}]`, limits.keyBytes);
      if (metadata.has(key))
        throw this.fail("GME_GGUF_DUP_KEY", `${printable(key)} occurs twice`, { field: `kv["${printable(key)}"]` });
      metadata.set(key, this.value(`kv["${printable(key)}"]`));
    }
    return { file: this.path, metadata, tensors: this.tensors(tensorCount, metadata) };
  }

  fail(code: GmeErrorCode, what: string, details: GmeErrorDetails = {}): GmeError {
    return new GmeError(code, `${printable(this.path)}: ${what}`, { file: this.path, ...details });
  }

  private tensors(count: number, metadata: GgufMetadata): Map<string, GgufTensor> {
    const described = Array.from({ length: count }, (_, i) => this.tensor(i));
    const align = this.alignment(metadata);
    const dataStart = Math.ceil(this.at / align) * align;
    const tensors = new Map<string, GgufTensor>();
    let end = dataStart;
    for (const tensor of described.sort((a, b) => a.offset - b.offset)) {
      const field = `tensor["${printable(tensor.name)}"]`;
      if (tensors.has(tensor.name)) throw this.fail("GME_TENSOR_DUP", `${field} occurs twice`, { field });
      if (tensor.offset % align !== 0)
        throw this.fail("GME_TENSOR_OFFSET", `${field} is not aligned`, { field, value: tensor.offset });
      const offset = dataStart + tensor.offset;
      if (offset < end)
        throw this.fail("GME_TENSOR_OVERLAP", `${field} overlaps the tensor before it`, {
          field,
          value: tensor.offset,
        });
      end = offset + tensorBytes(tensor.type, tensor.ne);
      if (end > this.fileSize)
        throw this.fail("GME_TENSOR_BOUNDS", `${field} ends after the file`, {
          field,
          value: end,
          expected: `at most ${this.fileSize}`,
        });
      tensors.set(tensor.name, { ...tensor, offset });
    }
    return tensors;
  }

  private tensor(index: number): GgufTensor {
    const name = this.string(`tensor[${index}].name`, limits.nameBytes);
    const field = `tensor["${printable(name)}"]`;
    const dimensions = this.u32();
    if (dimensions < 1 || dimensions > 4)
      throw this.fail("GME_TENSOR_DIMS", `${field} has ${dimensions} dimensions`, {
        field,
        value: dimensions,
        expected: "1..4",
      });
    const ne = Array.from({ length: dimensions }, (_, i) => {
      const n = Number(this.u64());
      if (n >= 1 && n < 2 ** 31) return n;
      throw this.fail("GME_TENSOR_DIMS", `${field} has a dimension of ${n}`, {
        field: `${field}.ne[${i}]`,
        value: n,
        expected: "1..2147483647",
      });
    });
    const typeId = this.u32();
    const type = tensorTypesById.get(typeId);
    if (type === undefined)
      throw this.fail("GME_TENSOR_TYPE", `${field} has the unknown type ${typeId}`, {
        field: `${field}.type`,
        value: typeId,
      });
    if (ne[0] % type.block !== 0)
      throw this.fail("GME_TENSOR_DIMS", `${field}: rows of ${ne[0]} are not whole blocks`, {
        field,
        value: ne[0],
        expected: `a multiple of ${type.block}`,
      });
    if (!Number.isSafeInteger(tensorBytes(type, ne)))
      throw this.fail("GME_TENSOR_OVERFLOW", `${field} is too large`, { field });
    const offset = Number(this.u64());
    if (!Number.isSafeInteger(offset))
      throw this.fail("GME_TENSOR_BOUNDS", `${field} lies outside the file`, { field, value: offset });
    return { name, type, ne, offset };
  }

  private alignment(metadata: GgufMetadata): number {
    const value = metadata.get("general.alignment")?.value ?? 32;
    if (typeof value === "number" && value >= 8 && value <= 65_536 && Number.isInteger(Math.log2(value))) return value;
    const expected = "power of two in 8..65536";
    throw this.fail("GME_GGUF_BAD_VALUE", "general.alignment", {
      field: 'kv["general.alignment"]',
      value: String(value),
      expected,
    });
  }

  private value(field: string): GgufValue {
    const type = this.valueType(field);
    if (type !== "array") return { type, value: this.scalar(type, field, limits.stringBytes) } as GgufValue;
    const element = this.valueType(field);
    if (element === "array") throw this.fail("GME_GGUF_BAD_TYPE", `${field}: arrays of arrays are not read`, { field });
    const count = this.count(field, limits.arrayElements);
    const value = Array.from({ length: count }, () => this.scalar(element, field, limits.elementBytes));
    return { type, element, value };
  }

  private valueType(field: string): GgufValue["type"] {
    const id = this.u32();
    const name = typeNames.get(id);
    if (name === undefined)
      throw this.fail("GME_GGUF_BAD_TYPE", `${field} has the unknown type ${id}`, { field, value: id });
    return name;
  }

  private scalar(type: GgufScalarType, field: string, maxBytes: number): GgufScalar {
    if (type === "string") return this.string(field, maxBytes);
    return scalarReaders[type](this.take(scalarBytes[type]));
  }

  private string(field: string, maxBytes: number): string {
    const bytes = this.count(field, maxBytes);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.take(bytes));
    } catch (error) {
      if (error instanceof OutOfBytes) throw error;
      throw this.fail("GME_GGUF_BAD_UTF8", `${field} is not valid UTF-8`, { field });
    }
  }

  private count(field: string, most: number): number {
    const n = this.u64();
    if (n <= BigInt(most)) return Number(n);
    throw this.fail("GME_GGUF_LIMIT", `${field}: ${n} is too many`, { field, value: n, expected: `at most ${most}` });
  }

  private u32(): number {
    return this.take(4).readUInt32LE();
  }

  private u64(): bigint {
    return this.take(8).readBigUInt64LE();
  }

  private take(bytes: number): Buffer {
    if (this.at + bytes > this.bytes.length) throw new OutOfBytes();
    this.at += bytes;
    return this.bytes.subarray(this.at - bytes, this.at);
  }
}

const scalarBytes = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4, bool: 1, u64: 8, i64: 8, f64: 8 } as const;

const scalarReaders: { [T in Exclude<GgufScalarType, "string">]: (from: Buffer) => GgufScalar } = {
  u8: (from) => from.readUInt8(),
  i8: (from) => from.readInt8(),
  u16: (from) => from.readUInt16LE(),
  i16: (from) => from.readInt16LE(),
  u32: (from) => from.readUInt32LE(),
  i32: (from) => from.readInt32LE(),
  f32: (from) => from.readFloatLE(),
  f64: (from) => from.readDoubleLE(),
  u64: (from) => from.readBigUInt64LE(),
  i64: (from) => from.readBigInt64LE(),
  bool: (from) => from.readUInt8() !== 0,
};
